from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.pictures import write_image, write_mask
from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.problems import DatasetError


@pytest.fixture
def lid(tmp_path: Path) -> Path:
    """A category in a user's own words: normal, a validation split, JPEGs, BMP masks."""
    folder = tmp_path / "lid"
    for split, n in (("train", 3), ("validation", 2), ("test", 1)):
        for number in range(n):
            write_image(folder / split / "Normal" / f"cam {number}.JPG")
    write_image(folder / "test" / "Bent lid" / "cam 7.JPG")
    write_mask(folder / "ground_truth" / "Bent lid" / "cam 7.bmp")
    return folder


def test_a_users_folder(lid: Path) -> None:
    manifest = load_dataset("line7", lid.parent, "lid", layout="folder")
    assert (manifest.dataset, manifest.layout) == ("line7", "folder")
    assert [len(manifest.train), len(manifest.validation), len(manifest.test)] == [3, 2, 2]
    [bent] = manifest.select("test", 1)
    assert bent.defect_type == "Bent lid"
    assert [mask.path for mask in bent.masks] == ["lid/ground_truth/Bent lid/cam 7.bmp"]
    assert {record.defect_type for record in manifest.records if not record.label} == {"good"}


def test_validation_normals_stay_out_of_training(lid: Path) -> None:
    manifest = load_dataset("line7", lid.parent, "lid", layout="folder")
    assert not {r.digest for r in manifest.train} & {r.digest for r in manifest.validation}


def test_good_and_normal_together_are_both_read(lid: Path) -> None:
    write_image(lid / "train" / "good" / "more.png")
    assert len(load_dataset("line7", lid.parent, "lid", layout="folder").train) == 4


def test_an_empty_validation_split_is_an_error(lid: Path) -> None:
    for image in (lid / "validation" / "Normal").iterdir():
        image.unlink()
    with pytest.raises(DatasetError, match="lid/validation/Normal: no images"):
        load_dataset("line7", lid.parent, "lid", layout="folder")


def test_defects_in_validation_are_refused(lid: Path) -> None:
    write_image(lid / "validation" / "bent" / "1.png")
    with pytest.raises(DatasetError, match="validation holds normal images only; expected good or normal"):
        load_dataset("line7", lid.parent, "lid", layout="folder")


def test_an_unknown_layout_names_the_nearest(lid: Path) -> None:
    with pytest.raises(DatasetError, match="unknown layout 'foldr'; did you mean 'folder'"):
        load_dataset("line7", lid.parent, "lid", layout="foldr")
    with pytest.raises(DatasetError, match="unknown layout"):
        find_categories("line7", lid.parent)
