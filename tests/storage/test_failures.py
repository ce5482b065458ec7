"""Failures lie in the store, where every machine sees them, and say nothing of what was computed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storage.conftest import Put
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.failures import FailureLog, RecordedFailure

CELL = ("memory_bank", "mvtec_ad", "bottle", "patchcore")


def failure(version: str | None, error: str = "the disk is full") -> RecordedFailure:
    asset, dataset, category, detector = CELL
    return RecordedFailure(
        asset=asset, dataset=dataset, category=category, detector=detector, version=version, error=error
    )


@pytest.fixture(params=["folder", "URL"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ArtifactStore, ArtifactStore]:
    """One root, as two machines have it."""
    root = tmp_path / "root" if request.param == "folder" else f"file://{tmp_path}/root"
    return ArtifactStore(root, tmp_path / "here"), ArtifactStore(root, tmp_path / "there")


def test_what_failed_here_is_known_there(stores: tuple[ArtifactStore, ArtifactStore]) -> None:
    here, there = map(FailureLog, stores)
    assert there.find(*CELL) is None
    here.record(failure("3f2a", "the disk is full"))
    here.record(failure("3f2a", "still full"))
    found = there.find(*CELL)
    assert found is not None and found.error == "still full"
    with stores[1].listed():
        assert there.find(*CELL) == found
    assert stores[0].list_folders() == [], "it is no artifact"


def test_it_is_void_once_its_version_is_there(
    stores: tuple[ArtifactStore, ArtifactStore], key: ArtifactKey, put: Put
) -> None:
    here, there = map(FailureLog, stores)
    here.record(failure(key.version))
    put(stores[1], key)
    there.clear(*CELL)
    assert here.find(*CELL) is None
    here.record(failure("another"))
    assert there.find(*CELL) is not None, "of a version that is not there"
    here.record(failure(None))
    assert there.find(*CELL) is not None, "an input that could not be read"


def test_a_record_that_cannot_be_read_is_none(stores: tuple[ArtifactStore, ArtifactStore]) -> None:
    log = FailureLog(stores[0])
    log.record(failure("3f2a"))
    stores[0].location.write(log._path(*CELL), b"{")
    assert log.find(*CELL) is None


def test_a_store_out_of_reach_does_not_hide_what_failed(
    stores: tuple[ArtifactStore, ArtifactStore],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(*arguments: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(stores[0].location, "write", away)
    FailureLog(stores[0]).record(failure("3f2a"))
    assert "That memory_bank failed is not noted" in caplog.text and "no route" in caplog.text


def test_on_a_disk_they_lie_where_they_always_did(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, tmp_path)
    FailureLog(store).record(failure("3f2a"))
    assert (tmp_path / "failures/memory_bank/mvtec_ad/bottle/patchcore.json").is_file()
    FailureLog(store).clear(*CELL)
    assert FailureLog(store).find(*CELL) is None
