"""Each published layout in miniature; MVTec AD, folder, manifest and demo have files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.pictures import write_defects_config, write_image, write_mask, write_mvtec_category
from uad_orchestrator.datasets.checks.headers import check_dataset
from uad_orchestrator.datasets.layouts.registry import LAYOUTS
from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.images.decode import read_mask


def _faults(layout: str, root: Path, category: str) -> list[str]:
    with pytest.raises(DatasetError) as caught:
        load_dataset(layout, root, category)
    return [str(problem) for problem in caught.value.problems]


def _counts(manifest: Manifest) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for record in manifest.records:
        key = (record.split, record.defect_type)
        counts[key] = counts.get(key, 0) + 1
    return counts


def test_every_layout_of_the_table_is_there() -> None:
    assert sorted(LAYOUTS) == [
        "btad", "demo", "folder", "kolektor_sdd2", "magnetic_tile", "manifest",
        "mpdd", "mvtec_3d_ad", "mvtec_ad", "mvtec_ad2", "mvtec_loco", "visa",
    ]  # fmt: skip


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"demo"}))
def test_an_unreachable_root_is_an_error_never_an_empty_set(layout: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be reached"):
        load_dataset(layout, tmp_path / "gone", layout)


def test_mpdd_is_arranged_as_mvtec_ad(tmp_path: Path) -> None:
    write_mvtec_category(tmp_path, "bracket_black")
    assert find_categories("mpdd", tmp_path) == ["bracket_black"]
    mpdd = load_dataset("mpdd", tmp_path, "bracket_black")
    assert mpdd.records == load_dataset("mvtec_ad", tmp_path, "bracket_black").records


@pytest.mark.parametrize(("image", "mask"), [(".bmp", ".png"), (".png", ".bmp"), (".bmp", ".bmp")])
def test_btad_masks_are_found_whatever_their_extension(tmp_path: Path, image: str, mask: str) -> None:
    folder = tmp_path / "01"
    write_image(folder / "train" / "ok" / f"0000{image}")
    write_image(folder / "test" / "ok" / f"0000{image}")
    write_image(folder / "test" / "ko" / f"0000{image}")
    write_mask(folder / "ground_truth" / "ko" / f"0000{mask}", value=1)
    manifest = load_dataset("btad", tmp_path, "01")
    assert _counts(manifest) == {("train", "good"): 1, ("test", "good"): 1, ("test", "ko"): 1}
    [record] = manifest.select("test", 1)
    assert [path.path for path in record.masks] == [f"01/ground_truth/ko/0000{mask}"]
    (folder / "ground_truth" / "ko" / f"0000{mask}").unlink()
    assert _faults("btad", tmp_path, "01")[0].startswith(f"01/test/ko/0000{image}: has no mask")


@pytest.fixture
def loco(tmp_path: Path) -> Path:
    folder = tmp_path / "pushpins"
    for split in ("train", "validation", "test"):
        write_image(folder / split / "good" / "000.png")
    write_image(folder / "test" / "logical_anomalies" / "000.png")
    write_image(folder / "test" / "structural_anomalies" / "000.png")
    for channel in range(3):
        write_mask(folder / "ground_truth" / "logical_anomalies" / "000" / f"{channel:03d}.png")
    write_mask(folder / "ground_truth" / "structural_anomalies" / "000" / "000.png")
    write_defects_config(folder, {"missing": 255})
    return tmp_path


def test_loco_channels_are_all_read_and_kept_apart(loco: Path) -> None:
    manifest = load_dataset("mvtec_loco", loco, "pushpins")
    assert [len(manifest.train), len(manifest.validation), len(manifest.test)] == [1, 1, 3]
    [logical] = [r for r in manifest.test if r.defect_type == "logical_anomalies"]
    folder = "pushpins/ground_truth/logical_anomalies/000"
    assert [mask.path for mask in logical.masks] == [f"{folder}/{n:03d}.png" for n in range(3)]
    assert check_dataset("mvtec_loco", loco, "pushpins") == []


def test_loco_faults(loco: Path) -> None:
    truth = loco / "pushpins" / "ground_truth"
    (truth / "structural_anomalies" / "000").rename(truth / "structural_anomalies" / "007")
    write_mask(truth / "logical_anomalies" / "000.png")
    (loco / "pushpins" / "defects_config.json").unlink()
    assert _faults("mvtec_loco", loco, "pushpins") == [
        "pushpins/ground_truth/logical_anomalies/000.png: a mask outside its image's folder;"
        " expected pushpins/ground_truth/logical_anomalies/000/000.png",
        "pushpins/test/structural_anomalies/000.png: has no mask;"
        " expected pushpins/ground_truth/structural_anomalies/000/000.png",
        "pushpins/ground_truth/structural_anomalies/007: masks without an image of this name",
        "pushpins/defects_config.json: no such file; sPRO needs its saturation thresholds",
    ]


def test_a_loco_channel_of_another_size_is_named(loco: Path) -> None:
    channel = loco / "pushpins" / "ground_truth" / "logical_anomalies" / "000" / "002.png"
    write_mask(channel, size=(5, 5))
    [problem] = check_dataset("mvtec_loco", loco, "pushpins")
    assert problem.path.endswith("logical_anomalies/000/002.png")


def _write_ad2(root: Path) -> Path:
    folder = root / "vial"
    for split in ("train", "validation", "test_public"):
        write_image(folder / split / "good" / "000_regular.png")
    write_image(folder / "test_public" / "bad" / "000_regular.png")
    write_mask(folder / "test_public" / "ground_truth" / "bad" / "000_regular_mask.png")
    for split in ("test_private", "test_private_mixed"):
        write_image(folder / split / "000.png")
    return folder


def test_mvtec_ad2_private_splits_have_no_labels(tmp_path: Path) -> None:
    _write_ad2(tmp_path)
    manifest = load_dataset("mvtec_ad2", tmp_path, "vial")
    assert _counts(manifest) == {
        ("train", "good"): 1,
        ("validation", "good"): 1,
        ("test", "bad"): 1,
        ("test", "good"): 1,
        ("test_private", "unknown"): 1,
        ("test_private_mixed", "unknown"): 1,
    }
    assert [record.label for record in manifest.select("test_private")] == [-1]
    assert {record.path.split("/")[1] for record in manifest.test} == {"test_public"}
    assert manifest.notes == (
        "test_private: no ground truth published",
        "test_private_mixed: no ground truth published",
    )


def test_mvtec_ad2_validation_never_enters_the_bank(tmp_path: Path) -> None:
    _write_ad2(tmp_path)
    manifest = load_dataset("mvtec_ad2", tmp_path, "vial")
    assert [r.path for r in manifest.train] == ["vial/train/good/000_regular.png"]
    assert [r.path for r in manifest.validation] == ["vial/validation/good/000_regular.png"]


def test_mvtec_ad2_missing_mask(tmp_path: Path) -> None:
    folder = _write_ad2(tmp_path)
    (folder / "test_public" / "ground_truth" / "bad" / "000_regular_mask.png").unlink()
    assert _faults("mvtec_ad2", tmp_path, "vial")[-1].startswith(
        "vial/test_public/bad/000_regular.png: has no mask;"
        " expected vial/test_public/ground_truth/bad/000_regular_mask.png"
    )


def _write_3d(root: Path) -> Path:
    folder = root / "bagel"
    for split in ("train", "validation"):
        write_image(folder / split / "good" / "rgb" / "000.png")
        (folder / split / "good" / "xyz").mkdir()
        (folder / split / "good" / "xyz" / "000.tiff").write_bytes(b"a point cloud")
    for name, value in (("good", 0), ("crack", 255), ("hole", 1)):
        write_image(folder / "test" / name / "rgb" / "000.png")
        write_mask(folder / "test" / name / "gt" / "000.png", value=value)
    return folder


def test_mvtec_3d_ad_reads_rgb_only(tmp_path: Path) -> None:
    _write_3d(tmp_path)
    manifest = load_dataset("mvtec_3d_ad", tmp_path, "bagel")
    assert [(r.path, r.label, [m.path for m in r.masks]) for r in manifest.test] == [
        ("bagel/test/crack/rgb/000.png", 1, ["bagel/test/crack/gt/000.png"]),
        ("bagel/test/good/rgb/000.png", 0, []),
        ("bagel/test/hole/rgb/000.png", 1, ["bagel/test/hole/gt/000.png"]),
    ]
    assert [len(manifest.train), len(manifest.validation)] == [1, 1]


def test_mvtec_3d_ad_faults(tmp_path: Path) -> None:
    folder = _write_3d(tmp_path)
    (folder / "test" / "crack" / "gt" / "000.png").rename(folder / "test" / "crack" / "gt" / "001.png")
    (folder / "validation" / "good" / "rgb" / "000.png").unlink()
    assert _faults("mvtec_3d_ad", tmp_path, "bagel") == [
        "bagel/validation/good/rgb: no images; expected at least one",
        "bagel/test/crack/rgb/000.png: has no mask; expected bagel/test/crack/gt/000.png"
        " (or another image extension)",
        "bagel/test/crack/gt/001.png: a mask without an image of the same stem",
    ]


def _write_sdd2(root: Path) -> None:
    for split, labels in (("train", (0, 0, 1)), ("test", (0, 1))):
        for number, label in enumerate(labels):
            write_image(root / split / f"{number:05d}.png")
            write_mask(root / split / f"{number:05d}_GT.png", value=255 * label)


def test_kolektor_sdd2_labels_come_from_the_masks(tmp_path: Path) -> None:
    _write_sdd2(tmp_path)
    assert find_categories("kolektor_sdd2", tmp_path) == ["kolektor_sdd2"]
    manifest = load_dataset("kolektor_sdd2", tmp_path, "kolektor_sdd2")
    assert [record.path for record in manifest.train] == ["train/00000.png", "train/00001.png"]
    assert [record.path for record in manifest.select("train", 1)] == ["train/00002.png"]
    [defect] = manifest.select("test", 1)
    assert (defect.path, defect.defect_type, defect.masks[0].path) == (
        "test/00001.png", "defect", "test/00001_GT.png",
    )  # fmt: skip


def test_an_unreadable_kolektor_mask_is_no_normal_image(tmp_path: Path) -> None:
    _write_sdd2(tmp_path)
    (tmp_path / "train" / "00002_GT.png").write_bytes(b"broken")
    (tmp_path / "test" / "00001_GT.png").unlink()
    assert _faults("kolektor_sdd2", tmp_path, "kolektor_sdd2") == [
        "train/00002_GT.png: not an image; expected PNG, JPEG, BMP, TIFF, WebP, GIF, PGM or PPM",
        "test/00001.png: has no mask; expected test/00001_GT.png (or another image extension)",
    ]


def _write_tiles(root: Path) -> None:
    for number in range(40):
        for shot in (1, 2):
            stem = root / "MT_Free" / "Imgs" / f"exp{shot}_num_{number}"
            write_image(stem.with_suffix(".jpg"))
            write_mask(stem.with_suffix(".png"), value=0)
    for kind in ("Blowhole", "Break", "Crack", "Fray", "Uneven"):
        stem = root / f"MT_{kind}" / "Imgs" / "exp3_num_7"
        write_image(stem.with_suffix(".jpg"))
        write_mask(stem.with_suffix(".png"))


def test_magnetic_tile_split_is_ours_and_keeps_tiles_together(tmp_path: Path) -> None:
    _write_tiles(tmp_path)
    manifest = load_dataset("magnetic_tile", tmp_path, "magnetic_tile")
    assert manifest.notes == ("no official split: ours, seed 0, 20% of the free tiles tested",)
    trained, tested = ({r.group_id for r in records} for records in (manifest.train, manifest.test))
    assert not trained & tested
    assert "num_7" in tested  # defective in other shots of it
    assert 4 <= len(tested) <= 16
    assert len(manifest.train) == 2 * len(trained)
    assert {r.defect_type for r in manifest.test} == {"good", "blowhole", "break", "crack", "fray", "uneven"}
    assert load_dataset("magnetic_tile", tmp_path, "magnetic_tile") == manifest


def test_magnetic_tile_excluding_an_image_moves_no_other(tmp_path: Path) -> None:
    _write_tiles(tmp_path)
    before = load_dataset("magnetic_tile", tmp_path, "magnetic_tile")
    gone = before.train[0]
    after = load_dataset("magnetic_tile", tmp_path, "magnetic_tile", exclude=[gone.path])
    assert after.records == tuple(record for record in before.records if record != gone)


def test_magnetic_tile_faults(tmp_path: Path) -> None:
    _write_tiles(tmp_path)
    (tmp_path / "MT_Crack" / "Imgs" / "exp3_num_7.png").unlink()
    (tmp_path / "MT_Fray").rename(tmp_path / "Fray")
    assert _faults("magnetic_tile", tmp_path, "magnetic_tile") == [
        "MT_Crack/Imgs/exp3_num_7.jpg: has no mask; expected MT_Crack/Imgs/exp3_num_7.png"
        " (or another image extension)",
        "MT_Fray/Imgs: no such folder; expected .jpg images with .png masks",
    ]


def test_masks_of_one_bit_and_of_0_and_1_are_read(tmp_path: Path) -> None:
    expected = np.zeros((12, 16), bool)
    expected[2:5, 3:7] = True
    for name, value, mode in (("a.png", 255, "1"), ("b.bmp", 1, "L"), ("c.tif", 255, "L")):
        np.testing.assert_array_equal(
            read_mask(write_mask(tmp_path / name, value=value, mode=mode)), expected
        )
