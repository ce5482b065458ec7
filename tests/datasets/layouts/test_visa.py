from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.datasets.pictures import write_image, write_mask, write_mvtec_category
from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.problems import DatasetError

IMAGES = "candle/Data/Images"
MASKS = "candle/Data/Masks/Anomaly"


def _write_csv(path: Path, header: str, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header.split(","), *rows])


@pytest.fixture
def released(tmp_path: Path) -> Path:
    rows = [["pcb1", "train", "normal", "pcb1/Data/Images/Normal/0000.JPG", ""]]
    for number, split in enumerate(["train", "train", "test"]):
        write_image(tmp_path / IMAGES / "Normal" / f"{number:04d}.JPG")
        rows.append(["candle", split, "normal", f"{IMAGES}/Normal/{number:04d}.JPG", ""])
    for number in range(2):
        write_image(tmp_path / IMAGES / "Anomaly" / f"{number:03d}.JPG")
        write_mask(tmp_path / MASKS / f"{number:03d}.png", value=1 + number)
        image, mask = f"{IMAGES}/Anomaly/{number:03d}.JPG", f"{MASKS}/{number:03d}.png"
        rows.append(["candle", "test", "anomaly", image, mask])
    _write_csv(tmp_path / "split_csv" / "1cls.csv", "object,split,label,image,mask", rows)
    types = [
        [f"{IMAGES}/Normal/0000.JPG", "normal", ""],
        [f"{IMAGES}/Anomaly/000.JPG", "melted,bent/torn", ""],
    ]
    _write_csv(tmp_path / "candle" / "image_anno.csv", "image,label,mask", types)
    return tmp_path


def _faults(root: Path) -> list[str]:
    with pytest.raises(DatasetError) as caught:
        load_dataset("visa", root, "candle")
    return [str(problem) for problem in caught.value.problems]


def test_visa_as_released(released: Path) -> None:
    assert find_categories("visa", released) == ["candle"]
    manifest = load_dataset("visa", released, "candle")
    assert [(r.split, r.path, r.defect_type, [m.path for m in r.masks]) for r in manifest.records] == [
        ("train", f"{IMAGES}/Normal/0000.JPG", "good", []),
        ("train", f"{IMAGES}/Normal/0001.JPG", "good", []),
        ("test", f"{IMAGES}/Anomaly/000.JPG", "melted,bent-torn", [f"{MASKS}/000.png"]),
        ("test", f"{IMAGES}/Anomaly/001.JPG", "bad", [f"{MASKS}/001.png"]),
        ("test", f"{IMAGES}/Normal/0002.JPG", "good", []),
    ]


def test_without_annotations_every_defect_is_bad(released: Path) -> None:
    (released / "candle" / "image_anno.csv").unlink()
    manifest = load_dataset("visa", released, "candle")
    assert {record.defect_type for record in manifest.select("test", 1)} == {"bad"}


def test_files_and_split_must_agree(released: Path) -> None:
    (released / MASKS / "001.png").rename(released / MASKS / "009.png")
    (released / IMAGES / "Normal" / "0001.JPG").rename(released / IMAGES / "Normal" / "0009.JPG")
    assert _faults(released) == [
        f"{IMAGES}/Normal/0001.JPG: no such file; split_csv/1cls.csv lists it",
        f"{IMAGES}/Anomaly/001.JPG: has no mask; split_csv/1cls.csv says {MASKS}/001.png,"
        " expected a file of that name",
        f"{IMAGES}/Normal/0009.JPG: does not stand in split_csv/1cls.csv; expected every image there",
        f"{MASKS}/009.png: a mask that does not stand in split_csv/1cls.csv",
    ]


def test_a_missing_or_odd_split_file_is_an_error(released: Path) -> None:
    split = released / "split_csv" / "1cls.csv"
    split.write_text("object,split,image\n")
    assert _faults(released)[0] == (
        "split_csv/1cls.csv: has no column label, mask; expected object, split, label, image, mask"
    )
    split.unlink()
    assert _faults(released)[0].startswith("split_csv/1cls.csv: no such file")


def test_anomalies_in_the_train_split_are_refused(released: Path) -> None:
    split = released / "split_csv" / "1cls.csv"
    split.write_text(split.read_text().replace("test,anomaly", "train,anomaly", 1))
    assert _faults(released) == [
        f"{IMAGES}/Anomaly/000.JPG: an anomaly in the train split of split_csv/1cls.csv;"
        " train holds normal images only"
    ]


@pytest.mark.parametrize("base", ["", "visa_pytorch", "1cls", "visa_pytorch/1cls"])
def test_visa_as_converted(tmp_path: Path, base: str) -> None:
    write_mvtec_category(tmp_path / base, "candle")
    assert find_categories("visa", tmp_path) == ["candle"]
    manifest = load_dataset("visa", tmp_path, "candle")
    assert len(manifest.train) == 4
    assert len(manifest.select("test", 1)) == 3
    assert (tmp_path / manifest.train[0].path).is_file()
    excluded = f"{base}/candle/train/good/000.png".lstrip("/")
    assert load_dataset("visa", tmp_path, "candle", exclude=[excluded]).excluded == (excluded,)


def test_files_are_found_whatever_their_extension_and_its_case(released: Path) -> None:
    (released / IMAGES / "Anomaly" / "000.JPG").rename(released / IMAGES / "Anomaly" / "000.jpeg")
    (released / MASKS / "000.png").unlink()
    write_mask(released / MASKS / "000.BMP")
    [record] = [r for r in load_dataset("visa", released, "candle").test if r.path.endswith("000.jpeg")]
    assert (record.defect_type, record.masks[0].path) == ("melted,bent-torn", f"{MASKS}/000.BMP")


def test_a_split_file_without_a_split_is_named_beside_other_faults(released: Path) -> None:
    table = released / "split_csv" / "1cls.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "candle,train" not in line))
    (released / MASKS / "000.png").unlink()
    faults = _faults(released)
    assert "split_csv/1cls.csv: no train image of candle; expected at least one" in faults
    assert any(fault.startswith(f"{IMAGES}/Anomaly/000.JPG: has no mask") for fault in faults)
