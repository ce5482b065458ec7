"""Small datasets as people bring them: twelve normals, five good and six scratched test images of 96 px each.

Each stands for a kind. A test makes one with ``housing`` and holds its figures against the tidy one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

SIZE = 96
CATEGORY = "line7/housing"
DETECTORS = "detectors:\n  patchcore: {model: vision_patchcore, embedder: filter_bank, contamination: 0.1}\n"
NAMES = ("train/good", "test/good", "test/scratch", "ground_truth/scratch")

Change = Callable[[np.ndarray], np.ndarray]


def picture(seed: int, *, defect: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A machined disc on a grey plate, ``(96, 96, 3)`` uint8 RGB, and its defect mask (0 or 255)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) - SIZE / 2
    radius = np.hypot(x, y)
    grey = np.where(radius < 34, 150 + 20 * np.cos(radius / 2.5), 70.0)
    grey = grey + cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE)).astype(np.float32), (0, 0), 1) * 8
    image = np.stack([grey, grey * 0.95, grey * 0.85], -1)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if defect:
        angle = rng.uniform(0, 2 * np.pi)
        start = (int(48 + 20 * np.cos(angle)), int(48 + 20 * np.sin(angle)))
        end = (int(48 - 12 * np.cos(angle)), int(48 + 10 * np.sin(angle)))
        cv2.line(mask, start, end, 255, 3)
        image[mask > 0] = (30, 30, 60)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """Write an image file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write_category(
    root: Path,
    *,
    train: int = 12,
    good: int = 5,
    bad: int = 6,
    masks: bool = True,
    image: Change = lambda pixels: pixels,
    mask: Change = lambda pixels: pixels,
    ext: str = "png",
    names: tuple[str, str, str, str] = NAMES,
) -> None:
    """A category in ``root``; ``image`` and ``mask`` change the pixels before they are written."""
    for i in range(train):
        save(root / names[0] / f"{i:03}.{ext}", image(picture(i)[0]))
    for i in range(good):
        save(root / names[1] / f"{i:03}.{ext}", image(picture(100 + i)[0]))
    for i in range(bad):
        pixels, defect = picture(200 + i, defect=True)
        save(root / names[2] / f"{i:03}.{ext}", image(pixels))
        if masks:
            save(root / names[3] / f"{i:03}_mask.png", mask(defect))


def write_project(home: Path, *, dataset: str = "", more: str = "", root: str = "images") -> None:
    """A uad.yaml with the dataset ``line7``; ``dataset`` are further keys of it, ``more`` further sections."""
    home.mkdir(parents=True, exist_ok=True)
    keys = f"layout: folder, root: {root}" + (f", {dataset}" if dataset else "")
    (home / "uad.yaml").write_text(f"datasets:\n  line7: {{{keys}}}\n{more}{DETECTORS}")


def housing(home: Path, *, dataset: str = "", more: str = "", **changes: Any) -> Path:
    """A project with the category ``line7/housing``; ``changes`` as in ``write_category``. Returns its folder."""
    write_project(home, dataset=dataset, more=more)
    root = home / "images" / "housing"
    write_category(root, **changes)
    return root
