"""Each format: what it says in, masks and boxes out."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.datasets.annotations.files import (
    HEIGHT,
    WIDTH,
    a_region,
    coco_file,
    mask,
    rows,
    run,
    write_json,
    write_pictures,
)
from uad_orchestrator.datasets.annotations import READERS
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.datasets.problems import DatasetError

coco = pytest.importorskip("pycocotools.mask", reason="needs the import extra")

TRIANGLE = [[5, 5], [25, 6], [10, 22]]
FLAT = [float(value) for point in TRIANGLE for value in point]
BETWEEN = [value + 0.25 for value in FLAT]
NORMALS = ("train/a.png", "train/b.png", "test/c.png")


def _drawn(points: list[list[float]]) -> np.ndarray:
    return cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [np.array(points, np.int32)], 1) > 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pictures(tmp_path, *NORMALS, "test/bad.png")
    return tmp_path


def test_coco_polygons_run_lengths_and_crowds_are_one_mask(root: Path) -> None:
    region = a_region()
    encoded = coco.encode(np.asfortranarray(region.astype(np.uint8)))
    runs = [
        int(n)
        for n in np.diff(np.concatenate([[0], np.flatnonzero(np.diff(_column(region))) + 1, [region.size]]))
    ]
    runs = runs if not region[0, 0] else [0, *runs]
    coco_file(
        root / "annotations.json",
        {"segmentation": [BETWEEN, [30, 20, 38, 20, 34, 28]]},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode()}, "iscrowd": 0},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs}, "iscrowd": 1},
    )
    found = run("coco", root)
    polygons = coco.merge(coco.frPyObjects([BETWEEN, [30.0, 20, 38, 20, 34, 28]], HEIGHT, WIDTH))
    assert np.array_equal(mask(found, "test/bad.png"), region | coco.decode(polygons).astype(bool))
    assert rows(found)["test/bad.png"]["defect_type"] == "scratch"
    loaded = load_dataset(root.name, root, root.name, layout="manifest")
    assert [(r.path, r.label) for r in loaded.test] == [("test/bad.png", 1), ("test/c.png", 0)]


@pytest.mark.parametrize(
    "annotation",
    [
        {"bbox": [3, 4, 10, 5], "segmentation": []},
        {"bbox": [3, 4, 10, 5]},
    ],
)
def test_coco_boxes_are_no_masks(root: Path, annotation: dict[str, Any]) -> None:
    coco_file(root / "annotations.json", annotation)
    found = run("coco", root)
    row = rows(found)["test/bad.png"]
    assert row["boxes"] == [[3, 4, 10, 5]] and "mask_path" not in row
    assert found.boxed == ("test/bad.png",) and found.masks == 0
    assert not (root / "imported_masks").exists()
    (bad,) = load_dataset("x", root, root.name, layout="manifest").select("test", 1)
    assert bad.boxes == ((3, 4, 10, 5),) and bad.masks == ()


def test_coco_annotations_need_no_ids(root: Path) -> None:
    annotation = {"image_id": 0, "category_id": 1, "segmentation": [BETWEEN]}
    coco_file(root / "test" / "a.json", annotations=[annotation, {**annotation, "category_id": 2}])
    assert rows(run("coco", root))["test/bad.png"]["defect_type"] == "combined"


def test_an_image_with_a_box_beside_a_mask_has_no_mask(root: Path) -> None:
    """Half of the defects' pixels would count as normal."""
    coco_file(root / "a.json", {"segmentation": [FLAT]}, {"bbox": [30, 20, 5, 5]})
    row = rows(run("coco", root))["test/bad.png"]
    assert "mask_path" not in row and len(row["boxes"]) == 2


def test_polygons_that_are_rectangles_are_masks_with_a_word_or_boxes_where_that_is_said(root: Path) -> None:
    coco_file(root / "a.json", {"segmentation": [[3.5, 4.5, 13.5, 4.5, 13.5, 9.5, 3.5, 9.5]]})
    found = run("coco", root)
    assert mask(found, "test/bad.png").sum() == 50
    assert any("1 polygons are rectangles: if they were drawn as boxes" in note for note in found.notes)
    found = run("coco", root, rectangles_are_boxes=True, replace=True)
    assert rows(found)["test/bad.png"]["boxes"] == [[3.5, 4.5, 10, 5]]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"shape_type": "polygon", "points": TRIANGLE}, _drawn(TRIANGLE)),
        ({"points": TRIANGLE}, _drawn(TRIANGLE)),
        (
            {"shape_type": "circle", "points": [[20, 15], [20, 22]]},
            np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([15, 20])[:, None, None])) <= 7,
        ),
    ],
)
def test_labelme_outlines(root: Path, shape: dict[str, Any], expected: np.ndarray) -> None:
    _labelme(root, {"label": "dent", **shape})
    drawn = mask(run("labelme", root), "test/bad.png")
    assert np.count_nonzero(drawn ^ expected) <= 0.2 * np.count_nonzero(expected)


def test_labelme_masks_are_laid_at_their_corner(root: Path) -> None:
    small = a_region()[:10, :12]
    encoded = io.BytesIO()
    Image.fromarray(small).save(encoded, "PNG")
    text = base64.b64encode(encoded.getvalue()).decode()
    _labelme(root, {"label": "dent", "shape_type": "mask", "points": [[20, 8], [31, 17]], "mask": text})
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[8:18, 20:32] = small
    assert np.array_equal(mask(run("labelme", root), "test/bad.png"), expected)


@pytest.mark.parametrize("kind", ["rectangle", "line", "linestrip", "point"])
def test_labelme_shapes_that_have_no_pixels_are_boxes(root: Path, kind: str) -> None:
    points = [[5, 6]] if kind == "point" else [[5, 6], [15, 9]]
    _labelme(root, {"label": "dent", "shape_type": kind, "points": points})
    row = rows(run("labelme", root))["test/bad.png"]
    assert row["label"] == 1 and "mask_path" not in row


def test_a_labelme_flag_speaks_of_the_whole_image(root: Path) -> None:
    _labelme(root, flags={"dent": True, "blurred": False})
    row = rows(run("labelme", root))["test/bad.png"]
    assert (row["label"], row["defect_type"]) == (1, "dent") and "boxes" not in row


@pytest.mark.parametrize(
    "folders", [("images/test", "labels/test"), ("test/images", "test/labels"), ("test", "test")]
)
@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
def test_yolo_boxes_and_polygons(tmp_path: Path, folders: tuple[str, str], names: str) -> None:
    images, labels = folders
    write_pictures(tmp_path, *NORMALS, f"{images}/outline.png", f"{images}/box.png", f"{images}/empty.png")
    (tmp_path / labels).mkdir(parents=True, exist_ok=True)
    text = "names: [dent, scratch]\n" if names.endswith("yaml") else "dent\nscratch\n"
    (tmp_path / names).write_text(text)
    parts = " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in TRIANGLE)
    (tmp_path / labels / "outline.txt").write_text(f"1 {parts}\n")
    (tmp_path / labels / "box.txt").write_text("0 0.5 0.5 0.25 0.2\n")
    (tmp_path / labels / "empty.txt").write_text("")
    found = run("yolo", tmp_path)
    assert np.array_equal(mask(found, f"{images}/outline.png"), _drawn(TRIANGLE))
    assert rows(found)[f"{images}/outline.png"]["defect_type"] == "scratch"
    assert rows(found)[f"{images}/box.png"]["boxes"] == [pytest.approx([15, 12, 10, 6])]
    assert rows(found)[f"{images}/empty.png"]["label"] == 0


def test_key_points_of_yolo_are_not_taken_for_outlines(root: Path) -> None:
    (root / "data.yaml").write_text("names: [scratch]\nkpt_shape: [2, 3]\n")
    (root / "test" / "bad.txt").write_text("0 0.5 0.5 0.2 0.2 0.5 0.5 1 0.6 0.6 1\n")
    with pytest.raises(DatasetError, match="these are key points, no outlines"):
        run("yolo", root)


def test_voc_boxes_and_polygons(root: Path) -> None:
    write_pictures(root, "test/second.png")
    corners = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(TRIANGLE, 1))
    box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>13</xmax><ymax>9</ymax></bndbox>"
    _voc(root, "bad.png", f"<object><name>dent</name>{box}</object>")
    _voc(root, "second.png", f"<object><name>dent</name>{box}<polygon>{corners}</polygon></object>")
    found = run("voc", root)
    assert rows(found)["test/bad.png"]["boxes"] == [[3, 4, 10, 5]]
    assert np.array_equal(mask(found, "test/second.png"), _drawn(TRIANGLE))


@pytest.mark.parametrize(
    "bomb",
    [
        '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation><filename>&b;.png</filename></annotation>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><annotation><filename>&b;</filename></annotation>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><annotation><filename>bad.png</filename></annotation>',
    ],
)
def test_voc_loads_nothing_from_elsewhere(root: Path, bomb: str) -> None:
    (root / "test" / "bad.xml").write_text(bomb)
    with pytest.raises(DatasetError, match=r"bad\.xml: has a document type or entities"):
        run("voc", root)


def test_csv_rows(root: Path) -> None:
    write_pictures(root, "test/box.png", "test/whole.png")
    text = " ".join(map(str, FLAT))
    (root / "table.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax,polygon,width,height,split,group_id\n"
        f"test/bad.png,scratch,,,,,{text},{WIDTH},{HEIGHT},test,\n"
        f'test/bad.png,dent,,,,,"[[30, 20], [38, 20], [34, 28]]",,,test,\n'.replace(
            ",,,test,\n", f",{WIDTH},{HEIGHT},test,\n"
        )
        + "test/box.png,dent,3,4,13,9,,,,,\n"
        "test/whole.png,dent,,,,,,,,,\n"
        "train/a.png,,,,,,,,,train,p1\n"
        "train/b.png,OK,,,,,,,,validation,p2\n"
    )
    found = run("csv", root)
    assert np.array_equal(
        mask(found, "test/bad.png"), _drawn(TRIANGLE) | _drawn([[30, 20], [38, 20], [34, 28]])
    )
    table = rows(found)
    assert table["test/bad.png"]["defect_type"] == "combined"
    assert table["test/box.png"]["boxes"] == [[3, 4, 10, 5]]
    assert (table["test/whole.png"]["label"], table["train/b.png"]["label"]) == (1, 0)
    assert (table["train/a.png"]["group_id"], table["train/b.png"]["split"]) == ("p1", "validation")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_as_spreadsheets_write_it(root: Path, delimiter: str) -> None:
    outline = ",".join(map(str, FLAT))
    lines = [["Polygon", "LABEL", "Filename"], [f'"{outline}"', "Kratzer", "bad.png"], ["", "", "c.png"]]
    text = "".join(f"{delimiter.join(line)}\r\n" for line in lines)
    (root / "test" / "table.csv").write_text(text, encoding="utf-8-sig", newline="")
    found = run("csv", root)
    assert np.array_equal(mask(found, "test/bad.png"), _drawn(TRIANGLE))
    assert rows(found)["test/bad.png"]["defect_type"] == "Kratzer"


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_csv_of_another_encoding_says_how_to_save_it(root: Path, encoding: str) -> None:
    (root / "test" / "table.csv").write_text("image,label\nbad.png,Bläschen\n", encoding=encoding)
    with pytest.raises(DatasetError, match="save it as CSV UTF-8"):
        run("csv", root)


@pytest.mark.parametrize("kind", READERS)
def test_broken_files_are_faults_never_tracebacks(root: Path, kind: str) -> None:
    for place, content in enumerate((b"", b"\xff\xfe\x00", b"[" * 100_000, b"<a", b"0 nan inf", b'"' * 5)):
        for suffix in (".json", ".txt", ".xml", ".csv", ".yaml"):
            (root / "test" / f"bad{place or ''}{suffix}").write_bytes(content)
    files = [path for path in (root / "test").iterdir() if path.suffix in (".json", ".xml", ".csv")]
    sources = (
        [root]
        if kind == "yolo"
        else [f for f in files if f.suffix == {"voc": ".xml", "csv": ".csv"}.get(kind, ".json")]
    )
    with pytest.raises(DatasetError) as caught:
        run(kind, root, *sources)
    assert caught.value.problems


def _column(region: np.ndarray) -> np.ndarray:
    return region.ravel(order="F").astype(int)


def _labelme(root: Path, *shapes: dict[str, Any], flags: dict[str, bool] | None = None) -> None:
    content = {"version": "5.5.0", "flags": flags or {}, "shapes": list(shapes), "imagePath": "bad.png"}
    write_json(
        root / "test" / "bad.json", {**content, "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    )


def _voc(root: Path, name: str, objects: str) -> None:
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    text = f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"
    (root / "test" / name).with_suffix(".xml").write_text(text)
