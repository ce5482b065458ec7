"""Files of other kinds than 8-bit PNG, read or refused with a word: through the command line, end to end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.cli.invoke import uad
from tests.own_data.cases import CATEGORY, housing, picture, save, write_project

FIGURES = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "aupro_0.3", "threshold")


def figures(home: Path) -> dict[str, Any]:
    """The cell's row of the board once everything is computed."""
    refreshed = uad("refresh", "--home", home)
    assert refreshed.exit_code == 0, refreshed.stderr
    (row,) = json.loads(uad("leaderboard", "--home", home, "--format", "json").stdout)["rows"]
    return {name: row[name] for name in FIGURES}


def problems(home: Path) -> str:
    """What `uad check` says, errors and warnings."""
    found = json.loads(uad("check", "--home", home, "--json").stdout)
    return "\n".join(f"{problem['where']}: {problem['problem']}" for problem in found["problems"])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    home = tmp_path_factory.mktemp("reference")
    housing(home)
    return home, figures(home)


def infer(home: Path, *arguments: str | Path) -> dict[str, Any]:
    return json.loads(uad("infer", *arguments, "--home", home, "--json").stdout)


@pytest.mark.parametrize("ext", ["webp", "ppm", "gif", "jfif"])
def test_other_picture_formats_are_read(
    tmp_path: Path, reference: tuple[Path, dict[str, Any]], ext: str
) -> None:
    options: dict[str, Any] = (
        {"lossless": True} if ext == "webp" else {"format": "JPEG"} if ext == "jfif" else {}
    )
    housing(tmp_path)
    for path in (tmp_path / "images").rglob("*.png"):
        if "ground_truth" not in str(path):
            with Image.open(path) as image:
                image.save(path.with_suffix(f".{ext}"), **options)
            path.unlink()
    assert problems(tmp_path) == ""
    found = figures(tmp_path)
    if ext in ("webp", "ppm"):  # nothing is lost
        assert found == reference[1]
    assert found["image_auroc"] > 0.9


def as_float(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def float_housing(home: Path, dataset: str = "") -> None:
    housing(home, dataset=dataset)
    for path in (home / "images").rglob("*.png"):
        if "ground_truth" not in str(path):
            tifffile.imwrite(path.with_suffix(".tif"), as_float(np.asarray(Image.open(path))))
            path.unlink()


def test_floating_point_needs_its_range(tmp_path: Path) -> None:
    float_housing(tmp_path)
    said = problems(tmp_path)
    assert said.count("value_range: [0, 1]") == 12 + 5 + 6 and "000.tif" in said
    refreshed = uad("refresh", "--home", tmp_path)
    assert refreshed.exit_code == 1 and "value_range" in refreshed.stderr


def test_floating_point_is_read_by_its_range(tmp_path: Path) -> None:
    float_housing(tmp_path, "value_range: [0, 1]")
    assert problems(tmp_path) == ""
    assert figures(tmp_path)["image_auroc"] > 0.9


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "1 values that are no numbers (NaN)"), (1.5, "values from 0")]
)
def test_a_value_outside_the_range_is_an_error_that_names_the_file(
    tmp_path: Path, value: float, said: str
) -> None:
    float_housing(tmp_path, "value_range: [0, 1]")
    odd = tmp_path / "images/housing/train/good/003.tif"
    pixels = tifffile.imread(odd)
    pixels[0, :2] = 0, value
    tifffile.imwrite(odd, pixels)
    assert said in problems(tmp_path) and problems(tmp_path).count("003.tif") == 1
    refreshed = uad("refresh", "--home", tmp_path)
    assert refreshed.exit_code == 1 and "003.tif" in refreshed.stderr and said in refreshed.stderr
    assert "nothing is computed" in refreshed.stderr


def deep(folder: Path, change: Callable[[np.ndarray], np.ndarray], seeds: range = range(100, 105)) -> Path:
    """Good images in files of 16 bits."""
    folder.mkdir()
    for seed in seeds:
        pixels = change(picture(seed)[0].astype(np.uint16))
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
    return folder


def twelve_bits(pixels: np.ndarray) -> np.ndarray:
    return pixels * 16 + 7


def test_another_depth_at_inference_is_an_error_that_names_both(
    tmp_path: Path, reference: tuple[Path, dict[str, Any]]
) -> None:
    home, _ = reference
    images = deep(tmp_path / "deep", twelve_bits)
    found = uad("infer", images, "--home", home)
    assert found.exit_code == 1
    assert "16 bits per channel" in found.stderr and "12 bits" in found.stderr and "8 bits" in found.stderr
    bundle = tmp_path / "bundle"
    exported = uad("export", "bundle", "--output", bundle, "--bit-depth", "12", "--home", home)
    assert exported.exit_code == 0, exported.stderr
    for way in (("--home", home, "--bit-depth", "12"), ("--bundle", bundle)):
        stated = json.loads(uad("infer", images, *way, "--json").stdout)
        assert [result["label"] for result in stated["results"]] == [0] * 5
        assert all(result["warnings"] == [] for result in stated["results"])


def test_a_grey_camera_of_another_depth_is_read_in_the_colour_fitted_on(
    tmp_path: Path, reference: tuple[Path, dict[str, Any]]
) -> None:
    home, _ = reference
    for name, seeds in (("good", range(300, 306)), ("scratch", range(200, 206))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            grey = picture(seed, defect=name == "scratch")[0][..., 0].astype(np.uint16) << 4
            cv2.imwrite(str(tmp_path / name / f"{seed}.png"), grey)
    refused = uad("infer", tmp_path / "good", "--home", home)
    assert refused.exit_code == 1 and "12 bits" in refused.stderr and "8 bits" in refused.stderr
    found = infer(home, tmp_path / "good", tmp_path / "scratch", "--bit-depth", "12")["results"]
    assert [result["label"] for result in found] == [0] * 6 + [1] * 6
    said = "a grey image; fitted on colour ones, whose mean colour it was given (1.00 : 0.95 : 0.85)"
    assert all(result["warnings"] == [said] for result in found)


def test_a_bundle_reads_as_it_was_fitted_and_says_what_is_unlike(
    tmp_path: Path, reference: tuple[Path, dict[str, Any]]
) -> None:
    home, _ = reference
    bundle = tmp_path / "bundle"
    assert uad("export", "bundle", "--output", bundle, "--home", home).exit_code == 0
    good = picture(100)[0]
    save(tmp_path / "new" / "as_fitted.png", good)
    save(tmp_path / "new" / "dark.png", good // 4)
    save(tmp_path / "new" / "grey.png", good[..., 0])
    save(tmp_path / "new" / "large.png", np.kron(good, np.ones((2, 2, 1), np.uint8)))
    save(tmp_path / "new" / "out_of_focus.png", cv2.GaussianBlur(good, (0, 0), 3))
    hidden = np.dstack([good, np.where(np.arange(96) < 48, 0, 255)[:, None] * np.ones(96)]).astype(np.uint8)
    save(tmp_path / "new" / "hidden.png", hidden)
    found = json.loads(uad("infer", tmp_path / "new", "--bundle", bundle, "--json").stdout)
    said = {Path(result["image"]).stem: " ".join(result["warnings"]) for result in found["results"]}
    assert said["as_fitted"] == ""
    assert "darker" in said["dark"]
    assert "grey image; fitted on colour" in said["grey"]
    assert "192 x 192 pixels; fitted on images of 96 x 96" in said["large"]
    assert "blurred" in said["out_of_focus"]
    assert "hides 50 % of its pixels" in said["hidden"]
    assert found["with_warnings"] == 5


def test_a_depth_that_is_said_belongs_to_the_bundle(tmp_path: Path) -> None:
    home = tmp_path / "home"
    housing(home, dataset="bit_depth: 12")
    for path in (home / "images").rglob("*.png"):
        if "ground_truth" not in str(path):
            pixels = twelve_bits(np.asarray(Image.open(path)).astype(np.uint16))
            cv2.imwrite(str(path), pixels[..., ::-1])
    assert figures(home)["image_auroc"] > 0.9
    bundle = tmp_path / "bundle"
    assert uad("export", "bundle", "--output", bundle, "--home", home).exit_code == 0
    images = deep(tmp_path / "deep", twelve_bits)
    found = json.loads(uad("infer", images, "--bundle", bundle, "--json").stdout)
    assert [result["label"] for result in found["results"]] == [0] * 5
    save(tmp_path / "eight.png", picture(100)[0])
    eight = uad("infer", tmp_path / "eight.png", "--bundle", bundle)
    assert eight.exit_code == 1 and "8 bits per channel; fitted on images of 16 bits" in eight.stderr
    full = deep(tmp_path / "full", lambda pixels: pixels * 257)
    too_high = uad("infer", full, "--bundle", bundle)
    assert too_high.exit_code == 1 and "100.png" in too_high.stderr and "4095" in too_high.stderr


ODD_NAMES = ("a\nb.png", os.fsdecode(b"caf\xe9.png"), "back\\slash.png", 'tab\there,"quoted"; <b>.png')


def test_a_name_of_any_bytes_goes_through_everything(
    tmp_path: Path, reference: tuple[Path, dict[str, Any]]
) -> None:
    housing(tmp_path)
    images = tmp_path / "images" / "housing"
    for number, name in enumerate(ODD_NAMES):
        (images / f"train/good/{number:03}.png").rename(images / "train/good" / name)
        (images / f"test/good/{number:03}.png").rename(images / "test/good" / name)
        (images / f"test/scratch/{number:03}.png").rename(images / "test/scratch" / name)
        mask = name.removesuffix(".png") + "_mask.png"
        (images / f"ground_truth/scratch/{number:03}_mask.png").rename(images / "ground_truth/scratch" / mask)
    (images / "test/scratch").rename(images / "test" / "scr\natch")
    (images / "ground_truth/scratch").rename(images / "ground_truth" / "scr\natch")
    assert problems(tmp_path) == ""
    found = figures(tmp_path)
    assert found["image_auroc"] == reference[1]["image_auroc"]
    assert found["pixel_auroc"] == pytest.approx(reference[1]["pixel_auroc"], abs=1e-12)
    for command in (
        ("report",),
        ("plan",),
        ("export", "bundle", "--output", tmp_path / "bundle"),
        ("why", "metrics_report", CATEGORY, "patchcore"),
    ):
        done = uad(*command, "--home", tmp_path)
        assert done.exit_code == 0, done.stderr
    csv = uad("infer", images / "test/good", "--home", tmp_path, "--csv", "--maps", tmp_path / "maps")
    assert csv.exit_code in (0, 3) and "a\\nb.png" in csv.stdout and "caf\\xe9.png" in csv.stdout
    assert len(csv.stdout.splitlines()) == 6
    listed = infer(tmp_path, images / "test/good", "--overlays", str(tmp_path / "overlays"))
    assert len(listed["results"]) == 5


@pytest.mark.parametrize("place", ["train/good/pipe.png", "ground_truth/scratch/000_mask.png"])
def test_a_pipe_is_named_and_hangs_nothing(tmp_path: Path, place: str) -> None:
    housing(tmp_path)
    path = tmp_path / "images/housing" / place
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert f"{path.name}" in problems(tmp_path) and "a named pipe; only regular files are read" in problems(
        tmp_path
    )
    refreshed = uad("refresh", "--home", tmp_path)
    assert refreshed.exit_code == 1 and "named pipe" in refreshed.stderr


def test_a_device_is_no_image(tmp_path: Path, reference: tuple[Path, dict[str, Any]]) -> None:
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    found = uad("infer", tmp_path / "zero.png", "--home", reference[0])
    assert found.exit_code == 1 and "a device; only regular files are read" in found.stderr


def test_the_limit_of_pixels_is_a_setting(tmp_path: Path) -> None:
    housing(tmp_path, more="images: {max_megapixels: 0.009}\n")
    assert problems(tmp_path).count("more than the 0.009 that are read") == 12 + 5 + 2 * 6
    refreshed = uad("refresh", "--home", tmp_path)
    assert refreshed.exit_code == 1 and "max_megapixels" in refreshed.stderr
    assert CATEGORY in refreshed.stderr
    write_project(tmp_path, more="images: {max_megapixels: 0.01}\n")
    assert problems(tmp_path) == ""
    assert figures(tmp_path)["image_auroc"] > 0.9
