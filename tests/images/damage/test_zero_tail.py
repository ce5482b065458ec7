"""An end of zeros: said of pictures that are stored as they are, with their name, and refused of none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from uad_orchestrator.datasets.checks.headers import check_dataset
from uad_orchestrator.images.decode import decode_image
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.images.remarks import encoded_remarks, file_remarks

NOISE = np.random.default_rng(0).integers(1, 256, (200, 300, 3), dtype=np.uint8)
KINDS = ["a.bmp", "a.ppm", "a.tif", "strips.tif", "tiles.tif", "16.tif", "float.tif"]
READING = ReadingSettings(value_range=(0, 70_000))


def encoded(name: str, pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    if name in ("a.bmp", "a.ppm", "a.tif"):
        Image.fromarray(pixels).save(stream, {".bmp": "BMP", ".ppm": "PPM", ".tif": "TIFF"}[name[1:]])
        return stream.getvalue()
    settings = {"strips.tif": {"rowsperstrip": 8}, "tiles.tif": {"tile": (64, 64)}}.get(name, {})
    if name in ("16.tif", "float.tif"):
        pixels = pixels.astype(np.uint16 if name == "16.tif" else np.float32) * 200
    tifffile.imwrite(stream, pixels, photometric="rgb", metadata=None, **settings)
    return stream.getvalue()


def with_black_rows(name: str, rows: int) -> np.ndarray:
    """Black where the file ends: BMP files begin with the lowest row."""
    pixels = NOISE.copy()
    if rows:
        pixels[: rows if name == "a.bmp" else 0] = 0
        pixels[-rows:] = pixels[-rows:] if name == "a.bmp" else 0
    return pixels


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_whose_last_part_is_zero_is_read_with_a_word(tmp_path: Path, name: str) -> None:
    data = encoded(name, with_black_rows(name, 80))
    decode_image(data, name, READING)
    (remark,) = encoded_remarks(data, name, READING)
    assert remark.kind == "zeros"
    share = int(remark.text.split("the last ")[1].split(" %")[0])
    assert 15 <= share <= 55, "80 of 200 rows; of tiles, with what fills them up, 1.1 of 4 rows"
    (tmp_path / name).write_bytes(data)
    assert file_remarks(tmp_path / name, READING) == (remark,)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 200])
def test_nothing_is_said_of_whole_thin_borders_and_black_pictures(name: str, rows: int) -> None:
    assert encoded_remarks(encoded(name, with_black_rows(name, rows)), name, READING) == ()


def test_a_compressed_picture_that_is_black_below_is_its_own_affair() -> None:
    stream = io.BytesIO()
    Image.fromarray(with_black_rows("a.tif", 80)).save(stream, "TIFF", compression="tiff_lzw")
    assert encoded_remarks(stream.getvalue(), "a.tif") == ()


def test_the_check_of_a_dataset_warns_with_the_files_name(tmp_path: Path) -> None:
    good = tmp_path / "line" / "train" / "good"
    good.mkdir(parents=True)
    for number in range(3):
        data = encoded("a.tif", NOISE)
        if number == 1:  # a copy that was broken off: the place was kept, the content never came
            data = data[:100_000] + bytes(len(data) - 100_000)
        (good / f"{number}.tif").write_bytes(data)
    found = [problem for problem in check_dataset("folder", tmp_path, "line") if "zero" in problem.message]
    assert [(problem.path, problem.severity) for problem in found] == [("line/train/good/1.tif", "warning")]
