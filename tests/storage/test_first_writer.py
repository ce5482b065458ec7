"""Writers of one artifact at once, on S3: the first stays, whatever goes wrong, and no files are mixed or left."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from threading import Barrier
from typing import Any

import pytest

from tests.object_store import ObjectStore, answer, cut_after, ignore_condition
from tests.storage.conftest import Put
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.artifacts.first_writer import create
from uad_orchestrator.storage.artifacts.remote_location import RemoteLocation
from uad_orchestrator.storage.collect import collect_garbage
from uad_orchestrator.storage.provenance import Provenance

CLAIM = "/provenance.json"


@pytest.fixture
def url(s3: ObjectStore) -> str:
    return s3.folder()


@pytest.fixture
def here(url: str, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(url, local=tmp_path / "here")


@pytest.fixture
def there(url: str, tmp_path: Path) -> ArtifactStore:
    """The same store, seen from another machine."""
    return ArtifactStore(url, local=tmp_path / "there")


def objects(store: ArtifactStore) -> list[str]:
    """All that lies in the store, below its root."""
    location = remote(store)
    location.filesystem.invalidate_cache()
    return [path[len(location.root) + 1 :] for path in location.filesystem.find(location.root)]


def remote(store: ArtifactStore) -> RemoteLocation:
    assert isinstance(store.location, RemoteLocation)
    return store.location


def write_as(store: ArtifactStore, key: ArtifactKey, who: str) -> None:
    """An artifact whose files and provenance say who wrote them."""
    with store.write(key, Provenance(**vars(key), facts={"who": who})) as draft:
        (draft.directory / "maps").mkdir()
        for name in ("a", "maps/0.tiff", f"only {who}"):
            (draft.directory / name).write_text(who)


def assert_whole(store: ArtifactStore, key: ArtifactKey) -> str:
    """The files are those of the writer that the provenance names; no other writer left anything."""
    made = store.provenance(key)
    who = str(made.facts["who"])
    directory = store.open_dir(key)
    assert {name: (directory / name).read_text() for name in made.files or {}} == {
        "a": who, "maps/0.tiff": who, f"only {who}": who,
    }  # fmt: skip
    return who


def test_of_many_writers_at_once_one_stays(url: str, tmp_path: Path, key: ArtifactKey) -> None:
    writers = 6
    start = Barrier(writers)
    stores = [ArtifactStore(url, local=tmp_path / str(number)) for number in range(writers)]

    def run(number: int) -> None:
        with stores[number].write(key, Provenance(**vars(key), facts={"who": str(number)})) as draft:
            (draft.directory / "maps").mkdir()
            for name in ("a", "maps/0.tiff", f"only {number}"):
                (draft.directory / name).write_text(str(number))
            start.wait()

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(run, range(writers)))
    assert len({assert_whole(store, key) for store in stores}) == 1, "the losers see the winner's, too"
    assert len(objects(stores[0])) == 4, "the losers took their files away"


def test_a_cut_connection_does_not_make_a_winner_a_loser(
    s3: ObjectStore, here: ArtifactStore, there: ArtifactStore, key: ArtifactKey
) -> None:
    s3.requests.clear()
    with s3.going_wrong("PUT", CLAIM, cut_after, times=1):
        write_as(here, key, "here")
    tries = [request for request in s3.requests if request.startswith("PUT") and request.endswith(CLAIM)]
    assert len(tries) == 2, "s3fs tried again by itself"
    assert assert_whole(here, key) == assert_whole(there, key) == "here"
    write_as(there, key, "there")
    assert assert_whole(there, key) == "here"
    assert len(objects(here)) == 4


def test_a_conflict_is_tried_again(
    s3: ObjectStore, here: ArtifactStore, there: ArtifactStore, key: ArtifactKey
) -> None:
    remote(here).keeps_first()
    conflict = answer("409 Conflict", "ConditionalRequestConflict")
    with s3.going_wrong("PUT", CLAIM, conflict, times=3):
        write_as(here, key, "here")
    assert assert_whole(there, key) == "here"
    with s3.going_wrong("PUT", CLAIM, conflict, times=1):
        write_as(there, key, "there")
    assert assert_whole(there, key) == "here"


def test_a_conflict_without_end_is_an_error_and_nothing_counts(
    s3: ObjectStore, here: ArtifactStore, key: ArtifactKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uad_orchestrator.storage.artifacts.first_writer.ATTEMPTS", 2)
    remote(here).keeps_first()
    with (
        s3.going_wrong("PUT", CLAIM, answer("409 Conflict", "ConditionalRequestConflict")),
        pytest.raises(OSError, match="ConditionalRequestConflict"),
    ):
        write_as(here, key, "here")
    assert not here.exists(key)


@pytest.mark.parametrize("fault", [ignore_condition, answer("501 Not Implemented", "NotImplemented")])
def test_a_store_that_overwrites_is_said_once_and_used(
    s3: ObjectStore,
    url: str,
    tmp_path: Path,
    key: ArtifactKey,
    fault: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, there = (ArtifactStore(url, local=tmp_path / name) for name in ("here", "there"))

    def conditional(environ: dict, *rest: object) -> object:
        application = rest[-1]
        unconditional = "HTTP_IF_NONE_MATCH" not in environ
        return list(application(environ, rest[0])) if unconditional else fault(environ, *rest)  # type: ignore[operator]

    with s3.going_wrong("PUT", "", conditional):  # type: ignore[arg-type]
        write_as(here, key, "here")
        assert "overwrites where a file should be created once" in caplog.text
        caplog.clear()
        write_as(here, key, "again")  # it looks before it writes
        assert assert_whole(here, key) == "here"
        again = ArtifactStore(url, local=tmp_path / "here")
        write_as(again, ArtifactKey(*key.parts[:4], "other"), "again")
        assert "overwrites" not in caplog.text, "what is known of the store is remembered"
        monkey = pytest.MonkeyPatch()
        monkey.setattr(there, "exists", lambda key: False)  # both looked before either wrote
        write_as(there, key, "there")
        monkey.undo()
    assert assert_whole(there, key) == "there"
    assert assert_whole(ArtifactStore(url, local=tmp_path / "third"), key) == "there", "the last stays, whole"


def test_what_is_known_of_a_store_can_be_asked_anew(s3: ObjectStore, here: ArtifactStore) -> None:
    assert remote(here).keeps_first()
    with s3.going_wrong("PUT", "", ignore_condition):
        assert remote(here).keeps_first()
        assert not remote(here).ask_anew()
    assert remote(here).ask_anew() and remote(here).keeps_first()
    assert objects(here) == [], "the probe leaves nothing behind"


def test_killed_at_any_moment_nothing_half_is_seen(
    url: str, tmp_path: Path, key: ArtifactKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ArtifactStore(url, local=tmp_path / "there")
    filesystem = remote(there).filesystem
    seen = set()
    for moment in range(5):
        key = ArtifactKey(*key.parts[:4], f"version{moment}")
        here = ArtifactStore(url, local=tmp_path / f"here{moment}")
        remote(here).keeps_first()
        left = moment
        with monkeypatch.context() as patch:
            for name in ("put_file", "pipe_file"):
                real = getattr(filesystem, name)

                def until_killed(*given: object, real: object = real, **more: object) -> object:
                    nonlocal left
                    if left == 0:
                        raise KeyboardInterrupt
                    left -= 1
                    return real(*given, **more)  # type: ignore[operator]

                patch.setattr(filesystem, name, until_killed)
            try:
                write_as(here, key, "here")
            except KeyboardInterrupt:
                assert not there.exists(key)
            else:
                assert assert_whole(there, key) == "here"
        seen.add(there.exists(key))
    assert seen == {False, True}
    report = collect_garbage(there, set(there.list_all()), min_age_seconds=0)
    assert report.leftovers, "the files of those that were killed"
    assert all(assert_whole(there, key) == "here" for key in there.list_all())
    assert len(objects(there)) == 4 * len(there.list_all())


def test_files_that_no_provenance_names_go_after_an_hour(
    here: ArtifactStore, there: ArtifactStore, key: ArtifactKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_as(here, key, "here")
    filesystem, root = remote(here).filesystem, remote(here).root
    stray = f"payloads/{'/'.join(key.parts)}/files-killed/a"
    former = f"{key.path}/files-killed/a"  # where writers of the first layout left them
    for name in (stray, former):
        filesystem.pipe_file(f"{root}/{name}", b"12345")
    assert collect_garbage(there, {key}).leftovers == ()
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 3700)
    dry = collect_garbage(there, {key}, dry_run=True)
    assert sorted(str(left.what) for left in dry.leftovers) == sorted(
        there.location.describe(remote_name).rpartition("/")[0]
        for remote_name in map(Path, (stray, former))  # type: ignore[arg-type]
    )
    assert dry.bytes == 10 and stray in objects(here)
    assert collect_garbage(there, {key}).bytes == 10
    assert not {stray, former} & set(objects(here))
    assert assert_whole(there, key) == "here"


def test_where_a_listing_has_no_times_nothing_counts_as_old(
    here: ArtifactStore, there: ArtifactStore, key: ArtifactKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine may be writing just now."""
    write_as(here, key, "here")
    filesystem, root = remote(there).filesystem, remote(there).root
    stray = f"payloads/{'/'.join(key.parts)}/files-being-written/a"
    begun = f"{ArtifactKey(*key.parts[:4], 'begun').path}/bank.npz"
    for name in (stray, begun):
        filesystem.pipe_file(f"{root}/{name}", b"12345")
    find = filesystem.find

    def without_times(*given: Any, **more: Any) -> dict[str, dict[str, Any]]:
        return {
            name: {word: fact for word, fact in facts.items() if word in ("name", "size", "type", "ETag")}
            for name, facts in find(*given, **more).items()
        }

    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "find", without_times)
        assert collect_garbage(there, {key}, min_age_seconds=0).leftovers == ()
        assert {
            math.isinf(file.changed) for file in there.location.files(PurePosixPath("payloads")).values()
        } == {True}
    assert {stray, begun} < set(objects(here))
    assert len(collect_garbage(there, {key}, min_age_seconds=0).leftovers) == 2


def test_copies_of_what_went_elsewhere_go_here_too(
    here: ArtifactStore, there: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    other = put(here, ArtifactKey(*key.parts[:4], "other"), {"bank.npz": "rows"})
    copies = [there.open_dir(put(here, key, {"bank.npz": "rows"})), there.open_dir(other)]
    here.delete(key)
    assert collect_garbage(there, {other}).leftovers == (), "younger than an hour"
    (left,) = collect_garbage(there, {other}, min_age_seconds=0).leftovers
    assert copies[0].is_relative_to(str(left.what))
    assert [copy.is_dir() for copy in copies] == [False, True]


@pytest.mark.parametrize("payload", ["files-0123456789ab", None])
def test_artifacts_of_the_first_layout_are_read_and_removed(
    here: ArtifactStore, key: ArtifactKey, put: Put, payload: str | None
) -> None:
    """There the payload lies beside its provenance, each file an object; or the store is a copy of a disk's."""
    folder = f"{key.path}/{payload}" if payload else str(key.path)
    put(here, key, {"operating_point.json": "{}", "maps/crack/000.tiff": "map"})
    made, filesystem, root = here.provenance(key), remote(here).filesystem, remote(here).root
    former = made.model_copy(update={"payload": payload})
    here.delete(key)
    for name, text in {"operating_point.json": "{}", "maps/crack/000.tiff": "map"}.items():
        filesystem.pipe_file(f"{root}/{folder}/{name}", text.encode())
    filesystem.pipe_file(f"{root}/{key.path}/provenance.json", former.to_file())
    assert here.holds(key) and here.exists(key) and here.missing([key]) == []
    assert (here.open_dir(key, "operating_point.json") / "operating_point.json").read_text() == "{}"
    assert (here.open_dir(key) / "maps/crack/000.tiff").read_text() == "map"
    assert here.find_damage(key) is None and here.list_all() == here.list_folders() == [key]
    assert collect_garbage(here, {key}, min_age_seconds=0).leftovers == ()
    here.delete(key)
    assert objects(here) == []


def test_only_the_files_that_are_read_are_fetched(
    s3: ObjectStore, here: ArtifactStore, there: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(here, key, {"operating_point.json": "{}"} | {f"maps/{n:03d}.tiff": str(n) for n in range(100)})
    s3.requests.clear()
    there.open_dir(key, "operating_point.json")
    assert len(s3.requests) == 2, "the provenance and the file"
    assert (there.open_dir(key) / "maps/042.tiff").read_text() == "42"
    assert len(s3.requests) == 3, "a folder of files is one object"


def test_the_writer_reads_its_own_files_without_fetching_them(
    s3: ObjectStore, here: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(here, key, {"bank.npz": "rows"})
    s3.requests.clear()
    assert (here.open_dir(key) / "bank.npz").read_text() == "rows"
    assert s3.requests == []


def test_create_says_what_the_store_says(here: ArtifactStore) -> None:
    location = remote(here)
    path = f"{location.root}/name"

    def read() -> bytes | None:
        return location.filesystem.cat_file(path)

    assert create(location.filesystem, path, b"mine", read)
    assert not create(location.filesystem, path, b"yours", read)
    assert create(location.filesystem, path, b"mine", read), "mine lies there"
