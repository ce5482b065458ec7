"""Artifacts on a local disk: there or not there, whole, the same for everybody."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.storage.conftest import Put
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore, DamagedArtifact
from uad_orchestrator.storage.provenance import PROVENANCE_FILE, Provenance, ProvenanceError

START = """
import sys, time
from pathlib import Path
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.provenance import Provenance
root, local, who = sys.argv[1:4]
store = ArtifactStore(root, local=Path(local))
key = ArtifactKey("memory_bank", "mvtec_ad", "bottle", "patchcore", "3f2a")
"""


def reopened(store: ArtifactStore) -> ArtifactStore:
    """As another process has it: what this one has looked at is looked at again."""
    return ArtifactStore(str(store), local=store.local)


def start(program: str, store: ArtifactStore, who: str = "") -> subprocess.Popen[str]:
    """Run a program over the same store in a process of its own."""
    arguments = [sys.executable, "-u", "-c", START + program, str(store), str(store.local), who]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_what_was_written_is_read_back(store: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    assert not store.exists(key)
    put(store, key, {"bank.npz": "rows", "maps/crack/000.tiff": "map"}, inputs={"normal_images": "n1"})
    directory = store.open_dir(key)
    assert (directory / "maps/crack/000.tiff").read_text() == "map"
    made = store.provenance(key)
    assert made.files == {"bank.npz": 4, "maps/crack/000.tiff": 3}
    assert (made.bytes, made.inputs) == (7, {"normal_images": "n1"})
    assert made.seconds > 0
    assert store.path(key) == str(directory)


def test_what_is_known_only_at_the_end_is_recorded(store: ArtifactStore, key: ArtifactKey) -> None:
    with store.write(key, Provenance(**vars(key), facts={"a": 1})) as draft:
        draft.record(
            metrics={"image_auroc": float("nan")}, facts={"b": 2}, seeds={"coreset": 3}, device="cuda:0"
        )
    made = store.provenance(key)
    assert (made.metrics, made.facts) == ({"image_auroc": None}, {"a": 1, "b": 2})
    assert (made.seeds, made.device) == ({"coreset": 3}, "cuda:0")


def test_a_block_that_raises_leaves_nothing(store: ArtifactStore, key: ArtifactKey) -> None:
    with pytest.raises(OSError, match="No space left"), store.write(key, Provenance(**vars(key))) as draft:
        (draft.directory / "half").write_text("half")
        raise OSError(28, "No space left on device")
    assert not store.exists(key)
    assert store.list_folders() == []
    assert not any(store.location.scratch.iterdir())


def test_a_provenance_of_something_else_is_refused(store: ArtifactStore, key: ArtifactKey) -> None:
    with (
        pytest.raises(ValueError, match="the artifact is"),
        store.write(key, Provenance(asset="score_table", version="3f2a")),
    ):
        pytest.fail("the block must not run")


def test_kill_9_in_the_middle_of_a_write_leaves_nothing_that_counts(
    store: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    writer = start(
        """
with store.lock(key), store.write(key, Provenance(**vars(key))) as draft:
    (draft.directory / "bank.npz").write_bytes(b"half of it")
    (draft.directory / "provenance.json").write_text("{")
    print("writing")
    time.sleep(60)
""",
        store,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline().strip() == "writing"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait(timeout=10)
    assert not store.exists(key)
    assert (store.list_all(), store.versions("memory_bank", "mvtec_ad", "bottle", "patchcore")) == ([], [])
    with store.lock(key, timeout=5):  # the dead process holds nothing any more
        put(store, key)
    assert (store.open_dir(key) / "rows.txt").read_text() == "rows"


def test_of_two_processes_one_computes_and_the_other_waits_and_reuses(
    store: ArtifactStore, key: ArtifactKey
) -> None:
    program = """
with store.lock(key):
    if store.exists(key):
        print("reused")
    else:
        with store.write(key, Provenance(**vars(key))) as draft:
            (draft.directory / "bank.npz").write_text(who)
            time.sleep(0.5)
        print("computed")
"""
    processes = [start(program, store, who) for who in ("first", "second")]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert said == ["computed", "reused"]


def test_of_two_writers_without_a_lock_the_first_stays_whole(store: ArtifactStore, key: ArtifactKey) -> None:
    program = """
with store.write(key, Provenance(**vars(key), facts={"who": who})) as draft:
    for n in range(50):
        (draft.directory / f"{n}.txt").write_text(who)
    print("written")
    sys.stdin.readline()
"""
    arguments = [sys.executable, "-u", "-c", START + program, str(store), str(store.local)]
    writers = [
        subprocess.Popen([*arguments, who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for who in ("one", "two", "three")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline().strip() == "written"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    who = store.provenance(key).facts["who"]
    directory = store.open_dir(key)
    assert {file.read_text() for file in directory.glob("*.txt")} == {who}
    assert len(list(directory.glob("*.txt"))) == 50
    assert not any(store.location.scratch.iterdir())


def test_an_artifact_is_never_changed_afterwards(store: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    put(store, key, {"a": "first"})
    put(store, key, {"a": "second"})
    assert (store.open_dir(key) / "a").read_text() == "first"


@pytest.mark.parametrize("damage", ["", "{", "null"])
def test_a_corrupted_provenance_does_not_count_and_is_replaced(
    store: ArtifactStore, key: ArtifactKey, put: Put, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, key, {"a": "old", "b": "old"})
    (store.open_dir(key) / "provenance.json").write_text(damage)
    assert not store.exists(key)
    assert "not a readable provenance file" in caplog.text
    with pytest.raises(ProvenanceError, match=r"3f2a/provenance\.json"):
        store.provenance(key)
    assert store.versions("memory_bank", "mvtec_ad", "bottle", "patchcore") == []
    put(store, key, {"a": "new"})
    assert {file.name: file.read_text() for file in store.open_dir(key).glob("[ab]")} == {"a": "new"}


def test_a_folder_without_provenance_does_not_count_and_is_replaced(
    store: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    half_copied = Path(store.path(key))
    half_copied.mkdir(parents=True)
    (half_copied / "bank.npz").write_text("half")
    assert not store.exists(key)
    put(store, key)
    assert [path.name for path in sorted(store.open_dir(key).iterdir())] == ["provenance.json", "rows.txt"]


def test_a_disk_that_cannot_be_read_is_no_missing_artifact(
    store: ArtifactStore, key: ArtifactKey, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    put(store, key)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", broken)
        with pytest.raises(OSError, match="Input/output error"):
            store.holds(key)


def test_a_folder_in_the_place_of_its_provenance_is_none(
    store: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(store, key)
    (Path(store.path(key)) / PROVENANCE_FILE).unlink()
    (Path(store.path(key)) / PROVENANCE_FILE).mkdir()
    assert not store.holds(key) and not store.exists(key)
    put(store, key, {"a": "new"})
    assert (store.open_dir(key) / "a").read_text() == "new"


def test_an_artifact_moved_by_hand_does_not_count(store: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    put(store, key)
    directory = store.open_dir(key)
    directory.rename(directory.with_name("4e5b"))
    moved = ArtifactKey("memory_bank", "mvtec_ad", "bottle", "patchcore", "4e5b")
    assert not store.exists(moved)
    with pytest.raises(ProvenanceError, match="moved or copied by hand"):
        store.provenance(moved)


def test_a_file_cut_short_is_found_out(store: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    put(store, key, {"bank.npz": "all rows", "other": "x"})
    directory = store.open_dir(key)
    (directory / "bank.npz").write_text("all")
    with pytest.raises(DamagedArtifact, match=r"bank\.npz has 3 bytes, 8 were written.*set aside"):
        reopened(store).open_dir(key)
    put(store, key, {"bank.npz": "all rows", "other": "x"})
    (directory / "bank.npz").unlink()
    with pytest.raises(DamagedArtifact, match=r"bank\.npz is missing, 8 were written"):
        reopened(store).open_dir(key)


@given(changed=st.integers(0, 7), to=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_named_set_aside_and_made_again(
    store: ArtifactStore, key: ArtifactKey, put: Put, changed: int, to: int
) -> None:
    put(store, key, {"bank.npz": "all rows", "other": "x"})
    directory = store.open_dir(key)
    data = bytearray((directory / "bank.npz").read_bytes())
    assume(data[changed] != to)
    data[changed] = to
    (directory / "bank.npz").write_bytes(data)
    assert "bank.npz was changed" in str(store.find_damage(key))
    assert (reopened(store).open_dir(key, "other") / "other").read_text() == "x", (
        "what is not read is not held to it"
    )
    with pytest.raises(DamagedArtifact, match=r"bank\.npz was changed since it was written") as raised:
        reopened(store).open_dir(key)
    kept = Path(str(raised.value).split("set aside as ")[1].split(": refresh")[0])
    assert (kept / "bank.npz").read_bytes() == data
    assert not store.holds(key) and not store.exists(key) and store.missing([key]) == [key]
    put(store, key, {"bank.npz": "all rows", "other": "x"})
    assert store.find_damage(key) is None and store.holds(key)
    store.delete(key)


def test_another_process_that_put_it_right_meanwhile_is_believed(
    store: ArtifactStore, key: ArtifactKey, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, key, {"bank.npz": "all rows"})
    bank = store.open_dir(key) / "bank.npz"
    bank.write_text("all rowS")
    opened, lock = reopened(store), ArtifactStore.lock

    def mended_while_waiting(self: ArtifactStore, key: ArtifactKey) -> AbstractContextManager[None]:
        bank.write_text("all rows")
        return lock(self, key)

    monkeypatch.setattr(ArtifactStore, "lock", mended_while_waiting)
    assert opened.open_dir(key) == bank.parent


@given(cut=st.integers(0, 400), byte=st.integers(0, 400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_provenance_that_was_cut_or_changed_does_not_count(
    store: ArtifactStore, key: ArtifactKey, put: Put, cut: int, byte: int
) -> None:
    put(store, key, {"bank.npz": "all rows"})
    path = Path(store.path(key)) / PROVENANCE_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    assert not store.holds(key) and not store.exists(key)
    changed = bytearray(whole)
    changed[byte % len(whole)] ^= 1
    path.write_bytes(changed)
    assert not store.exists(key)
    path.write_bytes(whole)
    assert store.holds(key) and store.exists(key)
    store.delete(key)


def test_a_changed_provenance_is_named_and_set_aside_in_whole_sentences(
    store: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(store, key)
    path = Path(store.path(key)) / PROVENANCE_FILE
    path.write_bytes(path.read_bytes().replace(b"bottle", b"Bottle", 1))
    assert not str(store.find_damage(key)).endswith(".")
    with pytest.raises(DamagedArtifact, match=r"provenance\.json .*replaced\. It was set aside"):
        store.open_dir(key)


def test_artifacts_of_earlier_versions_have_no_checksums_and_count(
    store: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(store, key, {"bank.npz": "all rows"})
    path = Path(store.path(key)) / PROVENANCE_FILE
    values = json.loads(path.read_text())
    del values["checksum"], values["checksums"]
    values["schema_version"] = 1
    path.write_text(json.dumps(values, indent=1))
    assert store.open_dir(key) and store.find_damage(key) is None and store.holds(key)


def test_what_is_not_there_is_an_error_that_says_what_to_do(store: ArtifactStore, key: ArtifactKey) -> None:
    with pytest.raises(
        ArtifactError, match=r"no artifact memory_bank/mvtec_ad/bottle/patchcore/3f2a .*refresh"
    ):
        store.open_dir(key)


def test_a_lock_not_given_in_time_is_an_error(store: ArtifactStore, key: ArtifactKey) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock(key):
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        with (
            pytest.raises(ArtifactError, match="another process has been making memory_bank"),
            store.lock(key, 0.1),
        ):
            pytest.fail("two holders")
    finally:
        done.set()
        holder.join()


def test_an_error_inside_the_lock_is_not_taken_for_a_lock_not_given(
    store: ArtifactStore, key: ArtifactKey
) -> None:
    with pytest.raises(TimeoutError, match="mine"), store.lock(key):
        raise TimeoutError("mine")
    with store.lock(key, timeout=1):
        pass


def test_versions_are_listed_newest_first_and_keys_all(
    store: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    versions = [put(store, ArtifactKey(*key.parts[:4], version)) for version in ("aa", "ff", "cc")]
    board = put(store, ArtifactKey("leaderboard", None, None, None, "b"))
    assert store.versions("memory_bank", "mvtec_ad", "bottle", "patchcore") == ["cc", "ff", "aa"]
    assert store.versions("memory_bank", "mvtec_ad", "screw", "patchcore") == []
    (store.location.artifact_files / ".trash/a/b/c/d").mkdir(parents=True)
    (store.location.artifact_files / ".trash/a/b/c/d/provenance.json").write_text("{}")
    assert store.list_all() == sorted([*versions, board], key=lambda k: k.parts)


def test_names_with_glob_signs_are_taken_literally(store: ArtifactStore, put: Put) -> None:
    put(store, ArtifactKey("memory_bank", "d", "ab", "p", "v"))
    put(store, ArtifactKey("memory_bank", "d", "a*", "p", "w"))
    assert store.versions("memory_bank", "d", "a*", "p") == ["w"]


def test_deleting_takes_it_away_at_once(store: ArtifactStore, key: ArtifactKey, put: Put) -> None:
    put(store, key)
    store.delete(key)
    store.delete(key)
    assert (store.exists(key), store.list_folders()) == (False, [])


def test_artifacts_are_readable_by_others_as_the_umask_says(
    store: ArtifactStore, key: ArtifactKey, put: Put
) -> None:
    put(store, key)
    plain = store.local / "plain"
    plain.mkdir(parents=True)
    assert store.open_dir(key).stat().st_mode == plain.stat().st_mode
