"""Masks that cannot be meant are named before anything is computed; masks that can are left in peace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.own_data.cases import SIZE, save, write_category
from uad_orchestrator.datasets.checks.masks import check_masks
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.datasets.problems import DatasetProblem

Mask = Callable[[np.ndarray], np.ndarray]
FOLDER = "housing/ground_truth/scratch"


def found(root: Path, **changes: Any) -> list[DatasetProblem]:
    write_category(root / "housing", train=1, good=1, **changes)
    return check_masks(load_dataset("line7", root, "housing", layout="folder"))


def told(problems: list[DatasetProblem]) -> list[tuple[str, str]]:
    return [(Path(problem.path).name, problem.severity) for problem in problems]


ALL = [f"{number:03}_mask.png" for number in range(6)]


def one_of(change: Mask, number: int = 2) -> Mask:
    """The change of one mask of the six."""
    seen: list[int] = []

    def changed(mask: np.ndarray) -> np.ndarray:
        seen.append(0)
        return change(mask) if len(seen) == number + 1 else mask

    return changed


def in_alpha(mask: np.ndarray) -> np.ndarray:
    return np.dstack([np.full_like(mask, 255)] * 3 + [mask])


def large(mask: np.ndarray) -> np.ndarray:
    """A defect on most of the part, which leaves the border free."""
    filled = np.zeros_like(mask)
    filled[8:-8, 8:-8] = 255
    return filled


@pytest.mark.parametrize(
    "mask",
    [
        lambda mask: (mask // 255 + 1).astype(np.uint8),
        lambda mask: np.maximum(mask, 10),
        lambda mask: np.dstack([np.where(mask > 0, 255, 90), *[np.full_like(mask, 90)] * 2]).astype(np.uint8),
    ],
    ids=["labels 1 and 2", "a grey background", "drawn in red on a photograph"],
)
def test_a_background_above_0_in_most_masks_is_an_error(tmp_path: Path, mask: Mask) -> None:
    problems = found(tmp_path, mask=mask)
    assert told(problems) == [(name, "error") for name in ALL]
    assert all("100 % of its image" in problem.message for problem in problems)
    assert all("its background is not black" in problem.message for problem in problems)


@pytest.mark.parametrize("mask", [lambda m: m, lambda m: m // 255, in_alpha, lambda m: np.dstack([m] * 3)])
def test_masks_that_can_be_meant_are_left_in_peace(tmp_path: Path, mask: Mask) -> None:
    assert found(tmp_path, mask=mask) == []


def test_inverted_masks_are_errors_that_name_the_files(tmp_path: Path) -> None:
    problems = found(tmp_path, mask=lambda mask: 255 - mask)
    assert told(problems) == [(name, "error") for name in ALL]
    assert "looks inverted" in problems[0].message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda mask: 255 - mask, "looks inverted"),
        (large, "covers 69.4 % of its image"),
        (lambda mask: np.full_like(mask, 255), "covers 100 % of its image"),
        (
            np.zeros_like,
            "empty: it shows no defect on housing/test/scratch/002.png, which is labelled defective",
        ),
        (
            lambda mask: cv2.GaussianBlur(mask, (7, 7), 2),
            "different values; every pixel above 0 counts as defect",
        ),
    ],
)
def test_one_odd_mask_is_a_warning(tmp_path: Path, change: Mask, says: str) -> None:
    [problem] = found(tmp_path, mask=one_of(change))
    assert (problem.path, problem.severity) == (f"{FOLDER}/002_mask.png", "warning")
    assert says in problem.message


def test_defects_that_are_large_in_most_images_stop_nothing(tmp_path: Path) -> None:
    assert told(found(tmp_path, mask=large)) == [(name, "warning") for name in ALL]


def test_a_mask_that_cannot_be_read_or_holds_nan_is_an_error(tmp_path: Path) -> None:
    write_category(tmp_path / "housing", train=1, good=1)
    values = np.zeros((SIZE, SIZE), np.float32)
    values[5, 5] = np.nan
    (tmp_path / FOLDER / "000_mask.png").unlink()
    save(tmp_path / FOLDER / "000_mask.tif", values)
    damaged = tmp_path / FOLDER / "001_mask.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    problems = check_masks(load_dataset("line7", tmp_path, "housing", layout="folder"))
    assert told(problems) == [("000_mask.tif", "error"), ("001_mask.png", "error")]
    assert "NaN" in problems[0].message and "cut short" in problems[1].message


def test_a_mask_of_a_normal_that_shows_a_defect_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "housing/ground_truth/good/000.png", np.eye(SIZE, dtype=np.uint8))
    [problem] = found(tmp_path)
    assert (problem.path, problem.severity) == ("housing/ground_truth/good/000.png", "error")
    assert "housing/test/good/000.png, which is labelled normal" in problem.message


def test_what_is_remembered_is_not_decoded_again(tmp_path: Path) -> None:
    write_category(tmp_path / "housing", train=1, good=1, mask=lambda mask: 255 - mask)
    manifest = load_dataset("line7", tmp_path, "housing", layout="folder")
    memory: dict[str, Any] = {}

    def remember(key: str, find: Callable[[], Any]) -> Any:
        return memory[key] if key in memory else memory.setdefault(key, find())

    first = check_masks(manifest, remember)
    for mask in (tmp_path / FOLDER).iterdir():
        mask.unlink()
    assert check_masks(manifest, remember) == first
    assert len(memory) == len(ALL)
