"""Pictures and maps stay within their limit; the oldest go first, record by record."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from uad_orchestrator.images.source import ImageFile
from uad_orchestrator.inference.records.kept_images import KeptImages, picture_name

DAY = "line7/housing/patchcore/2026-11-26"
ID = "0b0f7e3b6d3f4d0c9c1a5d8e2f4a6b"
"""Of a record, but for its last two digits, by which files are told apart here."""


def kept(records: Path) -> list[str]:
    """The files there, without what their names have in common."""
    return sorted(path.name.removeprefix(ID) for path in records.rglob("*") if path.is_file())


def fill(store: KeptImages, number: int, size: int = 1000) -> None:
    """A picture that is ``number`` seconds younger than the first."""
    path = store.records / DAY / f"pictures/{ID}{number:02}.png"
    store.keep_picture(path, ImageFile.of(b"x" * size))
    os.utime(path, (1000 + number, 1000 + number))


def test_the_oldest_make_room(tmp_path: Path) -> None:
    store = KeptImages(tmp_path, 10_000)
    for number in range(25):
        fill(store, number)
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.png")) <= 10_000
    names = kept(tmp_path)
    assert names[-1] == "24.png" and names == [f"{i:02}.png" for i in range(25 - len(names), 25)]
    assert len(names) >= 9


def test_a_map_goes_with_its_picture(tmp_path: Path) -> None:
    store = KeptImages(tmp_path, 10_000)
    for number in range(3):
        fill(store, number)
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    store.keep_map(tmp_path / DAY / f"maps/{ID}00.tiff", values)
    assert np.array_equal(tifffile.imread(tmp_path / DAY / f"maps/{ID}00.tiff"), values)
    fill(store, 3, 7000)
    assert kept(tmp_path) == ["01.png", "02.png", "03.png"]


def test_what_others_keep_counts_and_what_a_killed_one_left(tmp_path: Path) -> None:
    folder = tmp_path / "line7/lid/patchcore/2026-11-25/pictures"
    folder.mkdir(parents=True)
    (folder / f".{ID}0a.png.0123").write_bytes(b"x" * 6000)
    os.utime(folder / f".{ID}0a.png.0123", (1, 1))
    store = KeptImages(tmp_path, 10_000)
    fill(store, 0, 5000)
    assert kept(tmp_path) == ["00.png"]
    other = KeptImages(tmp_path, 10_000)
    fill(other, 1, 4900)
    fill(store, 2, 4900)
    assert kept(tmp_path) == ["02.png"], "it looked, and made room down to nine tenths"


@pytest.mark.parametrize(
    "place",
    ["line7/housing/patchcore/album/pictures/{id}07.png", "{day}/pictures/cat.png", "elsewhere/{id}07.png"],
)
def test_of_files_of_others_nothing_is_removed(tmp_path: Path, place: str) -> None:
    """A folder of records may be one that holds more, and a folder of pictures may be a link."""
    own = tmp_path / place.format(id=ID, day=DAY)
    own.parent.mkdir(parents=True)
    own.write_bytes(b"x" * 9000)
    os.utime(own, (1, 1))
    linked = tmp_path / "line7/housing/patchcore/2026-11-25"
    linked.mkdir(parents=True)
    (linked / "pictures").symlink_to(tmp_path / "elsewhere")
    store = KeptImages(tmp_path, 10_000)
    fill(store, 0, 5000)
    fill(store, 1, 5000)
    assert own.exists() and len(kept(tmp_path)) == 3


def test_one_that_is_larger_than_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="more than the 100 that are kept"):
        KeptImages(tmp_path, 100).keep_picture(tmp_path / "x.png", ImageFile.of(b"x" * 101))


def test_a_large_file_is_copied_as_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(b"large")
    file = ImageFile(ImageFile.of(b"large").digest, tmp_path / "large.tif")
    store = KeptImages(tmp_path, 100)
    store.keep_picture(tmp_path / DAY / "pictures/a.tif", file)
    assert (tmp_path / DAY / "pictures/a.tif").read_bytes() == b"large"
    (tmp_path / "large.tif").write_bytes(b"other")
    with pytest.raises(OSError, match="was replaced"):
        store.keep_picture(tmp_path / DAY / "pictures/b.tif", file)
    assert not (tmp_path / DAY / "pictures/b.tif").exists()


@pytest.mark.parametrize(
    ("image", "data", "expected"),
    [
        ("cam/1.JPG", b"", ".jpg"),
        ("image", b"\xff\xd8\xff", ".jpg"),
        ("../../x.sh", b"\x89PNG\r\n", ".png"),
        ("x.png/../../..", b"II*\0", ".tif"),
        ("image", b"P5 2 2", ".pnm"),
    ],
)
def test_a_name_is_ours_but_for_an_image_suffix(image: str, data: bytes, expected: str) -> None:
    assert picture_name("0a", image, ImageFile.of(data)) == f"pictures/0a{expected}"
