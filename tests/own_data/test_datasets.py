"""Datasets as people bring them: what is missing is said, what is arranged otherwise is read as the tidy one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.invoke import uad
from tests.own_data.cases import CATEGORY, SIZE, housing, picture, save
from uad_orchestrator.datasets import Manifest, check_category, check_masks, find_copies, load_dataset
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.project import load_project

PIXELS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_0.3", "aupro_0.05")
IMAGES = ("image_auroc", "image_ap", "image_f1_max")
AT = ("threshold", "recall", "precision", "false_positive_rate")


def row_of(home: Path) -> dict[str, Any]:
    """The one row of a project's board, after a refresh that did all it could."""
    refreshed = uad("refresh", "--home", home, "--json")
    assert refreshed.exit_code == 0, refreshed.stderr
    board = uad("leaderboard", "--home", home, "--format", "json")
    [row] = json.loads(board.stdout)["rows"]
    assert row["status"] == "fresh", row["reason"]
    return row


def figures(row: dict[str, Any], *more: str) -> dict[str, Any]:
    return {name: row[name] for name in (*IMAGES, *AT, *more)}


def report_of(home: Path) -> MetricsReport:
    [path] = (home / ".uad" / "artifacts" / "metrics_report").rglob("metrics.json")
    return MetricsReport.from_json(path.read_bytes())


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The row of the tidy dataset."""
    home = tmp_path_factory.mktemp("tidy")
    housing(home)
    return row_of(home)


def test_without_masks_image_figures_and_threshold_are_those_of_with_masks(
    tmp_path: Path, tidy: dict[str, Any]
) -> None:
    housing(tmp_path, masks=False)
    row = row_of(tmp_path)
    assert figures(row) == figures(tidy)
    assert {row["reasons"][name] for name in PIXELS} == {"no masks"}
    assert (row["n_test_anomalous"], row["n_test_masked"]) == (6, 0)
    table = " ".join(uad("leaderboard", "--home", tmp_path).stdout.split())  # however wide the terminal is
    assert "line7/housing: missing: no masks (6 defective test images)" in table
    assert "warning: line7/housing: no masks (6" in uad("check", "--home", tmp_path, "--quick").stdout
    assert "line7/housing: no pixel AUROC, pixel AP, pixel F1-max, AUPRO@0.3, AUPRO@0.05: no masks" in table
    bundled = uad(
        "export", "bundle", "--home", tmp_path, "--category", CATEGORY, "--output", tmp_path / "bundle"
    )
    assert bundled.exit_code == 0, bundled.stderr
    assert "no masks" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


def test_only_normals_are_fitted_calibrated_and_exported(tmp_path: Path, tidy: dict[str, Any]) -> None:
    housing(tmp_path, good=0, bad=0)
    row = row_of(tmp_path)
    assert row["threshold"] == tidy["threshold"]
    assert row["false_positive_rate"] == pytest.approx(
        1 / 12
    )  # each of twelve against the largest of the others
    assert row["false_positive_rate_from"] == "12 held-out normals (leave_one_image_out, refilled)"
    report = report_of(tmp_path)
    assert set(report.reasons.values()) == {"no test images"}
    assert report.reasons.keys() == report.metrics.keys()
    assert "no test images" in uad("leaderboard", "--home", tmp_path).stdout
    assert "no test images" in uad("leaderboard", "--home", tmp_path, "--format", "md").stdout
    assert uad("report", "--home", tmp_path).exit_code == 0
    assert "no test images" in (tmp_path / ".uad" / "report.html").read_text()
    bundled = uad(
        "export", "bundle", "--home", tmp_path, "--category", CATEGORY, "--output", tmp_path / "bundle"
    )
    assert bundled.exit_code == 0, bundled.stderr
    assert "held-out normals" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("sizes", "missing", "empty"),
    [
        ({"good": 0}, "no good test images", IMAGES),
        ({"bad": 0}, "no defective test images", (*IMAGES, *PIXELS, "recall")),
    ],
)
def test_one_kind_of_test_images_alone(
    tmp_path: Path, sizes: dict[str, int], missing: str, empty: tuple[str, ...]
) -> None:
    housing(tmp_path, **sizes)
    row = row_of(tmp_path)
    assert {row["reasons"][name] for name in empty} == {missing}
    assert all(row[name] is None for name in empty)
    assert missing in uad("leaderboard", "--home", tmp_path).stdout
    assert missing in uad("check", "--home", tmp_path).stdout


def test_one_image_is_fitted_and_what_it_cannot_give_is_said(tmp_path: Path) -> None:
    housing(tmp_path, train=1, good=0, bad=1)
    row = row_of(tmp_path)
    assert row["threshold"] is None and "single image" in row["reasons"]["recall"]
    assert row["pixel_auroc"] > 0.9


def test_pixel_metrics_are_over_the_images_with_masks_and_the_others_are_named(
    tmp_path: Path, tidy: dict[str, Any]
) -> None:
    root = housing(tmp_path)
    for number in (0, 1):
        (root / f"ground_truth/scratch/{number:03}_mask.png").unlink()
    row = row_of(tmp_path)
    assert figures(row) == figures(tidy)
    assert (row["n_test_masked"], row["n_test_anomalous"]) == (4, 6)
    without = [f"housing/test/scratch/{number:03}.png" for number in (0, 1)]
    assert report_of(tmp_path).without_mask == without
    assert "pixel metrics are over 4 of 6 defective images" in uad("leaderboard", "--home", tmp_path).stdout
    checked = uad("check", "--home", tmp_path).stdout
    assert all(name in checked for name in without)
    fewer = housing(tmp_path / "fewer")
    for number in (0, 1):
        (fewer / f"test/scratch/{number:03}.png").unlink()
        (fewer / f"ground_truth/scratch/{number:03}_mask.png").unlink()
    assert figures(row_of(tmp_path / "fewer"), *PIXELS)["aupro_0.3"] == row["aupro_0.3"]


def test_masks_may_be_required(tmp_path: Path) -> None:
    housing(tmp_path, dataset="masks: required", masks=False)
    refreshed = uad("refresh", "--home", tmp_path, "--json")
    assert refreshed.exit_code == 1
    assert "000.png: has no mask; expected housing/ground_truth/scratch/000_mask.png" in refreshed.stdout


def of_cameras(root: Path) -> None:
    """Two cameras that count from 0, in train, test and among the masks."""
    for folder in ("train/good", "test/good", "test/scratch", "ground_truth/scratch"):
        for i, source in enumerate(sorted((root / folder).iterdir())):
            stem = source.name.removeprefix(f"{i:03}")
            target = root / folder / f"cam{i % 2}" / f"{i // 2:03}{stem}"
            target.parent.mkdir(exist_ok=True)
            source.rename(target)


@pytest.mark.parametrize(
    ("names", "dataset"),
    [
        (("train/OK", "test/OK", "test/NG", "ground_truth/NG"), ""),
        (("Train/good", "Test/good", "Test/scratch", "Ground_Truth/scratch"), ""),
        (("TRAIN/Normal", "TEST/ok", "TEST/Bad", "ground-truth/bad"), ""),
        (("train/good", "test/pass", "test/fail", "ground_truth/fail"), "normal_folders: pass"),
        (
            ("train/good", "test/io", "test/nio", "ground_truth/nio"),
            "normal_folders: [io], defect_folders: [nio]",
        ),
    ],
)
def test_folders_are_read_by_their_words(
    tmp_path: Path, tidy: dict[str, Any], names: tuple[str, str, str, str], dataset: str
) -> None:
    housing(tmp_path, names=names, dataset=dataset)
    assert figures(row_of(tmp_path), *PIXELS) == figures(tidy, *PIXELS)


def test_a_folder_per_camera_is_the_group_and_maps_do_not_collide(tmp_path: Path) -> None:
    of_cameras(housing(tmp_path))
    row = row_of(tmp_path)
    assert row["threshold_source"] == "leave_one_group_out, refilled"
    assert row["guaranteed_rate"] == pytest.approx(1 / 3), "two cameras: of a third"
    assert (row["n_test_normal"], row["n_test_masked"]) == (5, 6)
    assert row["pixel_auroc"] > 0.9
    maps = {path.name for path in (tmp_path / ".uad" / "artifacts").rglob("scratch/*.tiff")}
    assert maps == {f"cam{camera}__{number:03}.tiff" for camera in (0, 1) for number in range(3)}
    manifest = json.loads(uad("plan", "--home", tmp_path, "--json").stdout)
    assert manifest["stale"] == []


def empty_masks_of_normals(root: Path) -> None:
    for number in range(5):
        save(root / f"ground_truth/good/{number:03}_mask.png", np.zeros((SIZE, SIZE), np.uint8))


def annotations_beside(root: Path) -> None:
    (root / "test/scratch/_annotations.coco.json").write_text(json.dumps({"images": []}))
    for number in range(12):
        (root / f"train/good/{number:03}.txt").write_text("0 0.5 0.5 0.1 0.1\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (empty_masks_of_normals, None),
        (annotations_beside, "uad import"),
    ],
)
def test_what_lies_beside_does_not_stop_and_changes_no_figure(
    tmp_path: Path, tidy: dict[str, Any], change: Callable[[Path], None], said: str | None
) -> None:
    change(housing(tmp_path))
    assert figures(row_of(tmp_path), *PIXELS) == figures(tidy, *PIXELS)
    checked = uad("check", "--home", tmp_path).stdout
    assert said is None or said in checked


def test_a_root_that_is_a_category_says_use_its_parent(tmp_path: Path) -> None:
    root = housing(tmp_path)
    settings = tmp_path / "uad.yaml"
    settings.write_text(settings.read_text().replace("root: images", "root: images/housing"))
    checked = uad("check", "--home", tmp_path)
    assert f"{root} is a category itself: give its parent {root.parent} as the root\n" in checked.stdout


def test_a_root_without_any_category_says_what_lies_there_and_what_was_expected(tmp_path: Path) -> None:
    root = housing(tmp_path)
    settings = tmp_path / "uad.yaml"
    settings.write_text(settings.read_text().replace("root: images", "root: images/housing/train/good"))
    checked = uad("check", "--home", tmp_path).stdout
    nothing = f"no category of layout folder was found in {root}/train/good"
    assert f"{nothing}, where 000.png, 001.png, 002.png and 9 more lie; expected folders" in checked
    assert "<category>/train/good/<image>" in checked and "mounted" not in checked


def test_images_that_no_category_has_are_named(tmp_path: Path) -> None:
    root = housing(tmp_path).parent
    (root / "notes").mkdir()
    assert uad("check", "--home", tmp_path, "--quick").stdout.endswith("0 problems, 0 warnings\n")
    save(root / "lid/good/000.png", picture(0)[0])
    for name in ("a.png", "b.png"):
        save(root / name, picture(1)[0])
    checked = uad("check", "--home", tmp_path, "--quick")
    assert checked.exit_code == 0
    no_category = "no category, and its images are not read: expected lid/train/good/<image>"
    assert f"warning: datasets.line7: lid: {no_category}\n" in checked.stdout
    assert "warning: datasets.line7: a.png: 2 of its files are images of no category" in checked.stdout
    settings = tmp_path / "uad.yaml"
    settings.write_text(settings.read_text().replace("root: images", "root: images, incoming: images/lid"))
    assert "lid" not in uad("check", "--home", tmp_path, "--quick").stdout, (
        "what arrives there is taken in later"
    )


def in_alpha(mask: np.ndarray) -> np.ndarray:
    """A white picture, the defect in its alpha channel."""
    return np.dstack([np.full_like(mask, 255)] * 3 + [mask])


def as_palette(mask: np.ndarray) -> Image.Image:
    """Red on white, as a palette."""
    image = Image.fromarray((mask > 0).astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 255, 0, 0] + [0] * 762)
    return image


@pytest.mark.parametrize("way", ["alpha", "palette", "colours"])
def test_masks_are_read_by_what_they_mean(tmp_path: Path, tidy: dict[str, Any], way: str) -> None:
    root = housing(tmp_path)
    for path in (root / "ground_truth/scratch").iterdir():
        mask = np.asarray(Image.open(path))
        if way == "palette":
            as_palette(mask).save(path)
        else:
            save(path, in_alpha(mask) if way == "alpha" else np.dstack([mask, mask * 0, mask * 0]))
    assert figures(row_of(tmp_path), *PIXELS) == figures(tidy, *PIXELS)


def category(home: Path) -> Manifest:
    dataset = load_project(home).datasets["line7"]
    return load_dataset(
        "line7", dataset.root, "housing", layout=dataset.layout, strictness=dataset.strictness
    )


def test_inverted_masks_are_errors_that_name_them(tmp_path: Path) -> None:
    housing(tmp_path, mask=lambda mask: 255 - mask)
    problems = check_masks(category(tmp_path))
    assert {(problem.severity, problem.path) for problem in problems} == {
        ("error", f"housing/ground_truth/scratch/{number:03}_mask.png") for number in range(6)
    }


def test_masks_of_another_size_are_found_by_their_headers(tmp_path: Path) -> None:
    housing(tmp_path, mask=lambda mask: mask[:48, :48])
    problems = check_category(category(tmp_path))
    assert [problem.severity for problem in problems] == ["error"] * 6
    assert "mask of 48 x 48 (height x width), its image housing/test/scratch/000.png" in problems[0].message
    checked = uad("check", "--home", tmp_path)
    assert checked.exit_code == 1 and "mask of 48 x 48" in checked.stdout


@pytest.mark.parametrize("anew", [False, True])
def test_train_images_in_test_are_named_and_may_stop(tmp_path: Path, anew: bool) -> None:
    root = housing(tmp_path)
    for number in range(4):
        source, target = (root / f"{split}/good/{number:03}.png" for split in ("train", "test"))
        if anew:
            save(target, np.asarray(Image.open(source)), compress_level=1)
        else:
            shutil.copy(source, target)
    manifest = category(tmp_path)
    found = find_copies(manifest) if anew else check_category(manifest)
    assert [(problem.path, problem.severity) for problem in found] == [
        (f"housing/test/good/{number:03}.png", "warning") for number in range(4)
    ]
    assert f"housing/train/good/{3:03}.png, which is trained on" in found[3].message
    settings = tmp_path / "uad.yaml"
    if anew:  # figures that are there do not hide what is an error by now
        assert uad("refresh", "--home", tmp_path).exit_code == 0
    settings.write_text(settings.read_text().replace("root: images", "root: images, leaks: error"))
    refreshed = uad("refresh", "--home", tmp_path, "--json")
    assert refreshed.exit_code == 1
    failed = json.loads(refreshed.stdout)["failed"]
    assert all("which is trained on" in fault["error"] for fault in failed) and failed
