"""Miniature data sets for the tests of the layouts."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 16)


def write_image(path: Path, size: tuple[int, int] = SIZE) -> Path:
    """An RGB picture whose pixels depend on its path, so that no two are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(path).encode())
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def write_mask(path: Path, size: tuple[int, int] = SIZE, *, value: int = 255, mode: str = "L") -> Path:
    """A mask with a 3 x 4 defect of ``value``; mode "1" stores one bit per pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size, np.uint8)
    pixels[2:5, 3:7] = value
    image = Image.fromarray(pixels)
    if mode == "1":
        image = image.point(lambda v: 255 if v else 0).convert("1")
    image.save(path)
    return path


def write_defects_config(folder: Path, kinds: dict[str, int], saturation: float = 1.0) -> Path:
    """MVTec LOCO's: each defect's pixel value, all saturated at this share of their area."""
    entries = [
        {
            "defect_name": name,
            "pixel_value": value,
            "saturation_threshold": saturation,
            "relative_saturation": True,
        }
        for name, value in kinds.items()
    ]
    path = folder / "defects_config.json"
    path.write_text(json.dumps(entries))
    return path


def write_mvtec_category(root: Path, category: str = "bottle") -> Path:
    """As published: 4 for training; 2 good, 2 broken, 1 scratched for testing."""
    folder = root / category
    for number in range(4):
        write_image(folder / "train" / "good" / f"{number:03d}.png")
    for number in range(2):
        write_image(folder / "test" / "good" / f"{number:03d}.png")
    for defect, n in (("broken", 2), ("scratched", 1)):
        for number in range(n):
            write_image(folder / "test" / defect / f"{number:03d}.png")
            write_mask(folder / "ground_truth" / defect / f"{number:03d}_mask.png")
    return folder
