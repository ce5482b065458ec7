"""Files and folders written aside: whole or not at all, whatever happens to their writers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from uad_orchestrator.datasets.scan import list_files, subfolders
from uad_orchestrator.storage import atomic
from uad_orchestrator.storage.atomic import (
    new_file,
    new_folder,
    place_folder,
    remove_folder,
    sync,
    write_text,
)

START = """
import sys, time
from pathlib import Path
from uad_orchestrator.storage.atomic import new_file, new_folder
path, who = Path(sys.argv[1]), sys.argv[2]
def write(who):
    with new_file(path) as aside, aside.open("w") as file:
        for _ in range(200):
            file.write(who * 1000)
            file.flush()
def fill(who):
    with new_folder(path) as aside:
        for n in range(20):
            (aside / f"{n}.txt").write_text(who)
"""


def start(program: str, path: Path, who: str = "x") -> subprocess.Popen[str]:
    """Run a program on ``path`` in a process of its own."""
    command = [sys.executable, "-u", "-c", START + program, str(path), who]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_when_it_says(program: str, path: Path, word: str = "half") -> None:
    """Kill a program without a word once it has come half-way."""
    writer = start(program, path)
    assert writer.stdout is not None
    assert writer.stdout.readline().strip() == word
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(timeout=30) == -signal.SIGKILL


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def texts(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.iterdir()}


@pytest.fixture
def readonly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder, in which nothing may be made; root, who may everywhere, is somebody else meanwhile."""
    folder = tmp_path / "readonly"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    monkeypatch.chdir(folder)  # reached by its name, folders above might be in the way of somebody else
    folder.chmod(0o555)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    yield
    if was_root:
        os.seteuid(0)
    folder.chmod(0o755)


class TestFile:
    def test_it_appears_when_the_block_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "made" / "scores.txt"
        with new_file(path) as aside:
            aside.write_text("whole")
            assert names(path.parent) == {aside.name}
            assert list_files(path.parent) == [], "no layout sees it"
        assert path.read_text() == "whole" and names(path.parent) == {"scores.txt"}

    def test_it_takes_the_place_of_another_and_is_as_readable_as_any(self, tmp_path: Path) -> None:
        path, plain = tmp_path / "scores.txt", tmp_path / "plain"
        path.write_text("before")
        plain.touch()
        write_text(path, "größer")
        assert path.read_bytes() == "größer".encode()
        assert path.stat().st_mode == plain.stat().st_mode

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    @pytest.mark.parametrize("alone", [False, True])
    def test_a_block_that_raises_leaves_what_was_there(
        self, tmp_path: Path, error: BaseException, alone: bool
    ) -> None:
        path = tmp_path / "scores.txt"
        path.write_text("before")
        with pytest.raises(type(error)), new_file(path, alone=alone) as aside:
            aside.write_text("half")
            raise error
        assert path.read_text() == "before" and names(tmp_path) == {"scores.txt"}

    def test_killed_in_the_middle_the_old_one_is_whole_and_the_next_writer_goes_on(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "scores.txt"
        path.write_text("before")
        program = """
with new_file(path) as aside:
    aside.write_text("half of it")
    print("half")
    time.sleep(60)
"""
        kill_when_it_says(program, path)
        assert path.read_text() == "before"
        assert list_files(tmp_path) == ["scores.txt"], "what it left is hidden"
        write_text(path, "after")
        assert path.read_text() == "after"

    def test_killed_at_any_moment_it_is_one_of_the_versions(self, tmp_path: Path) -> None:
        path, draws = tmp_path / "scores.txt", random.Random(0)
        program = """
print("half")
for n in range(10**6):
    write("ab"[n % 2])
"""
        seen = set()
        for _ in range(6):
            writer = start(program, path)
            assert writer.stdout is not None
            writer.stdout.readline()
            while not path.exists():
                time.sleep(0.001)
            time.sleep(draws.random() / 5)
            writer.kill()
            writer.wait(timeout=30)
            content = path.read_text()
            assert content in ("a" * 200_000, "b" * 200_000)
            seen.add(content[0])
            path.unlink()
        assert seen <= {"a", "b"}

    def test_a_lone_writer_leaves_one_crumb_however_often_it_is_killed(self, tmp_path: Path) -> None:
        path = tmp_path / "bank.ckpt"
        program = """
with new_file(path, alone=True) as aside:
    assert not aside.exists(), "it begins anew"
    aside.write_text("half")
    print("half")
    time.sleep(60)
"""
        for _ in range(2):
            kill_when_it_says(program, path)
            assert names(tmp_path) == {".bank.ckpt.part"}
        with new_file(path, alone=True) as aside:
            aside.write_text("whole")
        assert names(tmp_path) == {"bank.ckpt"}

    def test_of_two_writers_one_stays_whole_and_readers_see_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "scores.txt"
        write_text(path, "a" * 200_000)
        program = """
for _ in range(40):
    write(who)
"""
        writers = [start(program, path, who) for who in "ab"]
        seen = set()
        while any(writer.poll() is None for writer in writers):
            content = path.read_text()
            assert content in ("a" * 200_000, "b" * 200_000)
            seen.add(content[0])
        assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
        assert seen == {"a", "b"} and names(tmp_path) == {"scores.txt"}

    @pytest.mark.usefixtures("readonly")
    @pytest.mark.parametrize("options", [{}, {"alone": True}, {"durable": True}])
    def test_where_nothing_may_be_written_the_error_names_the_file(self, options: dict[str, bool]) -> None:
        with pytest.raises(PermissionError) as caught, new_file(Path("old.txt"), **options) as aside:
            aside.write_text("new")
        assert caught.value.filename == "old.txt"
        assert Path("old.txt").read_text() == "old" and names(Path()) == {"old.txt"}

    def test_a_name_that_is_as_long_as_names_can_be(self, tmp_path: Path) -> None:
        path = tmp_path / ("ä" * 127)
        write_text(path, "long")
        assert path.read_text() == "long"

    def test_a_durable_file_is_synced_before_its_name_and_the_name_after(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, order = tmp_path / "image.png", []

        def note(what: Path) -> None:
            order.append((what == tmp_path, path.exists()))
            sync(what)

        monkeypatch.setattr(atomic, "sync", note)
        write_text(path, "bytes", durable=True)
        assert order == [(False, False), (True, True)]
        order.clear()
        write_text(path, "bytes")
        assert order == []


class TestFolder:
    def test_it_appears_when_the_block_ends(self, tmp_path: Path) -> None:
        path, plain = tmp_path / "made" / "bundle", tmp_path / "plain"
        plain.mkdir()
        with new_folder(path) as aside:
            (aside / "state").mkdir()
            (aside / "state" / "rows").write_text("rows")
            assert subfolders(path.parent) == [], "no layout sees it"
        assert (path / "state" / "rows").read_text() == "rows" and names(path.parent) == {"bundle"}
        assert path.stat().st_mode == plain.stat().st_mode

    def test_it_takes_the_place_of_another_and_nothing_of_that_is_left(self, tmp_path: Path) -> None:
        path = tmp_path / "maps"
        for name in ("before", "after"):
            with new_folder(path) as aside:
                (aside / name).write_text(name)
        assert names(path) == {"after"} and names(tmp_path) == {"maps"}

    def test_what_is_there_may_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "gear"
        for name in ("first", "second"):
            with new_folder(path, keep=path.exists) as aside:
                (aside / name).write_text(name)
        assert names(path) == {"first"} and names(tmp_path) == {"gear"}

    def test_whoever_keeps_may_refuse(self, tmp_path: Path) -> None:
        def refuse() -> bool:
            raise ValueError("somebody's")

        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "file").touch()
        with pytest.raises(ValueError, match="somebody's"), new_folder(tmp_path / "bundle", keep=refuse):
            pass
        assert names(tmp_path) == {"bundle"} and names(tmp_path / "bundle") == {"file"}

    def test_it_can_be_filled_elsewhere(self, tmp_path: Path) -> None:
        scratch, path = tmp_path / "scratch", tmp_path / "artifacts" / "v1"
        for text in ("before", "after"):
            with new_folder(path, scratch=scratch) as aside:
                assert aside.parent == scratch
                (aside / "file").write_text(text)
        assert texts(path) == {"after"} and names(path.parent) == {"v1"} and names(scratch) == set()

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_a_block_that_raises_leaves_what_was_there(self, tmp_path: Path, error: BaseException) -> None:
        path = tmp_path / "maps"
        path.mkdir()
        (path / "before").touch()
        with pytest.raises(type(error)), new_folder(path) as aside:
            (aside / "half").touch()
            raise error
        assert names(path) == {"before"} and names(tmp_path) == {"maps"}

    @pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
    def test_a_rename_that_fails_puts_the_old_one_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        path = tmp_path / "maps"
        path.mkdir()
        (path / "before").touch()
        renamed = Path.rename

        def failing(made: Path, target: Path) -> Path:
            if target == path and not path.exists() and (made / "after").exists():
                raise error
            return renamed(made, target)

        monkeypatch.setattr(Path, "rename", failing)
        with pytest.raises(type(error)), new_folder(path) as aside:
            (aside / "after").touch()
        assert names(path) == {"before"} and names(tmp_path) == {"maps"}

    def test_killed_in_the_middle_the_old_one_is_whole_and_the_next_writer_goes_on(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "maps"
        path.mkdir()
        (path / "before").write_text("before")
        program = """
with new_folder(path) as aside:
    (aside / "half").write_text("half")
    print("half")
    time.sleep(60)
"""
        kill_when_it_says(program, path)
        assert texts(path) == {"before"}
        assert subfolders(tmp_path) == ["maps"], "what it left is hidden"
        with new_folder(path) as aside:
            (aside / "after").write_text("after")
        assert texts(path) == {"after"}

    def test_killed_at_any_moment_it_is_one_of_the_versions_or_none(self, tmp_path: Path) -> None:
        path, draws = tmp_path / "maps", random.Random(0)
        program = """
print("half")
for n in range(10**6):
    fill("ab"[n % 2])
"""
        for _ in range(6):
            writer = start(program, path)
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(draws.random() / 5)
            writer.kill()
            writer.wait(timeout=30)
            if path.exists():
                assert len(names(path)) == 20 and texts(path) in ({"a"}, {"b"})
        assert subfolders(tmp_path) in ([], ["maps"])

    @pytest.mark.parametrize("keep", [False, True])
    def test_of_three_writers_one_stays_whole(self, tmp_path: Path, keep: bool) -> None:
        path = tmp_path / "maps"
        program = """
for _ in range(1 if who.isupper() else 60):
    with new_folder(path, keep=path.exists if who.isupper() else None) as aside:
        for n in range(20):
            (aside / f"{n}.txt").write_text(who)
"""
        writers = [start(program, path, who) for who in ("ABC" if keep else "abc")]
        assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
        assert len(names(path)) == 20 and len(texts(path)) == 1
        assert names(tmp_path) == {"maps"}, "nothing lies aside"

    @pytest.mark.usefixtures("readonly")
    def test_where_nothing_may_be_written_the_error_names_the_folder(self) -> None:
        with pytest.raises(PermissionError) as caught, new_folder(Path("maps")):
            pytest.fail("there is nowhere to write")
        assert caught.value.filename == "maps"

    def test_a_file_in_its_place_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "maps"
        path.write_text("a file")
        with pytest.raises(NotADirectoryError), new_folder(path) as aside:
            (aside / "file").touch()
        assert path.read_text() == "a file" and names(tmp_path) == {"maps"}


def test_a_folder_on_its_way_stays_where_it_is_if_another_is_kept(tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "there"
    for folder in (made, path):
        folder.mkdir()
        (folder / folder.name).touch()
    assert place_folder(made, path, keep=lambda: True) is False
    assert names(made) == {"made"} and names(path) == {"there"}
    assert place_folder(made, path, keep=lambda: False) is True
    assert names(path) == {"made"} and names(tmp_path) == {"there"}


def test_what_another_writer_has_just_moved_away_is_no_fault(tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "there"
    for folder in (made, path):
        folder.mkdir()
        (folder / folder.name).touch()

    def another_is_faster() -> bool:
        path.rename(tmp_path / "taken")
        return False

    assert place_folder(made, path, keep=another_is_faster) is True
    assert names(path) == {"made"} and names(tmp_path) == {"there", "taken"}


@pytest.mark.parametrize("scratch", [lambda home: None, lambda home: home / "scratch"])
def test_a_removed_folder_is_gone_with_all_its_files(
    tmp_path: Path, scratch: Callable[[Path], Path | None]
) -> None:
    path = tmp_path / "maps"
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").touch()
    remove_folder(path, scratch(tmp_path))
    remove_folder(path, scratch(tmp_path))
    assert {name for _, folders, files in os.walk(tmp_path) for name in (*folders, *files)} <= {"scratch"}


@pytest.mark.parametrize("new", [new_file, new_folder])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_file_where_a_folder_is_expected_is_named(
    tmp_path: Path, new: Callable[[Path], AbstractContextManager[Path]], dangling: bool
) -> None:
    there = tmp_path / "there"
    there.symlink_to(tmp_path / "gone") if dangling else there.write_text("in the way")
    expected = pytest.raises(NotADirectoryError, match="a file where a folder is expected")
    with expected as raised, new(there / "below" / "name"):
        pass
    assert raised.value.filename == str(there)
