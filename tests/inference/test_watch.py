"""Watching a folder: complete files only, each once."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.workshop import normal_image, write_image
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.watch import arriving_images, images_below

SETTLE = 0.15


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


def watched(folder: Path) -> Iterator[ImageSource]:
    return arriving_images(folder, settle_seconds=SETTLE, poll_seconds=0.02)


def test_those_that_are_there_and_those_that_come(folder: Path) -> None:
    write_image(folder / "b.png", normal_image(1))
    write_image(folder / "shift/a.png", normal_image(2))
    write_image(folder / ".hidden.png", normal_image(3))
    (folder / "notes.txt").write_text("no image")
    arriving = watched(folder)
    assert {Path(next(arriving).name).name for _ in range(2)} == {"a.png", "b.png"}
    threading.Timer(0.1, write_image, (folder / "c.png", normal_image(4))).start()
    last = next(arriving)
    assert Path(last.name).name == "c.png"
    assert last.read().shape == normal_image(4).shape


def test_a_file_that_is_being_written_is_left_alone(folder: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "whole.png", normal_image(1))
    data = (tmp_path / "whole.png").read_bytes()
    finished = []

    def write_slowly() -> None:
        with (folder / "slow.png").open("wb") as stream:
            for start in range(0, len(data), len(data) // 8 + 1):
                stream.write(data[start : start + len(data) // 8 + 1])
                stream.flush()
                time.sleep(SETTLE / 3)
        finished.append(time.monotonic())

    writer = threading.Thread(target=write_slowly)
    writer.start()
    source = next(watched(folder))
    taken = time.monotonic()
    writer.join()
    assert taken >= finished[0]
    assert source.read().shape == normal_image(1).shape


def test_a_replaced_file_is_taken_again(folder: Path, tmp_path: Path) -> None:
    write_image(folder / "latest.png", normal_image(1))
    write_image(tmp_path / "next.png", normal_image(2))
    arriving = watched(folder)
    first = next(arriving).read()
    (tmp_path / "next.png").replace(folder / "latest.png")
    assert (next(arriving).read() != first).any()


def test_a_file_replaced_while_it_is_read_is_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(folder / "latest.png", normal_image(1))
    write_image(tmp_path / "next.png", normal_image(2))
    read_bytes, reads = Path.read_bytes, []

    def replaced_meanwhile(path: Path) -> bytes:
        data = read_bytes(path)
        if not reads:
            shutil.copyfile(tmp_path / "next.png", path)
        reads.append(path)
        return data

    monkeypatch.setattr(Path, "read_bytes", replaced_meanwhile)
    found = next(watched(folder)).read()
    assert len(reads) == 2
    assert (found == normal_image(2)).all()


def test_a_folder_that_goes_away_is_an_error(folder: Path) -> None:
    arriving = watched(folder)
    folder.rmdir()
    with pytest.raises(FileNotFoundError, match="watched"):
        next(arriving)


def test_images_below_are_sorted_and_visible(folder: Path) -> None:
    for name in ("b.PNG", "a.jpg", ".c.png", "sub/d.tiff", ".cache/e.png", "f.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert [path.relative_to(folder).as_posix() for path in images_below(folder)] == [
        "a.jpg",
        "b.PNG",
        "sub/d.tiff",
    ]
