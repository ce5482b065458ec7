"""The folder layout: names in any case, other words, folders per camera; what is ambiguous is an error."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datasets.pictures import write_image, write_mask
from uad_orchestrator.datasets import DatasetError, Manifest, check_dataset, find_categories, load_dataset

TIDY = {
    "train": "train",
    "val": "validation",
    "test": "test",
    "gt": "ground_truth",
    "good": "good",
    "bad": "cut",
}


def write(root: Path, **words: str) -> None:
    """Two images to fit, one to calibrate, one good and one bad to test, with a mask."""
    at = TIDY | words
    for number in (0, 1):
        write_image(root / "lid" / at["train"] / at["good"] / f"{number}.png")
    write_image(root / "lid" / at["val"] / at["good"] / "2.png")
    write_image(root / "lid" / at["test"] / at["good"] / "3.png")
    write_image(root / "lid" / at["test"] / at["bad"] / "4.png")
    write_mask(root / "lid" / at["gt"] / at["bad"] / "4_mask.png")


def load(root: Path, **settings: Any) -> Manifest:
    return load_dataset("line7", root, "lid", layout="folder", layout_settings=settings)


def faults(root: Path, **settings: Any) -> dict[str, str]:
    found = check_dataset("folder", root, "lid", layout_settings=settings)
    return {problem.path: problem.message for problem in found if problem.severity == "error"}


def cased(*words: str) -> st.SearchStrategy[str]:
    """One of the words, each letter in either case."""
    return st.sampled_from(words).flatmap(
        lambda word: st.tuples(*(st.sampled_from([c.lower(), c.upper()]) for c in word)).map("".join)
    )


@given(
    train=cased("train"),
    val=cased("val", "valid", "validation"),
    test=cased("test"),
    gt=cased("ground_truth", "ground-truth", "ground truth", "groundtruth"),
    good=cased("good", "normal", "ok"),
    bad=cased("ng", "bad", "defect", "anomaly", "broken_large"),
)
def test_usual_words_in_any_case_are_the_same_set(**words: str) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, **words)
        assert find_categories("folder", root) == ["lid"]
        manifest = load(root)
        assert (len(manifest.train), len(manifest.validation)) == (2, 1)
        assert sorted((record.label, len(record.masks)) for record in manifest.test) == [(0, 0), (1, 1)]
        assert {record.defect_type for record in manifest.records} == {"good", words["bad"]}
        assert manifest.warnings == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [("train", "Train"), ("valid", "val"), ("test", "TEST"), ("ground_truth", "Ground-Truth")],
)
def test_two_folders_that_mean_the_same_are_an_error(tmp_path: Path, one: str, other: str) -> None:
    write(tmp_path, val="valid")
    shutil.copytree(tmp_path / "lid" / one, tmp_path / "lid" / other)
    first, second = sorted((one, other))
    assert faults(tmp_path)[f"lid/{first}"] == (
        f"stands beside {second}, which means the same; keep one of them"
    )


def test_other_words_for_normals_and_defects(tmp_path: Path) -> None:
    write(tmp_path, good="pass", bad="Fail")
    assert "expected good or normal or ok; another word" in faults(tmp_path)["lid/train/pass"]
    for settings in (
        {"normal_folders": ["PASS"]},
        {"normal_folders": "pass", "defect_folders": ["fail"]},
    ):
        assert len(load(tmp_path, **settings).select("test", 1)) == 1
        assert len(load(tmp_path, **settings).train) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"normal_folders": ["pass"], "defect_folders": ["cut"]},
        {"defect_folders": ["cut"]},
        {"normal_folders": ["ok"]},
    ],
)
def test_a_class_that_is_neither_is_an_error_that_names_both_keys(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    write(tmp_path)
    odd = "good" if settings == {"normal_folders": ["ok"]} else "odd"
    write_image(tmp_path / "lid/test/odd/9.png")
    message = faults(tmp_path, **settings)[f"lid/test/{odd}"]
    assert "normal_folders" in message and "defect_folders" in message and repr(odd) in message


def test_a_usual_word_may_be_a_defect_where_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, bad="ok")
    assert [record.defect_type for record in load(tmp_path, defect_folders=["OK"]).select("test", 1)] == [
        "ok"
    ]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"normal_folders": ["a"], "defect_folders": ["A"]},
            "stands in normal_folders and in defect_folders",
        ),
        ({"normal_folders": ["test/good"]}, "expected names of folders below test"),
        ({"defect_folders": [" "]}, "expected names of folders below test"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    write(tmp_path)
    with pytest.raises(DatasetError, match=says):
        load(tmp_path, **settings)


def test_a_folder_below_a_class_is_the_group(tmp_path: Path) -> None:
    write(tmp_path)
    for camera in ("cam0", "cam1"):
        for split in ("train", "test"):
            write_image(tmp_path / f"lid/{split}/good/{camera}/0.png")
        write_image(tmp_path / f"lid/test/cut/{camera}/0.png")
    write_mask(tmp_path / "lid/ground_truth/cut/CAM0/0_mask.png")
    write_mask(tmp_path / "lid/ground_truth/cut/cam1/0.png")
    manifest = load(tmp_path)
    assert {record.group_id for record in manifest.train} == {None, "cam0", "cam1"}
    masks = {record.path: record.masks[0].path for record in manifest.select("test", 1)}
    assert masks["lid/test/cut/cam0/0.png"] == "lid/ground_truth/cut/CAM0/0_mask.png"
    assert masks["lid/test/cut/cam1/0.png"] == "lid/ground_truth/cut/cam1/0.png"
    assert len(manifest.map_names) == 4
    places = [(r.defect_type, manifest.map_names.get(r.path, Path(r.path).stem)) for r in manifest.test]
    assert len(set(places)) == len(places)


def test_masks_may_lie_flat_unless_two_images_would_share_one(tmp_path: Path) -> None:
    write(tmp_path)
    write_image(tmp_path / "lid/test/cut/cam0/7.png")
    write_mask(tmp_path / "lid/ground_truth/cut/7_mask.png")
    assert all(record.masks for record in load(tmp_path).select("test", 1))
    write_image(tmp_path / "lid/test/cut/cam1/7.png")
    assert "has the same mask as lid/test/cut/cam0/7.png" in faults(tmp_path)["lid/test/cut/cam1/7.png"]


def test_one_camera_for_all_of_train_is_no_group(tmp_path: Path) -> None:
    """Left out as a whole it would leave nothing to score it by."""
    write(tmp_path)
    folder = tmp_path / "lid/train/good"
    (folder / "cam0").mkdir()
    for image in sorted(folder.glob("*.png")):
        image.rename(folder / "cam0" / image.name)
    assert {record.group_id for record in load(tmp_path).train} == {None}


@pytest.mark.parametrize("name", ["gt", "Masks", "ground_truth", "labels"])
def test_masks_among_the_images_are_not_taken_for_images(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    write_mask(tmp_path / f"lid/test/cut/{name}/4.png")
    assert (
        "look like masks; expected masks in lid/ground_truth/cut" in faults(tmp_path)[f"lid/test/cut/{name}"]
    )


@pytest.mark.parametrize(
    ("name", "command"),
    [("_annotations.coco.json", "coco"), ("4.xml", "voc"), ("4.TXT", "yolo"), ("boxes.csv", "csv")],
)
def test_annotation_files_are_passed_over_with_a_word(tmp_path: Path, name: str, command: str) -> None:
    write(tmp_path)
    (tmp_path / "lid/test/cut" / name).write_text("?")
    [warning] = load(tmp_path).warnings
    assert warning.path == "lid/test/cut" and name in warning.message
    assert f"`uad import {command}" in warning.message
    (tmp_path / "lid/test/cut/setup.exe").write_text("?")
    expected = "expected PNG, JPEG, BMP, TIFF, WebP, GIF, PGM or PPM: convert it, or move it elsewhere"
    assert faults(tmp_path) == {"lid/test/cut/setup.exe": f"not an image that is read; {expected}"}


def test_images_beside_the_classes_are_one_fault_that_says_where_they_belong(tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / f"lid/train/{number:02}.png")
    assert faults(tmp_path) == {
        "lid/train/00.png": "12 images (00.png, 01.png, 02.png, ...) outside the classes; "
        "expected lid/train/good/00.png"
    }
    write(tmp_path)
    write_image(tmp_path / "lid/test/5.png")
    assert (
        faults(tmp_path)["lid/test/5.png"] == "an image outside the classes; expected lid/test/<class>/5.png"
    )


def test_masks_of_normals_may_be_there(tmp_path: Path) -> None:
    write(tmp_path)
    for number in (0, 1, 3):  # of train, too, as some tools write them
        write_mask(tmp_path / f"lid/ground_truth/good/{number}_mask.png", value=0)
    [good] = load(tmp_path).select("test", 0)
    assert [mask.path for mask in good.masks] == ["lid/ground_truth/good/3_mask.png"]
    write_mask(tmp_path / "lid/ground_truth/good/99.png", value=0)
    assert faults(tmp_path) == {"lid/ground_truth/good/99.png": "a mask without an image of the same stem"}


def test_a_root_that_is_a_category_says_use_its_parent(tmp_path: Path) -> None:
    write(tmp_path, train="Train")
    with pytest.raises(DatasetError, match=r"lid is a category itself: give its parent .* as the root"):
        find_categories("folder", tmp_path / "lid")


def test_what_is_missing_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.rmtree(tmp_path / "lid/ground_truth")
    assert [w.message for w in load(tmp_path).warnings] == [
        "no masks (1 defective test images): there are no pixel metrics"
    ]
    shutil.rmtree(tmp_path / "lid/test/good")
    assert "no good test images" in load(tmp_path).warnings[1].message
    shutil.rmtree(tmp_path / "lid/test")
    [warning] = load(tmp_path).warnings
    assert "no test images" in warning.message
    shutil.rmtree(tmp_path / "lid/train/good")
    assert faults(tmp_path) == {"lid/train": "empty; expected lid/train/good/ with images"}


@pytest.mark.parametrize("place", ["test/cut", "test/good", "train/good"])
def test_a_mask_beside_its_image_is_not_taken_for_an_image(tmp_path: Path, place: str) -> None:
    write(tmp_path)
    [first, *_] = sorted((tmp_path / "lid" / place).iterdir())
    write_mask(first.with_name(f"{first.stem}_Mask.png"))
    kind = place.rpartition("/")[2]
    expected = f"masks beside their images: {first.stem}_Mask.png; expected them in lid/ground_truth/{kind}"
    assert faults(tmp_path)[f"lid/{place}"] == expected


@pytest.mark.parametrize("name", ["ground_truth", "Masks", "GT"])
def test_masks_among_the_classes_are_no_class(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    write_mask(tmp_path / f"lid/test/{name}/cut/4.png")
    assert "a folder of masks among the classes" in faults(tmp_path)[f"lid/test/{name}"]
    assert load(tmp_path, defect_folders=["cut", name]).select("test", 1)[-1].label == 1


def test_a_class_below_a_camera_is_refused(tmp_path: Path) -> None:
    """As a class of defects the camera would make defects of its normals."""
    write(tmp_path)
    write_image(tmp_path / "lid/test/cam0/good/7.png")
    write_image(tmp_path / "lid/test/cam0/dent/8.png")
    message = faults(tmp_path)["lid/test/cam0/good"]
    assert "normals below a class of defects; expected lid/test/good/cam0/" in message
    write_image(tmp_path / "lid/train/good/cam0/Dent/9.png")
    found = faults(tmp_path, normal_folders="good", defect_folders=["cut", "dent", "cam0"])
    assert "defects below a class of normals" in found["lid/train/good/Dent"]


def test_a_folder_whose_images_are_not_read_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "lid/ground_truth").rename(tmp_path / "lid/Masks")
    (tmp_path / "lid/docs").mkdir()
    (tmp_path / "lid/docs/licence.txt").write_text("?")
    [no_masks, unread] = sorted(load(tmp_path).warnings, key=lambda warning: warning.path)
    assert "no masks" in no_masks.message
    assert unread.path == "lid/Masks" and "not read" in unread.message and "ground_truth" in unread.message


def test_links_that_lead_back_are_refused_and_hang_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("again", "once more"):
        (tmp_path / "lid/train/good" / name).symlink_to("..")
    expected = "a link to a folder that it lies in; take it away"
    assert faults(tmp_path) == {f"lid/train/good/{name}": expected for name in ("again", "once more")}
    (tmp_path / "lid/test/good/lot 1").symlink_to("../../train/good")
    assert len(faults(tmp_path)) == 4
