"""Annotations instead of masks: imported, benchmarked, and held against the tidy category."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.cli.invoke import uad
from tests.own_data.cases import CATEGORY, DETECTORS, SIZE, housing, picture

pytest.importorskip("pycocotools", reason="needs the import extra")

PIXELS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_0.3", "aupro_0.05")


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The figures of the category as the README asks for it."""
    home = tmp_path_factory.mktemp("tidy")
    housing(home)
    return _figures(home)


def test_a_coco_file_beside_the_images_becomes_masks(tmp_path: Path, tidy: dict[str, Any]) -> None:
    root = housing(tmp_path, masks=False)
    annotations = root / "test" / "scratch" / "_annotations.coco.json"
    annotations.write_text(json.dumps(_coco(boxes=())))
    said = uad("import", "coco", annotations, "--images", root, "--home", tmp_path)
    assert said.exit_code == 0, said.stderr
    assert "train      12 good" in said.stdout and "5 good, 6 scratch" in said.stdout
    _use(tmp_path, said.stdout)
    found = _figures(tmp_path)
    assert found["image_auroc"] == tidy["image_auroc"] and found["threshold"] == tidy["threshold"]
    for name in PIXELS:
        assert found[name] == pytest.approx(tidy[name], abs=0.05), name


def test_the_command_lists_every_fault_and_what_it_wrote_as_json(tmp_path: Path) -> None:
    root = housing(tmp_path, masks=False)
    annotations = root / "test" / "scratch" / "_annotations.coco.json"
    content = _coco(boxes=())
    content["images"] += [
        {"id": 100 + i, "file_name": f"lost{i}.png", "width": SIZE, "height": SIZE} for i in range(30)
    ]
    annotations.write_text(json.dumps(content))
    said = uad("import", "coco", annotations, "--images", root)
    assert said.exit_code == 2
    assert (
        all(f"lost{i}.png" in said.stderr for i in range(30))
        and "30 faults; nothing was written" in said.stderr
    )
    faults = json.loads(uad("import", "coco", annotations, "--images", root, "--json").stdout)["faults"]
    assert len(faults) == 30
    annotations.write_text(json.dumps(_coco(boxes=())))
    written = json.loads(uad("import", "coco", annotations, "--images", root, "--json").stdout)
    assert (written["category"], written["masks"], written["without_mask"]) == ("housing", 6, [])


def test_a_category_that_cannot_be_one_is_wrong_usage(tmp_path: Path) -> None:
    said = uad("import", "coco", tmp_path, "--category", "a|b")
    assert said.exit_code == 2 and "holds '|'" in said.stderr


def _coco(boxes: tuple[int, ...]) -> dict[str, Any]:
    """The scratches' outlines by their pixels; of some the box only."""
    images, annotations = [], []
    for i in range(6):
        mask = picture(200 + i, defect=True)[1]
        outline = max(
            cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=cv2.contourArea
        )
        images.append({"id": i, "file_name": f"{i:03}.png", "width": SIZE, "height": SIZE})
        shape = {} if i in boxes else {"segmentation": [[int(v) for v in np.ravel(outline)]]}
        box = [int(v) for v in cv2.boundingRect(outline)]
        annotations.append({"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": box, **shape})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "scratch"}]}


def _use(home: Path, said: str) -> None:
    """Paste what the command said into the project file."""
    lines = said.split("For uad.yaml:\n\n")[1]
    (home / "uad.yaml").write_text(lines.replace("  housing:", f"  {CATEGORY.split('/')[0]}:") + DETECTORS)


def _figures(home: Path) -> dict[str, Any]:
    refreshed = uad("refresh", "--home", home)
    assert refreshed.exit_code == 0, refreshed.stderr
    (row,) = json.loads(uad("leaderboard", "--format", "json", "--home", home).stdout)["rows"]
    return row


def test_boxes_count_in_image_metrics_only_and_are_named(tmp_path: Path, tidy: dict[str, Any]) -> None:
    root = housing(tmp_path, masks=False)
    annotations = root / "test" / "scratch" / "_annotations.coco.json"
    annotations.write_text(json.dumps(_coco(boxes=(1, 4))))
    said = uad("import", "coco", annotations, "--images", root, "--home", tmp_path)
    assert said.exit_code == 0 and "2 defective images without a mask, in image metrics only" in said.stdout
    _use(tmp_path, said.stdout)
    found = _figures(tmp_path)
    for name in ("image_auroc", "image_ap", "threshold", "pixel_threshold", "recall"):
        assert found[name] == tidy[name], name
    assert (found["n_test_anomalous"], found["n_test_masked"]) == (6, 4)
    assert found["pixel_auroc"] == pytest.approx(tidy["pixel_auroc"], abs=0.05)
    checked = uad("check", "--home", tmp_path)
    for name in ("001.png", "004.png"):
        assert any(name in line and "marked by boxes" in line for line in checked.stdout.splitlines())


def test_boxes_alone_give_no_pixel_metrics_and_say_why(tmp_path: Path, tidy: dict[str, Any]) -> None:
    root = housing(tmp_path, masks=False)
    annotations = root / "test" / "scratch" / "_annotations.coco.json"
    annotations.write_text(json.dumps(_coco(boxes=tuple(range(6)))))
    said = uad("import", "coco", annotations, "--images", root, "--home", tmp_path)
    _use(tmp_path, said.stdout)
    found = _figures(tmp_path)
    assert found["image_auroc"] == tidy["image_auroc"] and found["threshold"] == tidy["threshold"]
    assert all(found[name] is None and "no masks" in found["reasons"][name] for name in PIXELS)
    assert "6 of them marked by boxes" in uad("check", "--home", tmp_path).stdout
    with_masks = (
        (tmp_path / "uad.yaml")
        .read_text()
        .replace("layout: manifest", "layout: manifest\n    masks: required")
    )
    (tmp_path / "uad.yaml").write_text(with_masks)
    assert uad("check", "--home", tmp_path).exit_code == 1


def test_images_that_stay_elsewhere_are_found_by_roots(tmp_path: Path, tidy: dict[str, Any]) -> None:
    root, out = housing(tmp_path, masks=False), tmp_path / "out"
    annotations = root / "test" / "scratch" / "_annotations.coco.json"
    annotations.write_text(json.dumps(_coco(boxes=())))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    said = uad("import", "coco", annotations, "--images", root, "--output", out, "--home", tmp_path)
    assert said.exit_code == 0 and "roots" in said.stdout
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (tmp_path / "uad.yaml").write_text(said.stdout.split("For uad.yaml:\n\n")[1] + DETECTORS)
    assert _figures(tmp_path)["image_auroc"] == tidy["image_auroc"]
