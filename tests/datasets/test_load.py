from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.datasets.pictures import write_mvtec_category
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.datasets.problems import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mvtec_category(tmp_path)
    return tmp_path


def test_excluded_images_are_left_out_visibly(root: Path) -> None:
    manifest = load_dataset(
        "mvtec_ad", root, "bottle", exclude=["bottle/train/good/001.png", "bottle/test/broken/*"]
    )
    assert manifest.excluded == (
        "bottle/test/broken/000.png",
        "bottle/test/broken/001.png",
        "bottle/train/good/001.png",
    )
    assert len(manifest.train) == 3
    assert {record.defect_type for record in manifest.test} == {"good", "scratched"}


def test_an_excluded_image_needs_no_mask_and_its_mask_is_no_surplus(root: Path) -> None:
    (root / "bottle" / "ground_truth" / "broken" / "000_mask.png").unlink()
    with pytest.raises(DatasetError):
        load_dataset("mvtec_ad", root, "bottle")
    excluded = [f"bottle/test/broken/{number:03d}.png" for number in range(2)]
    assert load_dataset("mvtec_ad", root, "bottle", exclude=excluded).excluded == tuple(excluded)


def test_an_exclusion_that_matches_nothing_is_an_error(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"bottle/train/good/999\.png: stands in exclude: but matches no"):
        load_dataset("mvtec_ad", root, "bottle", exclude=["bottle/train/good/999.png"])
    load_dataset("mvtec_ad", root, "bottle", exclude=["zipper/train/good/000.png"])


def test_a_name_with_brackets_is_taken_literally_first(root: Path) -> None:
    (root / "bottle" / "train" / "good" / "000.png").rename(root / "bottle" / "train" / "good" / "[1].png")
    manifest = load_dataset("mvtec_ad", root, "bottle", exclude=["bottle/train/good/[1].png"])
    assert manifest.excluded == ("bottle/train/good/[1].png",)


def test_excluding_a_whole_split_is_an_error(root: Path) -> None:
    with pytest.raises(DatasetError, match="the train split is empty"):
        load_dataset("mvtec_ad", root, "bottle", exclude=["bottle/train/*"])


def test_a_digest_cache_is_asked_for_each_file_once(root: Path) -> None:
    asked: list[Path] = []

    def digests(path: Path) -> str:
        asked.append(path)
        return path.name

    manifest = load_dataset("mvtec_ad", root, "bottle", digests=digests)
    assert len(asked) == len(set(asked)) == 9 + 3
    assert manifest.test[0].masks[0].digest == "000_mask.png"


def test_a_digest_cache_that_takes_many_is_asked_once(root: Path) -> None:
    class Cache:
        calls = 0

        def __call__(self, path: Path) -> str:
            raise AssertionError("many() is there")

        def many(self, paths: Iterable[Path]) -> dict[Path, str]:
            self.calls += 1
            return {path: Path(path).name for path in paths}

    cache = Cache()
    assert load_dataset("mvtec_ad", root, "bottle", digests=cache).train[1].digest == "001.png"
    assert cache.calls == 1


def test_a_file_that_vanishes_while_it_is_read_is_a_dataset_error(root: Path) -> None:
    def digests(path: Path) -> str:
        raise FileNotFoundError(2, "No such file", str(path))

    with pytest.raises(DatasetError, match=r"a file cannot be read: .*000\.png"):
        load_dataset("mvtec_ad", root, "bottle", digests=digests)


def test_the_garbage_collector_is_left_as_it_was(root: Path) -> None:
    load_dataset("mvtec_ad", root, "bottle")
    with pytest.raises(DatasetError):
        load_dataset("mvtec_ad", root, "botle")
    assert gc.isenabled()
