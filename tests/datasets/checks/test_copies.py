"""Copies across splits are found however they were saved; other pictures of like parts are not taken for copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.own_data.cases import SIZE, picture, save, write_category
from uad_orchestrator.datasets import DatasetError, Strictness, find_copies, generate_demo, load_dataset
from uad_orchestrator.datasets.checks.copies import find_undecodable
from uad_orchestrator.datasets.checks.saving_again import saved_again
from uad_orchestrator.datasets.leaks import find_exact_copies
from uad_orchestrator.images.reading_settings import ReadingSettings

Way = tuple[str, float, dict[str, Any]]
WAYS: list[Way] = [
    ("png", 1, {"compress_level": 1}),
    ("bmp", 1, {}),
    ("webp", 1, {"lossless": True}),
    ("webp", 1, {"quality": 80}),
    ("webp", 1, {"quality": 60}),
    ("tif", 1, {}),
    ("jpg", 1, {"quality": 97}),
    ("jpg", 1, {"quality": 85}),
    ("jpg", 1, {"quality": 60, "subsampling": 2}),
    ("png", 0.5, {}),
    ("png", 1.5, {}),
    ("jpg", 0.5, {"quality": 85}),
]


@pytest.fixture
def line(tmp_path: Path) -> Path:
    write_category(tmp_path / "housing")
    return tmp_path


def save_anew(source: Path, target: Path, scale: float = 1, **options: Any) -> None:
    image = Image.open(source)
    if scale != 1:
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, **options)


def copies(root: Path, leaks: Any = "warn") -> dict[str, str]:
    strictness = Strictness(leaks=leaks)
    found = find_copies(load_dataset("line7", root, "housing", layout="folder", strictness=strictness))
    return {problem.path.removeprefix("housing/"): problem.message for problem in found}


def test_other_pictures_of_the_same_part_are_no_copies(line: Path) -> None:
    assert copies(line) == {}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0]} {way[1]} {way[2]}")
def test_a_picture_saved_anew_is_found(line: Path, way: Way) -> None:
    suffix, scale, options = way
    for number in (3, 7):
        source = line / f"housing/train/good/{number:03}.png"
        save_anew(source, line / f"housing/test/good/copy{number}.{suffix}", scale, **options)
    found = copies(line)
    assert list(found) == [f"test/good/copy{number}.{suffix}" for number in (3, 7)]
    assert "housing/train/good/003.png, which is trained on" in found[f"test/good/copy3.{suffix}"]


@pytest.mark.parametrize("through", [("JPEG", 45), ("JPEG", 93), ("WEBP", 65)], ids=str)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_saved_with_loss_before_it_was_saved_anew_is_found(
    line: Path, through: tuple[str, int], suffix: str
) -> None:
    kind, quality = through
    for number in (3, 7):
        once = saved_again(picture(number)[0], kind, quality=quality)
        save(line / f"housing/test/good/copy{number}.{suffix}", once, quality=80)
    assert list(copies(line)) == [f"test/good/copy{number}.{suffix}" for number in (3, 7)]


def test_the_original_in_test_and_its_jpeg_in_train_are_found_too(line: Path) -> None:
    save_anew(line / "housing/test/good/001.png", line / "housing/train/good/copy.jpg", quality=70)
    assert list(copies(line)) == ["test/good/001.png"]


def test_validation_is_held_against_train_and_test_against_both(line: Path) -> None:
    save_anew(line / "housing/train/good/003.png", line / "housing/validation/good/a.bmp")
    save(line / "housing/validation/good/b.png", picture(400)[0])
    save_anew(line / "housing/validation/good/b.png", line / "housing/test/good/c.bmp")
    found = copies(line)
    assert "train/good/003.png, which is trained on" in found["validation/good/a.bmp"]
    assert "validation/good/b.png, which is calibrated on" in found["test/good/c.bmp"]


def test_two_shots_of_a_part_that_does_not_move_are_no_copies(tmp_path: Path) -> None:
    """Only the camera's noise differs, of one strength in all or saved as JPEG in test."""
    noise = np.random.default_rng(0)
    still = picture(0)[0].astype(float)

    def shot(path: str, **options: Any) -> None:
        pixels = np.clip(still + noise.normal(0, 3, still.shape), 0, 255).astype(np.uint8)
        save(tmp_path / "housing" / path, pixels, **options)

    for number in range(8):
        shot(f"train/good/{number}.png")
        shot(f"test/good/{number}.png")
        shot(f"test/good/as_jpeg_{number}.jpg", quality=90)
        shot(f"test/good/as_webp_{number}.webp", quality=80)
    assert copies(tmp_path) == {}


def test_a_defect_painted_on_another_picture_is_no_copy(line: Path) -> None:
    pixels = np.array(Image.open(line / "housing/train/good/003.png"))
    pixels[40:52, 40:44] = 0
    save(line / "housing/test/painted/0.png", pixels)
    assert copies(line) == {}


@pytest.mark.parametrize("category", ["connector", "gear", "weave"])
def test_the_demo_has_no_copies(tmp_path: Path, category: str) -> None:
    generate_demo(tmp_path, categories=[category])
    assert find_copies(load_dataset("demo", tmp_path, category)) == []


@pytest.mark.parametrize("pixels", [np.zeros((SIZE, SIZE, 3), np.uint8), np.full((3, 5, 3), 200, np.uint8)])
def test_plain_and_tiny_pictures_are_compared_too(line: Path, pixels: np.ndarray) -> None:
    save(line / "housing/train/good/plain.png", pixels)
    save(line / "housing/test/good/plain.bmp", pixels)
    assert list(copies(line)) == ["test/good/plain.bmp"]


def test_copies_byte_for_byte_are_told_apart_and_leaks_may_be_errors(line: Path) -> None:
    shutil.copy(line / "housing/train/good/003.png", line / "housing/test/good/000.png")
    manifest = load_dataset("line7", line, "housing", layout="folder")
    [exact] = find_exact_copies(manifest)
    assert str(exact) == (
        "housing/test/good/000.png: the same file as housing/train/good/003.png, which is trained on; "
        "take one of them out"
    )
    assert exact.severity == "warning" and find_copies(manifest) == []
    strict = Strictness(leaks="error")
    with pytest.raises(
        DatasetError, match=r"test/good/000\.png: the same file as housing/train/good/003\.png"
    ):
        load_dataset("line7", line, "housing", layout="folder", strictness=strict)
    save_anew(line / "housing/train/good/003.png", line / "housing/test/good/000.png", compress_level=1)
    [problem] = find_copies(load_dataset("line7", line, "housing", layout="folder", strictness=strict))
    assert problem.severity == "error"


def test_what_is_remembered_is_not_decoded_again(line: Path) -> None:
    save_anew(line / "housing/train/good/003.png", line / "housing/test/good/copy.bmp")
    manifest = load_dataset("line7", line, "housing", layout="folder")
    memory: dict[str, Any] = {}

    def remember(key: str, find: Callable[[], Any]) -> Any:
        return memory[key] if key in memory else memory.setdefault(key, find())

    first = find_copies(manifest, remember)
    shutil.rmtree(line / "housing")
    assert [problem.path for problem in first] == ["housing/test/good/copy.bmp"]
    assert find_copies(manifest, remember) == first


def test_each_picture_is_decoded_once_to_be_looked_up(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from uad_orchestrator.datasets.checks import copies as module

    looked_at: list[int] = []
    real = module._Look.of
    monkeypatch.setattr(module._Look, "of", lambda picture: (looked_at.append(1), real(picture))[1])
    manifest = load_dataset("line7", line, "housing", layout="folder")
    find_copies(manifest)
    assert len(looked_at) == len({record.digest for record in manifest.records})


def test_files_that_cannot_be_read_are_no_copies(line: Path) -> None:
    for image in (line / "housing/train/good").iterdir():
        image.write_bytes(image.read_bytes()[:-40])
    assert copies(line) == {}
    undecodable = find_undecodable(load_dataset("line7", line, "housing", layout="folder"))
    assert len(undecodable) == 12 and {problem.severity for problem in undecodable} == {"error"}


def test_a_tiff_that_pillow_does_not_open_is_compared(line: Path) -> None:
    for split, seeds in (("train", range(3)), ("test", (100, 2))):
        for seed in seeds:
            path = line / "housing" / split / "good" / f"more{seed}.tif"
            tifffile.imwrite(path, (picture(seed)[0] / 255).astype(np.float64), description=split)
    reading = ReadingSettings(value_range=(0, 1))
    found = find_copies(load_dataset("line7", line, "housing", layout="folder", reading=reading))
    assert [problem.path for problem in found] == ["housing/test/good/more2.tif"]
