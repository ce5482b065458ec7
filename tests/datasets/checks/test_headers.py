from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.datasets.pictures import write_image, write_mask, write_mvtec_category
from uad_orchestrator.datasets.checks.headers import check_category, check_dataset
from uad_orchestrator.datasets.load import load_dataset


@pytest.fixture
def bottle(tmp_path: Path) -> Path:
    return write_mvtec_category(tmp_path)


def test_a_sound_category_has_no_problems(bottle: Path) -> None:
    assert check_dataset("mvtec_ad", bottle.parent, "bottle") == []
    assert check_category(load_dataset("mvtec_ad", bottle.parent, "bottle")) == []


def test_all_faults_of_names_and_headers_at_once(bottle: Path) -> None:
    (bottle / "ground_truth" / "broken" / "001_mask.png").unlink()
    write_mask(bottle / "ground_truth" / "broken" / "000_mask.png", size=(16, 12))
    (bottle / "train" / "good" / "002.png").write_bytes(b"no image")
    (bottle / "train" / "good" / "notes.txt").write_text("?")
    cut = bottle / "test" / "good" / "001.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    problems = check_dataset("mvtec_ad", bottle.parent, "bottle")
    assert [(problem.path, problem.severity) for problem in problems] == [
        ("bottle/ground_truth/broken/000_mask.png", "error"),
        ("bottle/test/broken/001.png", "error"),
        ("bottle/test/good/001.png", "error"),
        ("bottle/train/good/002.png", "error"),
        ("bottle/train/good/notes.txt", "error"),
    ]
    assert problems[0].message == (
        "mask of 16 x 12 (height x width), its image bottle/test/broken/000.png is 12 x 16 (height x width);"
        " expected the same size"
    )
    assert problems[2].message.startswith("cut short")
    assert problems[3].message == "not an image; expected PNG, JPEG, BMP, TIFF, WebP, GIF, PGM or PPM"


def test_check_category_finds_the_faults_of_headers(bottle: Path) -> None:
    write_mask(bottle / "ground_truth" / "broken" / "000_mask.png", size=(13, 16))
    (bottle / "test" / "good" / "000.png").write_bytes(b"")
    problems = check_category(load_dataset("mvtec_ad", bottle.parent, "bottle"))
    assert [problem.path for problem in problems] == [
        "bottle/ground_truth/broken/000_mask.png",
        "bottle/test/good/000.png",
    ]


def test_a_test_image_that_was_trained_on_is_a_warning(bottle: Path) -> None:
    shutil.copy(bottle / "train" / "good" / "003.png", bottle / "test" / "good" / "000.png")
    [problem] = check_category(load_dataset("mvtec_ad", bottle.parent, "bottle"))
    assert (problem.path, problem.severity) == ("bottle/test/good/000.png", "warning")
    assert "the same file as bottle/train/good/003.png" in problem.message


def test_a_jpeg_mask_is_a_warning(bottle: Path) -> None:
    (bottle / "ground_truth" / "scratched" / "000_mask.png").unlink()
    write_mask(bottle / "ground_truth" / "scratched" / "000_mask.jpg")
    [problem] = check_dataset("mvtec_ad", bottle.parent, "bottle")
    assert (problem.path, problem.severity) == ("bottle/ground_truth/scratched/000_mask.jpg", "warning")


def test_rotated_images_are_compared_as_they_are_seen(bottle: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = write_image(bottle / "test" / "broken" / "000.png", size=(16, 12))
    Image.open(path).save(path, exif=exif)
    assert check_dataset("mvtec_ad", bottle.parent, "bottle") == []


def test_an_unknown_category_or_root_is_one_problem(bottle: Path) -> None:
    [problem] = check_dataset("mvtec_ad", bottle.parent, "botle")
    assert "did you mean 'bottle'" in problem.message
    [problem] = check_dataset("mvtec_ad", bottle.parent / "nowhere", "bottle")
    assert "cannot be reached" in problem.message


def test_progress_counts_every_image(bottle: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_dataset("mvtec_ad", bottle.parent, "bottle", progress=lambda done, n: seen.append((done, n)))
    assert seen == [(number, 9) for number in range(1, 10)]


def test_exclusions_count_here_too(bottle: Path) -> None:
    (bottle / "train" / "good" / "002.png").write_bytes(b"no image")
    assert check_dataset("mvtec_ad", bottle.parent, "bottle", exclude=["bottle/train/good/002.png"]) == []
