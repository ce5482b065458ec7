from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.pictures import write_image, write_mask, write_mvtec_category
from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.images.decode import read_mask

REAL = Path(__file__).parents[3].parent / "shared" / "real" / "data" / "mvtec_ad_reduced"


@pytest.fixture
def bottle(tmp_path: Path) -> Path:
    return write_mvtec_category(tmp_path)


def test_a_category_as_published(bottle: Path) -> None:
    manifest = load_dataset("mvtec_ad", bottle.parent, "bottle")
    assert [record.path for record in manifest.train] == [f"bottle/train/good/{i:03d}.png" for i in range(4)]
    assert not manifest.validation
    assert [(r.path, r.label, r.defect_type, [m.path for m in r.masks]) for r in manifest.test] == [
        ("bottle/test/broken/000.png", 1, "broken", ["bottle/ground_truth/broken/000_mask.png"]),
        ("bottle/test/broken/001.png", 1, "broken", ["bottle/ground_truth/broken/001_mask.png"]),
        ("bottle/test/good/000.png", 0, "good", []),
        ("bottle/test/good/001.png", 0, "good", []),
        ("bottle/test/scratched/000.png", 1, "scratched", ["bottle/ground_truth/scratched/000_mask.png"]),
    ]


def test_digests_are_those_of_the_files(bottle: Path) -> None:
    manifest = load_dataset("mvtec_ad", bottle.parent, "bottle")
    for record in manifest.records:
        for path, digest in [(record.path, record.digest), *((m.path, m.digest) for m in record.masks)]:
            assert digest == hashlib.sha256((bottle.parent / path).read_bytes()).hexdigest()


def test_changed_pixels_change_the_manifest(bottle: Path) -> None:
    before = load_dataset("mvtec_ad", bottle.parent, "bottle")
    write_image(bottle / "train" / "good" / "000.png", size=(5, 5))
    after = load_dataset("mvtec_ad", bottle.parent, "bottle")
    changed = [b.path for b, a in zip(before.records, after.records, strict=True) if a != b]
    assert changed == ["bottle/train/good/000.png"]


def test_sources_read_the_files(bottle: Path) -> None:
    manifest = load_dataset("mvtec_ad", bottle.parent, "bottle")
    for record, source in zip(manifest.test, manifest.sources(manifest.test), strict=True):
        assert (source.name, source.digest, source.group) == (record.path, record.digest, record.path)
        assert source.read().shape == (12, 16, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".bmp", ".PNG", ".tif", ".TIFF"])
@pytest.mark.parametrize("mask_name", ["000_mask.png", "000.png", "000_mask.bmp", "000_MASK.TIF"])
def test_any_extension_in_any_case(bottle: Path, suffix: str, mask_name: str) -> None:
    (bottle / "test" / "scratched" / "000.png").unlink()
    (bottle / "ground_truth" / "scratched" / "000_mask.png").unlink()
    write_image(bottle / "test" / "scratched" / f"000{suffix}")
    write_mask(bottle / "ground_truth" / "scratched" / mask_name)
    record = load_dataset("mvtec_ad", bottle.parent, "bottle").test[-1]
    assert record.path.endswith(f"000{suffix}")
    assert record.masks[0].path == f"bottle/ground_truth/scratched/{mask_name}"


def test_clutter_of_file_managers_is_not_looked_at(bottle: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._000.png"):
        (bottle / "train" / "good" / name).write_bytes(b"")
    (bottle / "license.txt").write_text("as published, beside the splits")
    assert len(load_dataset("mvtec_ad", bottle.parent, "bottle").train) == 4


def _faults(bottle: Path) -> list[str]:
    with pytest.raises(DatasetError) as caught:
        load_dataset("mvtec_ad", bottle.parent, "bottle")
    return [str(problem) for problem in caught.value.problems]


def test_a_missing_mask_is_an_error_that_names_the_image(bottle: Path) -> None:
    (bottle / "ground_truth" / "broken" / "001_mask.png").unlink()
    assert _faults(bottle) == [
        "bottle/test/broken/001.png: has no mask; expected bottle/ground_truth/broken/001_mask.png"
        " (or another image extension)"
    ]


def test_no_ground_truth_at_all_names_every_image(bottle: Path) -> None:
    shutil.rmtree(bottle / "ground_truth")
    assert len(_faults(bottle)) == 3


def test_a_surplus_mask_is_an_error(bottle: Path) -> None:
    write_mask(bottle / "ground_truth" / "broken" / "007_mask.png")
    write_mask(bottle / "ground_truth" / "bent" / "000_mask.png")
    write_mask(bottle / "ground_truth" / "good" / "000_mask.png")
    write_mask(bottle / "ground_truth" / "000_mask.png")
    assert _faults(bottle) == [
        "bottle/ground_truth/broken/007_mask.png: a mask without an image of the same stem",
        "bottle/ground_truth/000_mask.png: a mask outside the classes;"
        " expected bottle/ground_truth/<defect>/000_mask.png",
        "bottle/ground_truth/bent: masks without images; expected their images in bottle/test/bent",
        "bottle/ground_truth/good: masks of normal images; expected none, take them away",
    ]


def test_two_masks_for_one_image_are_an_error(bottle: Path) -> None:
    write_mask(bottle / "ground_truth" / "broken" / "000.bmp")
    [fault] = _faults(bottle)
    assert fault.startswith("bottle/test/broken/000.png: has several masks (")


def test_two_test_images_of_one_stem_are_an_error(bottle: Path) -> None:
    write_image(bottle / "test" / "good" / "000.bmp")
    assert _faults(bottle) == [
        "bottle/test/good/000.png: has the same stem as bottle/test/good/000.bmp, and the same defect type;"
        " rename one of them"
    ]


def test_annotation_files_beside_images_are_passed_over_with_a_word(bottle: Path) -> None:
    image = next((bottle / "train" / "good").iterdir())
    image.with_suffix(".txt").write_text("0 .5 .5 .1 .1")
    (bottle / "test" / "good" / "_annotations.coco.json").write_text("{}")
    manifest = load_dataset("mvtec_ad", bottle.parent, "bottle")
    said = {problem.path: problem.message for problem in manifest.warnings}
    assert said["bottle/train/good"].startswith(
        f"{image.stem}.txt: annotations are passed over; `uad import yolo`"
    )
    assert said["bottle/test/good"].startswith(
        "_annotations.coco.json: annotations are passed over; `uad import coco"
    )


def test_what_is_not_an_image_is_an_error(bottle: Path) -> None:
    (bottle / "train" / "good" / "notes.txt").write_text("?")
    (bottle / "test" / "good" / "more").mkdir()
    write_image(bottle / "test" / "loose.png")
    faults = _faults(bottle)
    assert faults[0].startswith("bottle/train/good/notes.txt: not an image; expected .png, .jpg")
    assert faults[1] == (
        "bottle/test/loose.png: an image outside the classes; expected bottle/test/<class>/loose.png"
    )
    assert faults[2].startswith("bottle/test/good/more: a folder among the images")


def test_images_and_masks_beside_the_classes_are_one_fault_each(bottle: Path) -> None:
    for number in range(40):
        write_image(bottle / "train" / f"{number:02}.png")
    for number in range(2):
        write_mask(bottle / "ground_truth" / f"{number:02}_mask.png")
    assert _faults(bottle) == [
        "bottle/train/00.png: 40 images (00.png, 01.png, 02.png, ...) outside the classes;"
        " expected bottle/train/<class>/00.png",
        "bottle/ground_truth/00_mask.png: 2 masks (00_mask.png, 01_mask.png) outside the classes;"
        " expected bottle/ground_truth/<defect>/00_mask.png",
    ]


def test_an_empty_split_is_an_error(bottle: Path) -> None:
    for image in (bottle / "train" / "good").iterdir():
        image.unlink()
    assert _faults(bottle) == ["bottle/train/good: no images; expected at least one"]
    (bottle / "train" / "good").rmdir()
    assert _faults(bottle) == ["bottle/train: empty; expected bottle/train/good/ with images"]


def test_a_missing_test_split_is_an_error(bottle: Path) -> None:
    (bottle / "test").rename(bottle / "elsewhere")
    assert "bottle/test: no such folder; expected bottle/test/good/ with images" in _faults(bottle)


def test_defects_beside_the_training_images_are_refused(bottle: Path) -> None:
    write_image(bottle / "train" / "broken" / "000.png")
    assert _faults(bottle) == ["bottle/train/broken: train holds normal images only; expected good"]


def test_all_faults_are_told_at_once(bottle: Path) -> None:
    (bottle / "ground_truth" / "broken" / "001_mask.png").unlink()
    (bottle / "train" / "good" / "notes.txt").write_text("?")
    with pytest.raises(DatasetError) as caught:
        load_dataset("mvtec_ad", bottle.parent, "bottle")
    assert "notes.txt" in str(caught.value)
    assert "bottle/test/broken/001.png" in str(caught.value)


def test_many_faults_are_counted_in_the_message(bottle: Path) -> None:
    for number in range(30):
        (bottle / "train" / "good" / f"{number}.txt").write_text("?")
    with pytest.raises(DatasetError, match=r"\.\.\. and 10 more"):
        load_dataset("mvtec_ad", bottle.parent, "bottle")


def test_an_unknown_category_names_the_nearest(bottle: Path) -> None:
    with pytest.raises(DatasetError, match=r"unknown category 'botle'.*did you mean 'bottle'"):
        load_dataset("mvtec_ad", bottle.parent, "botle")


@pytest.mark.parametrize("category", ["..", "../bottle", "/", "", "bottle/train", "."])
def test_a_category_never_leads_out_of_the_root(bottle: Path, category: str) -> None:
    with pytest.raises(DatasetError, match="unknown category"):
        load_dataset("mvtec_ad", bottle.parent, category)


def test_a_category_given_as_root_is_recognised(bottle: Path) -> None:
    with pytest.raises(DatasetError, match="is a category itself: give its parent"):
        load_dataset("mvtec_ad", bottle, "bottle")


def test_an_unreachable_root_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere cannot be reached"):
        load_dataset("mvtec_ad", tmp_path / "nowhere", "bottle")
    with pytest.raises(DatasetError, match="no such folder"):
        find_categories("mvtec_ad", tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="a file; expected a folder"):
        find_categories("mvtec_ad", tmp_path / "file")


def test_categories_are_the_folders_with_a_training_split(bottle: Path) -> None:
    write_mvtec_category(bottle.parent, "zipper")
    (bottle.parent / "papers").mkdir()
    assert find_categories("mvtec_ad", bottle.parent) == ["bottle", "zipper"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real sample images are not here")
@pytest.mark.parametrize("category", ["hazelnut", "transistor"])
def test_real_images(category: str) -> None:
    manifest = load_dataset("mvtec_ad", REAL, category)
    assert [len(manifest.train), len(manifest.select("test", 0)), len(manifest.select("test", 1))] == [
        50,
        2,
        8,
    ]
    for record in manifest.select("test", 1):
        mask = read_mask(REAL / record.masks[0].path)
        assert mask.shape == (256, 256)
        assert 0 < np.count_nonzero(mask) < mask.size / 2
