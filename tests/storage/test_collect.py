"""Garbage collection: what is needed stays, what is not goes, and dead writers' leftovers with it."""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.storage.conftest import Put
from uad_orchestrator.storage import collect
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.collect import collect_garbage, remove_dead_drafts

DEAD_PID = 2**22 + 1  # above what Linux gives out


@pytest.fixture
def versions(store: ArtifactStore, put: Put, key: ArtifactKey) -> list[ArtifactKey]:
    """Six versions of one cell, the oldest first, a day apart, the newest a day old."""
    now = datetime.now(UTC)
    return [
        put(
            store,
            ArtifactKey(*key.parts[:4], f"v{n}"),
            {"bank.npz": "x" * (n + 1)},
            started_at=now - timedelta(days=6 - n),
            run_id=f"run{n}",
        )
        for n in range(6)
    ]


def age(path: Path, seconds: float) -> None:
    """Make a folder and all in it look that old."""
    then = time.time() - seconds
    for inner in [*path.rglob("*"), path]:
        os.utime(inner, (then, then))


@pytest.mark.parametrize("at_a_time", [1, 4, 200])
def test_current_pinned_active_and_the_newest_stay(
    store: ArtifactStore, versions: list[ArtifactKey], monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(collect, "AT_A_TIME", at_a_time)
    report = collect_garbage(store, {versions[0]}, keep=2, pinned={versions[1]}, active={"run2"})
    assert [removed.what for removed in report.artifacts] == [versions[3]]
    assert (report.bytes, report.kept) == (4, 5)
    assert set(store.list_all()) == set(versions) - {versions[3]}


def test_a_dry_run_removes_nothing(store: ArtifactStore, versions: list[ArtifactKey]) -> None:
    dry = collect_garbage(store, set(), keep=1, dry_run=True)
    assert store.list_all() == versions
    real = collect_garbage(store, set(), keep=1)
    assert (dry.artifacts, dry.bytes, dry.kept) == (real.artifacts, real.bytes, real.kept)
    assert store.list_all() == versions[-1:]


def test_nothing_younger_than_the_limit_goes(store: ArtifactStore, versions: list[ArtifactKey]) -> None:
    report = collect_garbage(store, set(), keep=1, min_age_seconds=3.5 * 86400)
    assert [removed.what for removed in report.artifacts] == versions[:3]


def test_each_cell_keeps_its_own(store: ArtifactStore, put: Put, versions: list[ArtifactKey]) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    other = put(store, ArtifactKey("memory_bank", "mvtec_ad", "screw", "patchcore", "s"), started_at=long_ago)
    board = put(store, ArtifactKey("leaderboard", None, None, None, "b"), started_at=long_ago)
    collect_garbage(store, set(), keep=1)
    assert set(store.list_all()) == {versions[-1], other, board}


def test_what_is_locked_is_left_alone(store: ArtifactStore, versions: list[ArtifactKey]) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock(versions[0]):
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    try:
        report = collect_garbage(store, set(), keep=5)
    finally:
        done.set()
        holder.join()
    assert (report.artifacts, report.busy) == ((), (versions[0],))
    assert store.exists(versions[0])


def test_leftovers_of_dead_writers_go_those_of_living_stay(store: ArtifactStore) -> None:
    host = socket.gethostname()
    names = {
        f"{host}-{DEAD_PID}-aaaa": 7200,
        "removed-bbbb": 7200,
        "another-host-77-cccc": 2 * 86400,
        f"{host}-{os.getpid()}-dddd": 7200,
        f"{host}-{DEAD_PID}-eeee": 60,
        "another-host-77-ffff": 7200,
    }
    for name, seconds in names.items():
        draft = store.location.scratch / name
        draft.mkdir(parents=True)
        (draft / "half").write_text("half")
        age(draft, seconds)
    report = collect_garbage(store, set())
    assert report.bytes == 3 * 4
    assert {path.name[-4:] for path in store.location.scratch.iterdir()} == {"dddd", "eeee", "ffff"}


def test_drafts_of_a_container_of_the_same_name_are_left_alone(store: ArtifactStore) -> None:
    """Their numbers mean other processes here, or none."""
    host = socket.gethostname()
    for process in (f"{DEAD_PID}.1700000000.00000000", f"{DEAD_PID}.1700000000", f"{DEAD_PID}"):
        (store.location.scratch / f"{host}-{process}-aaaa").mkdir(parents=True)
    removed = {path.name for path in remove_dead_drafts(store)}
    assert removed == {f"{host}-{DEAD_PID}.1700000000-aaaa", f"{host}-{DEAD_PID}-aaaa"}
    (left,) = store.location.scratch.iterdir()
    for seconds, count in ((7200, 0), (2 * 86400, 1)):
        age(left, seconds)
        assert len(collect_garbage(store, set()).leftovers) == count


def test_folders_that_never_counted_go_when_old(
    store: ArtifactStore, put: Put, versions: list[ArtifactKey]
) -> None:
    broken = store.open_dir(versions[0])
    (broken / "provenance.json").write_text("{")
    copied = broken.with_name("half-copied")
    copied.mkdir()
    (copied / "bank.npz").write_text("half")
    assert collect_garbage(store, set(), keep=9).leftovers == ()
    age(broken, 7200)
    age(copied, 7200)
    report = collect_garbage(store, set(), keep=9)
    assert {str(removed.what) for removed in report.leftovers} == {str(broken), str(copied)}
    assert store.list_folders() == versions[1:]


def test_keeping_nothing_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="keep is 0"):
        collect_garbage(store, set(), keep=0)
