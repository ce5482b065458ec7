"""Embeddings in the artifact store: what one machine stored others get, whole or not at all, in few requests."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
import pytest

from tests.object_store import ObjectStore, answer, cut_after
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.artifacts.locations import LocalLocation, Location
from uad_orchestrator.storage.artifacts.object_files import AT_ONCE
from uad_orchestrator.storage.embedding_cache import EmbeddingCache
from uad_orchestrator.storage.shared_embeddings import (
    PATIENCE,
    SHARED,
    EntryKey,
    SharedEmbeddings,
    shared_spaces,
)

CATEGORY = "parts/bolt"
KEYS = [EntryKey("space", "rot0", f"{number:02x}" * 32) for number in range(40)]
KEY = KEYS[0]
Machine = Callable[[str], SharedEmbeddings]


def entry(value: float = 1.0) -> dict[str, np.ndarray]:
    return {"patch_embeddings": np.full((50, 8), value, np.float16), "seconds": np.array(0.5)}


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    return request.getfixturevalue("s3").folder() if request.param == "s3" else tmp_path / "root"


@pytest.fixture
def machine(root: object, tmp_path: Path) -> Machine:
    """A machine of that name with a cache of its own, on one store."""

    def started(name: str) -> SharedEmbeddings:
        location = ArtifactStore(root, local=tmp_path / name).location
        return SharedEmbeddings(EmbeddingCache(tmp_path / name / "embeddings"), location, CATEGORY)

    return started


def shared_by(machine: SharedEmbeddings, keys: list[EntryKey], value: float = 1.0) -> None:
    with machine.settled():
        for key in keys:
            machine.put(*key, entry(value))


def stored_name(location: Location) -> PurePosixPath:
    (name,) = location.files(SHARED)
    return PurePosixPath(name)


def test_what_one_machine_stored_another_gets(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    shared_by(here, KEYS[:3])
    found = there.get(*KEY)
    assert found is not None and found.keys() == entry().keys()
    assert found["patch_embeddings"].dtype == np.float16
    assert np.array_equal(found["patch_embeddings"], entry()["patch_embeddings"])
    assert (there.fetched, here.fetched) == (1, 0) and there.fetch_seconds > 0
    assert there.get(*KEY) is not None and there.fetched == 1, "it is in the machine's own cache now"
    assert there.get("space", "rot45", KEY.digest) is None
    assert there.get("other", *KEY[1:]) is None


def test_other_categories_are_not_looked_through(machine: Machine) -> None:
    shared_by(machine("here"), [KEY])
    other = machine("there")
    other.category = "parts/nut"
    assert other.get(*KEY) is None


def test_entries_are_fetched_ahead_in_order_many_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = LocalLocation(tmp_path / "root")
    here, there = (SharedEmbeddings(EmbeddingCache(tmp_path / name), location, CATEGORY) for name in "ab")
    shared_by(here, KEYS)
    together, reads, taken = threading.Barrier(AT_ONCE), itertools.count(), []
    read = LocalLocation.read

    def waiting(self: LocalLocation, path: PurePosixPath) -> bytes | None:
        if next(reads) < AT_ONCE:
            together.wait(timeout=20)  # for as many others as may be under way
        return read(self, path)

    def items() -> Iterator[EntryKey]:
        for key in KEYS:
            taken.append(key)
            yield key

    monkeypatch.setattr(LocalLocation, "read", waiting)
    coming = there.ahead(items(), lambda key: [key])
    assert next(coming) == KEYS[0]
    assert len(taken) <= 2 * AT_ONCE + 1, "no further ahead than is said"
    assert list(coming) == KEYS[1:]
    assert there.fetched == len(KEYS) and all(there.cache.holds(*key) for key in KEYS)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "moved"])
def test_a_damaged_object_is_a_miss_with_a_word_and_is_replaced(
    machine: Machine, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    here, there, third = machine("here"), machine("there"), machine("third")
    shared_by(here, [KEY])
    name = stored_name(here.location)
    data = here.location.read(name)
    assert data is not None
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    asked = KEYS[1] if damage == "moved" else KEY
    name = name.with_name(f"{asked.digest}.embedding")
    here.location.write(
        name, {"empty": b"", "cut": data[:-9], "flipped": bytes(flipped), "moved": data}[damage]
    )
    with caplog.at_level(logging.WARNING):
        assert there.get(*asked) is None
        assert there.get(*asked) is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert "is damaged" in said and asked.digest in said
    assert not there.cache.holds(*asked) and there.fetched == 0
    shared_by(there, [asked], value=2.0)
    found = third.get(*asked)
    assert found is not None and (found["patch_embeddings"] == 2).all()


def test_of_two_writers_either_stays_whole(machine: Machine) -> None:
    writers = [machine(name) for name in ("one", "two")]
    threads = [threading.Thread(target=shared_by, args=(writer, KEYS[:8])) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = machine("reader")
    for key in KEYS[:8]:
        found = reader.get(*key)
        assert found is not None and np.array_equal(found["patch_embeddings"], entry()["patch_embeddings"])
    assert len(reader.location.files(SHARED)) == 8, "no crumbs"


def on_s3(url: str, folder: Path) -> SharedEmbeddings:
    return SharedEmbeddings(EmbeddingCache(folder), ArtifactStore(url, folder).location, CATEGORY)


def test_a_miss_is_no_request_and_a_hit_is_one(s3: ObjectStore, tmp_path: Path) -> None:
    url = s3.folder()
    here, there = (on_s3(url, tmp_path / name) for name in ("here", "there"))
    s3.requests.clear()
    assert [here.get(*key) for key in KEYS] == [None] * len(KEYS)
    assert len(s3.requests) <= 3, "a listing; of an empty folder s3fs makes sure"
    assert all("space/parts/bolt" in unquote(request) for request in s3.requests), "of one category"
    s3.requests.clear()
    shared_by(here, KEYS[:5])
    assert len(s3.requests) == 5
    s3.requests.clear()
    assert list(there.ahead(KEYS, lambda key: [key])) == KEYS
    assert len(s3.requests) == 1 + 5
    assert there.fetched == 5


def test_a_store_that_fails_is_a_warning_and_is_soon_left_alone(
    s3: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = s3.folder()
    here, there, third = (on_s3(url, tmp_path / name) for name in ("here", "there", "third"))
    denied = answer("403 Forbidden", "AccessDenied")
    with s3.going_wrong("PUT", "", denied), caplog.at_level(logging.WARNING):
        shared_by(here, KEYS)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "cannot be written at s3://" in said and "computed here" in said
    assert here.get(*KEYS[-1]) is not None, "this machine has its own"
    refused = [request for request in s3.requests if request.startswith("PUT") and url[5:] in request]
    assert PATIENCE <= len(refused) <= PATIENCE + 4, "those under way when enough had failed, no more"
    shared_by(there, KEYS)
    caplog.clear()
    with s3.going_wrong("GET", ".embedding", denied), caplog.at_level(logging.WARNING):
        assert [third.get(*key) for key in KEYS] == [None] * len(KEYS)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "cannot be read" in said and third.fetched == 0
    with s3.going_wrong("GET", ".embedding", cut_after, times=1):
        assert on_s3(url, tmp_path / "fourth").get(*KEY) is not None, "the client tries again itself"


def test_uploads_wait_behind_and_are_dropped_where_the_work_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = LocalLocation(tmp_path / "root")
    here = SharedEmbeddings(EmbeddingCache(tmp_path / "here"), location, CATEGORY)
    begin, write = threading.Event(), LocalLocation.write

    def slow(self: LocalLocation, path: PurePosixPath, data: bytes) -> None:
        assert begin.wait(20)
        write(self, path, data)

    monkeypatch.setattr(LocalLocation, "write", slow)
    with pytest.raises(KeyboardInterrupt), here.settled():
        for key in KEYS:
            here.put(*key, entry())  # returns at once: what waits lies on the disk
        assert location.files(SHARED) == {}
        threading.Timer(0.2, begin.set).start()
        raise KeyboardInterrupt
    assert 0 < len(location.files(SHARED)) < len(KEYS) / 2
    with here.settled():
        here.put(*KEYS[-1], entry())
    assert str(SHARED / "space" / CATEGORY / "rot0" / f"{KEYS[-1].digest}.embedding") in location.files(
        SHARED
    )


def test_a_full_disk_of_the_machine_is_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    shared_by(machine("here"), [KEY])
    there = machine("there")

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EmbeddingCache, "write", full)
    with pytest.raises(OSError, match="No space"):
        there.get(*KEY)


def test_what_is_shared_is_listed_by_space_and_taken_away(machine: Machine) -> None:
    here = machine("here")
    shared_by(here, [*KEYS[:2], EntryKey("later", "rot0", "ab" * 32)])
    spaces = shared_spaces(here.location)
    assert {space: len(files) for space, files in spaces.items()} == {"space": 2, "later": 1}
    for file in spaces["space"].values():
        assert file.bytes > 800 and file.changed > 1e9
    here.location.remove_files(spaces["space"])
    assert set(shared_spaces(here.location)) == {"later"}
    if isinstance(here.location, LocalLocation):
        assert [left.name for left in (here.location.root / SHARED).iterdir()] == ["later"]
