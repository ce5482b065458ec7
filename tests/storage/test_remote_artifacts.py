"""Artifacts behind an fsspec URL: the same behaviour, and two hosts never mix their files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.storage.conftest import Put
from uad_orchestrator import extras
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore, DamagedArtifact
from uad_orchestrator.storage.artifacts.remote_location import RemoteLocation
from uad_orchestrator.storage.collect import collect_garbage
from uad_orchestrator.storage.lineage.tree import upstream
from uad_orchestrator.storage.provenance import Provenance


@pytest.fixture(params=["memory", "file", "upath", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[object]:
    """A root that is no plain folder; what the memory file system holds is taken away afterwards."""
    import fsspec

    if request.param == "s3":
        yield request.getfixturevalue("s3").folder()
        return
    place = f"memory://{uuid4().hex}/benchmarks"
    if request.param == "file":
        yield f"file://{tmp_path}/remote"
    elif request.param == "upath":
        from upath import UPath

        yield UPath(place)
    else:
        yield place
    if request.param != "file":
        memory = fsspec.filesystem("memory")
        top = place.removeprefix("memory://").partition("/")[0]
        if memory.exists(top):
            memory.rm(top, recursive=True)


@pytest.fixture
def here(url: object, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(url, local=tmp_path / "here")


@pytest.fixture
def there(url: object, tmp_path: Path) -> ArtifactStore:
    """The same root, seen from another host."""
    return ArtifactStore(url, local=tmp_path / "there")


def test_what_one_host_writes_another_reads(
    here: ArtifactStore, there: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    assert not there.exists(key)
    put(here, key, {"bank.npz": "rows", "maps/crack/000.tiff": "map"})
    assert there.exists(key)
    directory = there.open_dir(key)
    assert (directory / "maps/crack/000.tiff").read_text() == "map"
    assert directory.is_relative_to(there.local)
    assert there.open_dir(key) == directory
    assert there.versions("memory_bank", "mvtec_ad", "bottle", "patchcore") == ["3f2a"]
    assert there.list_all() == there.list_folders() == [key]
    assert "://" in there.path(key)
    assert there.path(key).endswith("artifacts/memory_bank/mvtec_ad/bottle/patchcore/3f2a")


def test_the_first_stays_and_files_never_mix(
    here: ArtifactStore, there: ArtifactStore, key: ArtifactKey
) -> None:
    with here.write(key, Provenance(**vars(key), facts={"who": "here"})) as draft:
        (draft.directory / "a").write_text("here")
        with there.write(key, Provenance(**vars(key), facts={"who": "there"})) as other:
            (other.directory / "a").write_text("there")
            (other.directory / "b").write_text("there")
    assert here.provenance(key).facts == {"who": "there"}
    assert sorted(f.name for f in here.open_dir(key).iterdir()) == ["a", "b"]
    assert (here.open_dir(key) / "a").read_text() == "there"


def test_an_upload_that_breaks_off_does_not_count(
    here: ArtifactStore, there: ArtifactStore, key: ArtifactKey, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = here.location.filesystem.put_file  # type: ignore[attr-defined]

    def broken(local: str, remote: str, **more: object) -> None:
        if remote.endswith("/b"):
            raise ConnectionError("the network went away")
        real(local, remote, **more)

    with monkeypatch.context() as patch:
        patch.setattr(here.location.filesystem, "put_file", broken)  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            put(here, key, {"a": "a", "b": "b"})
    assert not there.exists(key)
    assert there.list_all() == []
    put(here, key, {"a": "a", "b": "b"})
    assert (there.open_dir(key) / "b").read_text() == "b"


def test_a_fetch_that_breaks_off_is_no_copy(
    here: ArtifactStore, there: ArtifactStore, key: ArtifactKey, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(here, key, {"a": "a", "b": "b"})
    real = there.location.filesystem.get_file  # type: ignore[attr-defined]

    def broken(remote: str, local: str, **more: object) -> None:
        if remote.endswith("/b"):
            raise ConnectionError("the network went away")
        real(remote, local, **more)

    with monkeypatch.context() as patch:
        patch.setattr(there.location.filesystem, "get_file", broken)  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            there.open_dir(key)
    assert (there.open_dir(key) / "b").read_text() == "b"


def test_a_corrupted_provenance_does_not_count_and_is_replaced(
    here: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(here, key, {"a": "old"})
    location = here.location
    location.filesystem.pipe_file(f"{location.root}/{key.path}/provenance.json", b"{")  # type: ignore[attr-defined]
    assert not here.exists(key)
    put(here, key, {"a": "new"})
    assert (here.open_dir(key) / "a").read_text() == "new"


def test_a_damaged_copy_is_found_out(here: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    put(here, key, {"bank.npz": "all rows"})
    (here.open_dir(key) / "bank.npz").write_text("all")
    assert (here.open_dir(key) / "bank.npz").read_text() == "all rows", "it is fetched again"


def test_an_object_lost_from_the_store_is_damage_like_any_other(
    here: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(here, key, {"bank.npz": "all rows", "other": "x"})
    remote = here.location
    assert isinstance(remote, RemoteLocation)
    remote.filesystem.rm(f"{remote.root}/{here.provenance(key).payload}/bank.npz")
    assert "bank.npz is missing, 8 were written" in (here.find_damage(key) or ""), "whatever copies there are"
    remote.forget(key.path)
    with pytest.raises(DamagedArtifact, match=r"bank\.npz is missing.*damaged-provenance\.json"):
        here.open_dir(key)
    assert not here.holds(key)


def test_damage_in_the_store_is_named_and_the_artifact_counts_no_more(
    here: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(here, key, {"bank.npz": "all rows"})
    remote = here.location
    assert isinstance(remote, RemoteLocation)
    payload = here.provenance(key).payload
    remote.filesystem.pipe_file(f"{remote.root}/{payload}/bank.npz", b"all rowS")
    remote.forget(key.path)
    with pytest.raises(DamagedArtifact, match=r"bank\.npz was changed.*damaged-provenance\.json"):
        here.open_dir(key)
    assert not here.exists(key) and not here.holds(key) and here.missing([key]) == [key]
    put(here, key, {"bank.npz": "all rows"})
    assert (here.open_dir(key) / "bank.npz").read_text() == "all rows" and here.missing([key]) == []
    shutil.rmtree(here.local)
    assert (here.open_dir(key) / "bank.npz").read_text() == "all rows"


def test_deleting_takes_the_copy_too(here: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    put(here, key)
    copy = here.open_dir(key)
    here.delete(key)
    assert not here.exists(key)
    assert not copy.exists()
    assert here.list_folders() == []


def test_garbage_is_collected_and_lineage_explained(here: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    put(here, ArtifactKey("normal_images", "mvtec_ad", "bottle", None, "n"))
    old, new = (ArtifactKey(*key.parts[:4], version) for version in ("old", "new"))
    put(here, old, inputs={"normal_images": "n"})
    put(here, new, inputs={"normal_images": "n"})
    assert [node.name for node in upstream(here, new).walk()] == ["memory_bank", "normal_images"]
    report = collect_garbage(here, {new}, keep=1, min_age_seconds=0)
    assert [removed.what for removed in report.artifacts] == [old]
    assert here.exists(new)
    assert not here.exists(old)


def test_a_bucket_without_the_extra_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(ImportError, match=r"storage on s3://bucket/x needs s3fs.*uad_orchestrator\[s3\]"):
        ArtifactStore("s3://bucket/x", local=tmp_path)
