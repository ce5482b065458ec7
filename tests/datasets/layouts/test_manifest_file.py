from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.pictures import write_image, write_mask
from uad_orchestrator.datasets.checks.headers import check_dataset
from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.strictness import Strictness
from uad_orchestrator.images import read_image

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    for name in ("a", "b", "c", "d", "e", "other"):
        write_image(tmp_path / "img" / f"{name}.png")
    for name in ("e1", "e2"):
        write_mask(tmp_path / "masks" / f"{name}.png")
    lid = {"category": "lid"}
    return [
        {**lid, "image_path": "img/a.png", "split": "train", "group_id": "p1"},
        {**lid, "image_path": "img/b.png", "split": "train", "label": 0, "group_id": "p1"},
        {**lid, "image_path": "img/c.png", "split": "validation", "label": 0, "defect_type": "good"},
        {**lid, "image_path": "img/d.png", "split": "test", "label": 0},
        {
            **lid,
            "image_path": "img/e.png",
            "split": "test",
            "label": 1,
            "defect_type": "bent",
            "mask_path": ["masks/e1.png", "masks/e2.png"],
        },
        {"category": "cap", "image_path": "img/other.png", "split": "train", "label": 0},
    ]


def _write(folder: Path, rows: Rows, suffix: str = ".jsonl") -> Path:
    path = folder / f"manifest{suffix}"
    columns = ["image_path", "category", "split", "label", "defect_type", "mask_path", "group_id"]
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{c: row.get(c) for c in columns} for row in rows]), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows([{**row, "mask_path": ";".join(row.get("mask_path", []))} for row in rows])
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("by_file", [True, False])
def test_the_three_formats_give_the_same_manifest(
    tmp_path: Path, rows: Rows, suffix: str, by_file: bool
) -> None:
    path = _write(tmp_path, rows, suffix)
    root = path if by_file else tmp_path
    assert find_categories("manifest", root) == ["cap", "lid"]
    manifest = load_dataset("line7", root, "lid", layout="manifest")
    assert manifest.root == tmp_path
    assert [(r.path, r.split, r.label, r.defect_type, r.group_id) for r in manifest.records] == [
        ("img/a.png", "train", 0, "good", "p1"),
        ("img/b.png", "train", 0, "good", "p1"),
        ("img/c.png", "validation", 0, "good", None),
        ("img/d.png", "test", 0, "good", None),
        ("img/e.png", "test", 1, "bent", None),
    ]
    assert [mask.path for mask in manifest.test[1].masks] == ["masks/e1.png", "masks/e2.png"]
    assert manifest.source(manifest.train[0]).group == "p1"
    assert check_dataset("manifest", root, "lid") == []


def _fault(tmp_path: Path, rows: Rows) -> str:
    _write(tmp_path, rows)
    with pytest.raises(DatasetError) as caught:
        load_dataset("line7", tmp_path, "lid", layout="manifest")
    return "\n".join(str(problem) for problem in caught.value.problems) or str(caught.value)


@pytest.mark.parametrize(
    ("number", "change", "says"),
    [
        (0, {"split": "training"}, "img/a.png: line 1: split 'training'; expected one of train, validation"),
        (0, {"label": 1, "mask_path": ["masks/e1.png"]}, "an anomaly in train, which holds normal images"),
        (3, {"label": None}, "label ''; expected 0 (normal) or 1 (anomalous)"),
        (3, {"label": 2}, "label '2'; expected 0"),
        (3, {"defect_type": "bent"}, "label 0 contradicts defect_type 'bent'"),
        (4, {"defect_type": "good"}, "label 1 contradicts defect_type 'good'"),
        (4, {"mask_path": "masks/gone.png"}, "mask masks/gone.png: no such file"),
        (4, {"defect_type": "../x"}, "cannot name a folder"),
        (3, {"image_path": "img/gone.png"}, "img/gone.png: line 4: no such file"),
        (3, {"image_path": "../img/d.png"}, "expected a path with / relative to the manifest's folder"),
        (3, {"image_path": "/etc/passwd"}, "expected a path with / relative to the manifest's folder"),
        (3, {"image_path": "manifest.jsonl"}, "not an image by its extension"),
        (3, {"image_path": "img/a.png"}, "img/a.png: conflicting rows: line 1 and line 4; keep one"),
        (3, {"group_id": "p1"}, "group p1 is in test, but with img/a.png in train"),
        (3, {"image_path": ""}, "line 4: no image_path; expected image_path, category"),
    ],
)
def test_what_cannot_be_true_is_an_error(
    tmp_path: Path, rows: Rows, number: int, change: dict[str, Any], says: str
) -> None:
    rows[number] = {**rows[number], **change}
    assert says in _fault(tmp_path, rows)


def test_a_row_that_stands_twice_is_an_error(tmp_path: Path, rows: Rows) -> None:
    assert "img/a.png: listed twice: line 1 and line 7" in _fault(tmp_path, [*rows, rows[0]])


def test_one_mask_for_two_images_is_an_error(tmp_path: Path, rows: Rows) -> None:
    rows[3] = {**rows[3], "label": 1, "defect_type": "cut", "mask_path": "masks/e1.png"}
    assert "img/e.png: has the same mask as img/d.png: masks/e1.png" in _fault(tmp_path, rows)


def test_files_of_one_stem_have_maps_of_different_names(tmp_path: Path, rows: Rows) -> None:
    write_image(tmp_path / "more" / "d.png")
    rows.append({**rows[3], "image_path": "more/d.png"})
    manifest = load_dataset("line7", _write(tmp_path, rows), "lid", layout="manifest")
    assert manifest.map_names == {"img/d.png": "img__d", "more/d.png": "more__d"}


def test_files_of_one_folder_that_differ_in_their_extension_only_are_an_error(
    tmp_path: Path, rows: Rows
) -> None:
    write_image(tmp_path / "img" / "d.jpg")
    rows.append({**rows[3], "image_path": "img/d.jpg"})
    assert "img/d.png: has the same stem as img/d.jpg, and the same defect type" in _fault(tmp_path, rows)


def test_a_defect_without_a_mask_is_a_warning_or_as_the_user_says_an_error(
    tmp_path: Path, rows: Rows
) -> None:
    rows[4] = {**rows[4], "mask_path": None}
    table = _write(tmp_path, rows)
    [warning] = load_dataset("line7", table, "lid", layout="manifest").warnings
    assert str(warning) == "lid: no masks (1 defective test images): there are no pixel metrics"
    with pytest.raises(
        DatasetError, match=r"img/e\.png: line 5: has no mask; expected its path in mask_path"
    ):
        load_dataset("line7", table, "lid", layout="manifest", strictness=Strictness(masks="required"))


def test_a_normal_may_have_a_mask(tmp_path: Path, rows: Rows) -> None:
    write_mask(tmp_path / "masks" / "d.png", value=0)
    rows[3] = {**rows[3], "mask_path": ["masks/d.png"]}
    manifest = load_dataset("line7", _write(tmp_path, rows), "lid", layout="manifest")
    assert [mask.path for mask in manifest.select("test", 0)[0].masks] == ["masks/d.png"]


def test_absolute_paths_lead_where_roots_allow_them(tmp_path: Path, rows: Rows) -> None:
    share = tmp_path / "share"
    write_image(share / "x.png")
    write_image(tmp_path / "share2" / "y.png")
    home = tmp_path / "home"
    home.mkdir()
    rows = [{**rows[0], "image_path": str(share / "x.png")}]
    table = _write(home, rows)
    with pytest.raises(
        DatasetError, match=r"x\.png: line 1: expected a path with / relative .*`roots:` says"
    ):
        load_dataset("line7", table, "lid", layout="manifest")
    settings = {"roots": [str(share)]}
    manifest = load_dataset("line7", table, "lid", layout="manifest", layout_settings=settings)
    [record] = manifest.train
    assert record.path == str(share / "x.png")
    assert (manifest.source(record).read() == read_image(share / "x.png")).all()
    for path in (f"{share}2/y.png", f"{share}/../share2/y.png", str(share), f"{share}\\x.png"):
        _write(home, [{**rows[0], "image_path": path}])
        [problem, *_] = check_dataset("manifest", home, "lid", layout_settings=settings)
        assert "expected a path" in problem.message and str(share) in problem.message


@pytest.mark.parametrize("roots", ["/", "", " ", ["/data", "/"]])
def test_the_whole_disk_is_no_root(tmp_path: Path, rows: Rows, roots: Any) -> None:
    with pytest.raises(DatasetError, match="never the whole disk"):
        load_dataset("l", _write(tmp_path, rows), "lid", layout="manifest", layout_settings={"roots": roots})


@pytest.mark.parametrize("content", ["{", "[1]", '"text"', "\xff\xfe"])
def test_a_file_that_is_no_table_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"manifest\.jsonl"):
        find_categories("manifest", tmp_path)
    (tmp_path / "manifest.jsonl").rename(tmp_path / "manifest.parquet")
    with pytest.raises(DatasetError, match=r"manifest\.parquet cannot be read"):
        find_categories("manifest", tmp_path)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_of_spreadsheets_are_read(tmp_path: Path, rows: Rows, delimiter: str) -> None:
    path = _write(tmp_path, rows, ".csv")
    expected = load_dataset("line7", path, "lid", layout="manifest").records
    with path.open(newline="") as stream:
        table = list(csv.reader(stream))
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(table)
    assert load_dataset("line7", path, "lid", layout="manifest").records == expected


def test_a_table_of_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("image_path,category,split\n", encoding="utf-16")
    with pytest.raises(DatasetError, match=r"manifest\.csv is not UTF-8: .*; save it as UTF-8"):
        load_dataset("line7", tmp_path / "manifest.csv", "lid", layout="manifest")


def test_no_table_or_two_are_an_error(tmp_path: Path, rows: Rows) -> None:
    with pytest.raises(DatasetError, match=r"expected one manifest.*found none"):
        find_categories("manifest", tmp_path)
    _write(tmp_path, rows, ".csv")
    _write(tmp_path, rows, ".jsonl")
    with pytest.raises(DatasetError, match=r"expected one manifest.*found several"):
        find_categories("manifest", tmp_path)


def test_excluded_rows_are_not_looked_at(tmp_path: Path, rows: Rows) -> None:
    rows[3] = {**rows[3], "image_path": "img/gone.png"}
    _write(tmp_path, rows)
    manifest = load_dataset("line7", tmp_path, "lid", layout="manifest", exclude=["img/gone.png"])
    assert manifest.excluded == ("img/gone.png",)


@pytest.mark.parametrize(
    "boxes", [[[1, 2, 3, 4], [5, 6, 7.5, 8]], "1 2 3 4; 5 6 7.5 8", "[[1, 2, 3, 4], [5, 6, 7.5, 8]]"]
)
def test_boxes_stand_for_a_mask_and_are_none(tmp_path: Path, rows: Rows, boxes: Any) -> None:
    bent = rows[4]
    del bent["mask_path"]
    bent["boxes"] = boxes
    manifest = load_dataset("line7", _write(tmp_path, rows), "lid", layout="manifest")
    assert manifest.test[1].boxes == ((1, 2, 3, 4), (5, 6, 7.5, 8)) and manifest.test[1].masks == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": [[1, 2, 3]], "mask_path": []}, "expected a list of \\[x, y, width, height\\]"),
        ({"boxes": "1 2 3 x", "mask_path": []}, "expected a list of"),
        ({"boxes": "{", "mask_path": []}, "expected a list of"),
        ({"boxes": [[1, 2, float("nan"), 4]], "mask_path": []}, "expected a list of"),
        ({"boxes": [[1, 2, 0, 4]], "mask_path": []}, "begins before 0 or is empty"),
        ({"boxes": [[1, 2, 3, 4]]}, "boxes and a mask"),
        (
            {"boxes": [[1, 2, 3, 4]], "label": 0, "defect_type": "", "mask_path": []},
            "a normal image with boxes",
        ),
    ],
)
def test_boxes_that_cannot_be_are_errors(
    tmp_path: Path, rows: Rows, changes: dict[str, Any], message: str
) -> None:
    rows[4] |= changes
    with pytest.raises(DatasetError, match=message):
        load_dataset("line7", _write(tmp_path, rows), "lid", layout="manifest")
