"""What is checked, and which images train and test."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.annotations.files import HEIGHT, WIDTH, coco_file, rows, run, write_json, write_pictures
from uad_orchestrator.datasets.annotations import images_folder, import_annotations
from uad_orchestrator.datasets.annotations.splits import Placed, choose_splits
from uad_orchestrator.datasets.checks.headers import check_dataset
from uad_orchestrator.datasets.problems import DatasetError

pytest.importorskip("pycocotools", reason="needs the import extra")

TRIANGLE = [5, 5, 25, 6, 10, 22]
SCRATCH = {"segmentation": [TRIANGLE]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pictures(tmp_path, *(f"train/{i}.png" for i in range(4)), "test/good.png", "test/bad.png")
    return tmp_path


def _splits(root: Path, **options: object) -> dict[str, str]:
    return {path: row["split"] for path, row in rows(run("coco", root, **options)).items()}


def test_every_fault_is_named_at_once_and_nothing_is_written(root: Path) -> None:
    write_pictures(root, "test/wide.png", size=(HEIGHT, 2 * WIDTH))
    write_pictures(root, "cam1/twin.png", "cam2/twin.png")
    names = (
        "bad.png",
        "missing.png",
        "wide.png",
        "../../out.png",
        "/etc/passwd.png",
        "twin.png",
        "C:\\data\\x.png",
    )
    coco_file(
        root / "test" / "a.json",
        SCRATCH,
        {"segmentation": [[30, 5, 60, 5, 38, 20]]},
        {"segmentation": [[50, 5, 60, 5, 55, 9]]},
        {"segmentation": [[1, 2, 3]]},
        {"segmentation": [[1, 2, 3, float("nan"), 5, 6]]},
        {"segmentation": {"size": [10**7, 10**7], "counts": [10**14]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "PPX"}},
        {"segmentation": [TRIANGLE], "category_id": 7},
        {"segmentation": [TRIANGLE], "image_id": 70},
        {"bbox": [3, 4, -5, 6]},
        {"bbox": [3, 4]},
        names=names,
    )
    with pytest.raises(DatasetError) as caught:
        run("coco", root)
    said = [str(problem) for problem in caught.value.problems]
    expected = [
        "annotation 1, bad.png: reaches over the image's border by 20 pixels",
        "annotation 2, bad.png: lies outside of the image",
        "annotation 3: the polygon has 3 numbers",
        "annotation 4: a coordinate is nan",
        "annotation 5, bad.png: run lengths of 10000000 x 10000000",
        "annotation 6, bad.png: its run lengths add up to",
        "annotation 7: category_id 7 is none",
        "annotation 8: image_id 70 is none",
        "annotation 9, bad.png: a box of -5 x 6",
        "annotation 10: bbox is [3, 4]",
        f"image 1, missing.png: missing.png: no such image below {root} (--images says another folder)",
        "image 2, wide.png: says 30 x 40 (height x width), but test/wide.png is 30 x 80",
        "image 3, out.png: ../../out.png leaves",
        "image 4, passwd.png: /etc/passwd.png leaves",
        "image 5, twin.png: twin.png may be cam1/twin.png, cam2/twin.png",
        "image 6, C:\\data\\x.png: C:\\data\\x.png leaves",
    ]
    for words in expected:
        assert any(words in text and "a.json" in text for text in said), (words, said)
    assert len(said) == len(expected)
    assert sorted(path.name for path in root.iterdir()) == ["cam1", "cam2", "test", "train"]


def test_a_declared_size_allocates_nothing(root: Path) -> None:
    images = [{"id": 0, "file_name": "bad.png", "height": 10**9, "width": 10**9}]
    coco_file(root / "test" / "a.json", SCRATCH, images=images)
    with pytest.raises(DatasetError, match="says 1000000000 x 1000000000"):
        run("coco", root)


def test_images_are_looked_for_where_the_splits_lie(root: Path) -> None:
    write_pictures(root, "test/scratch/0.png")
    deep, flat = root / "test" / "scratch" / "a.json", root / "test" / "a.json"
    assert (
        images_folder([deep]) == images_folder([flat]) == images_folder([root / "train" / "a.json"]) == root
    )
    assert images_folder([root / "annotations" / "a.json"]) == root / "annotations"
    lone = root / "train" / "test" / "project"
    lone.mkdir(parents=True)
    assert images_folder([lone / "a.json"]) == lone, "a folder above that is called test by chance"
    coco_file(deep, SCRATCH, names=("0.png",))
    found = import_annotations("coco", [deep])
    assert found.manifest == root / "manifest.jsonl" and found.counts["train", "good"] == 4


def test_images_and_ids_stand_there_once(root: Path) -> None:
    coco_file(
        root / "test" / "a.json", SCRATCH, {**SCRATCH, "id": 0}, names=("bad.png", "good.png", "./bad.png")
    )
    with pytest.raises(DatasetError) as caught:
        run("coco", root)
    said = "\n".join(map(str, caught.value.problems))
    assert "annotation 0 stands there twice" in said
    assert "test/bad.png is annotated in" in said and "keep one of them" in said


@pytest.mark.parametrize("name", ["bad.png", "test/bad.png", "images/test/bad.png", "images\\test\\bad.png"])
def test_images_are_found_by_the_end_of_their_path(root: Path, name: str) -> None:
    write_pictures(root, "cam/bad.png") if "/" in name or "\\" in name else None
    coco_file(root / "annotations" / "a.json", SCRATCH, names=(name,))
    assert rows(run("coco", root))["test/bad.png"]["label"] == 1


def test_annotations_in_folders_of_their_own_mean_the_images_in_folders_of_the_same_names(root: Path) -> None:
    write_pictures(
        root, "images/0.png", *(f"images/{lot}/{i}.png" for lot in ("lot1", "lot2") for i in range(3))
    )
    points = [TRIANGLE[i : i + 2] for i in (0, 2, 4)]
    shape = {"label": "scratch", "points": points, "shape_type": "polygon"}
    write_json(root / "labels" / "lot1" / "0.json", {"imagePath": "0.png", "shapes": [shape]})
    found = import_annotations("labelme", [root / "labels"], images=root / "images")
    assert {path for path, row in rows(found).items() if row["label"]} == {"lot1/0.png"}
    write_json(root / "labels" / "lot3" / "1.json", {"imagePath": "1.png", "shapes": [shape]})
    with pytest.raises(DatasetError, match=r"1\.png may be lot1/1\.png, lot2/1\.png"):
        import_annotations("labelme", [root / "labels"], images=root / "images", replace=True)


def test_files_of_one_name_in_several_folders_keep_their_masks_apart(root: Path) -> None:
    write_pictures(root, "test/cam1/0.png", "test/cam2/0.png", "test/cam2/0.bmp")
    names = ("test/cam1/0.png", "test/cam2/0.png", "test/cam2/0.bmp")
    coco_file(root / "a.json", *({**SCRATCH, "image_id": i} for i in range(3)), names=names)
    table = rows(run("coco", root))
    assert len({tuple(table[name]["mask_path"]) for name in names}) == 3


def test_an_image_turned_by_exif_is_said(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(root / "test" / "turned.jpg", exif=exif)
    coco_file(root / "a.json", SCRATCH, names=("turned.jpg",))
    with pytest.raises(DatasetError, match="turned by EXIF"):
        run("coco", root)


def test_normal_words_mean_normal_images(root: Path) -> None:
    coco_file(root / "a.json", {**SCRATCH, "category_id": 3})
    assert rows(run("coco", root))["test/bad.png"]["defect_type"] == "fine"
    assert rows(run("coco", root, normal=("Fine",), replace=True))["test/bad.png"]["label"] == 0


def test_images_of_a_folder_named_for_defects_are_no_normals(root: Path) -> None:
    write_pictures(root, "test/scratch/0.png", "test/scratch/1.png", "test/NG/2.png")
    coco_file(root / "test" / "scratch" / "a.json", SCRATCH, names=("0.png",))
    table = rows(run("coco", root))
    assert [table[f"test/{name}"]["defect_type"] for name in ("scratch/1.png", "NG/2.png")] == [
        "scratch",
        "NG",
    ]
    assert table["test/good.png"]["label"] == 0


def test_masks_that_lie_beside_are_no_images(root: Path) -> None:
    write_pictures(root, "ground_truth/scratch/bad_mask.png")
    coco_file(root / "a.json", SCRATCH)
    found = run("coco", root)
    assert "ground_truth/scratch/bad_mask.png" not in rows(found)
    assert any("1 pictures in folders named for masks" in note for note in found.notes)


def test_defects_are_tested_whatever_the_split_is_called(root: Path) -> None:
    write_pictures(root, "train/bad2.png", "valid/v.png")
    coco_file(root / "a.json", SCRATCH, names=("train/bad2.png",))
    splits = _splits(root)
    assert splits["train/bad2.png"] == "test" and splits["valid/v.png"] == "validation"
    assert splits["train/0.png"] == "train" and splits["test/good.png"] == "test"


def test_the_name_of_the_annotation_file_says_the_split(tmp_path: Path) -> None:
    write_pictures(tmp_path, "a.png", "b.png", "bad.png")
    coco_file(tmp_path / "instances_train2017.json", names=("a.png",))
    coco_file(tmp_path / "instances_val2017.json", SCRATCH, names=("bad.png", "b.png"))
    assert _splits(tmp_path) == {"a.png": "train", "b.png": "validation", "bad.png": "test"}


def test_patterns_say_which_normals_are_fitted(root: Path) -> None:
    coco_file(root / "a.json", SCRATCH)
    splits = _splits(root, train=("test/*", "train/0.png"))
    assert {path for path, split in splits.items() if split == "train"} == {"test/good.png", "train/0.png"}


def test_normals_without_a_split_are_divided_the_same_way_every_time() -> None:
    images = [Placed(f"{i}.png", i % 5 == 0, None, f"part{i // 4}") for i in range(100)]
    splits, notes = choose_splits(images, train_share=0.6)
    assert choose_splits(images[::-1], train_share=0.6)[0] == splits
    normals = [image for image in images if not image.anomalous]
    for part in range(25):
        assert len({splits[image.path] for image in normals if image.group == f"part{part}"}) == 1
    assert 40 <= sum(splits[image.path] == "train" for image in normals) <= 56
    assert "no split is said of 80 normal images" in notes[0]
    one, _ = choose_splits([Placed("a.png", False, None, None), Placed("b.png", False, None, None)])
    assert set(one.values()) == {"train", "test"}


def test_without_normals_it_says_where_to_give_them(tmp_path: Path) -> None:
    write_pictures(tmp_path, "bad.png")
    coco_file(tmp_path / "a.json", SCRATCH)
    with pytest.raises(DatasetError, match="no normal image to fit on; --images"):
        run("coco", tmp_path)


def test_categories_share_a_manifest(tmp_path: Path) -> None:
    for category in ("lid", "cap"):
        write_pictures(tmp_path / category, "train/a.png", "test/b.png", "test/bad.png")
        coco_file(tmp_path / category / "a.json", SCRATCH)
        found = run("coco", tmp_path / category, output=tmp_path)
    assert set(rows(found)) == {
        f"{c}/{n}" for c in ("lid", "cap") for n in ("train/a.png", "test/b.png", "test/bad.png")
    }
    assert all(check_dataset("manifest", tmp_path, category) == [] for category in ("lid", "cap"))
    with pytest.raises(FileExistsError, match="has the category cap already; --replace"):
        run("coco", tmp_path / "cap", output=tmp_path)
    before = found.manifest.read_text()
    assert run("coco", tmp_path / "cap", output=tmp_path, replace=True).manifest.read_text() == before


def test_a_second_import_takes_no_masks_for_images(root: Path) -> None:
    coco_file(root / "a.json", SCRATCH)
    first = rows(run("coco", root))
    assert rows(run("coco", root, replace=True)) == first


def test_names_that_are_not_utf_8_or_have_newlines_stay(root: Path) -> None:
    for name in (b"train/caf\xe9.png", b"train/two\nlines.png"):
        write_pictures(root, os.fsdecode(name))
    coco_file(root / "a.json", SCRATCH)
    table = rows(run("coco", root))
    assert os.fsdecode(b"train/caf\xe9.png") in table and "train/two\nlines.png" in table


def test_pipes_are_passed_over(root: Path) -> None:
    os.mkfifo(root / "train" / "pipe.png")
    os.mkfifo(root / "pipe.json")
    coco_file(root / "a.json", SCRATCH)
    assert "train/pipe.png" not in rows(run("coco", root))


def test_a_missing_extra_is_said_with_the_line_to_type(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uad_orchestrator.extras.find_spec", lambda name: None)
    for kind in ("coco", "voc"):
        with pytest.raises(ImportError, match=r"pip install 'uad_orchestrator\[import\]'"):
            run(kind, root)


def test_a_file_that_is_no_manifest_is_not_written_over(root: Path) -> None:
    (root / "manifest.jsonl").write_text('{"other": 1}\n')
    coco_file(root / "a.json", SCRATCH)
    with pytest.raises(DatasetError, match="no manifest"):
        run("coco", root)
    assert json.loads((root / "manifest.jsonl").read_text()) == {"other": 1}


def test_ids_that_cannot_be_keys_are_faults(root: Path) -> None:
    write_json(
        root / "a.json",
        {"images": [{"id": [1]}, 5], "annotations": [{"id": 1, "image_id": [1]}], "categories": []},
    )
    with pytest.raises(DatasetError) as caught:
        run("coco", root)
    assert len(caught.value.problems) >= 3
