"""Made-up categories in the layout of MVTec AD, whose files cost as much to decode as photographs: noise on top.

The normals of a category are one picture under another light, shifted and with other noise; a defect is a spot, the
fainter the later it comes, so that no metric is perfect.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from uad_orchestrator.threads import available_threads

NOISE = 12
"""Grey levels of the noise: of 1024 x 1024 pixels it makes PNG files of 2 MB in colour, of .7 in grey."""

STRONGEST, FAINTEST = 90, 30
"""Grey levels that a spot adds: the first of a category and the last."""


@dataclass(frozen=True)
class Category:
    """What is drawn.

    Attributes:
        name: its folder.
        train: normals to fit on.
        normal, defective: test images.
        side: of the square images, in pixels.
        subject: ``photo`` in colour, or a ``screw`` in grey, turned differently in each image.
        seed: of everything that is drawn.
    """

    name: str
    train: int
    normal: int
    defective: int
    side: int
    subject: Literal["photo", "screw"] = "photo"
    seed: int = 0


def draw(category: Category, root: Path) -> Path:
    """Write a category's images and masks on all threads.

    Returns:
        Its folder, ``<root>/<name>``.
    """
    folder = root / category.name
    counts = {"train/good": category.train, "test/good": category.normal, "test/spot": category.defective}
    for part in (*counts, "ground_truth/spot"):
        (folder / part).mkdir(parents=True)
    paint = {"photo": _photo, "screw": _screw}[category.subject](category)
    places = [(part, number) for part, count in counts.items() for number in range(count)]
    with ThreadPoolExecutor(available_threads()) as pool:
        list(pool.map(lambda job: _write(folder, category, paint, *job), enumerate(places)))
    return folder


Paint = Callable[[np.random.Generator], np.ndarray]
"""One normal image, without noise: ``(side, side)`` or ``(side, side, 3)`` uint8 with room for noise and spots."""


def _write(folder: Path, category: Category, paint: Paint, index: int, place: tuple[str, int]) -> None:
    import cv2
    from PIL import Image

    part, number = place
    rng = np.random.default_rng((category.seed, index))
    image = paint(rng)
    if part == "test/spot":
        mask = _spot(rng, category.side)
        faded = STRONGEST + (FAINTEST - STRONGEST) * number // max(1, category.defective - 1)
        image = np.where(
            mask.reshape(*mask.shape, *[1] * (image.ndim - 2)), cv2.add(image, float(faded)), image
        )
        Image.fromarray(mask.astype(np.uint8) * 255).save(
            folder / "ground_truth" / "spot" / f"{number:03}_mask.png"
        )
    noisy = cv2.add(image, rng.integers(0, NOISE, image.shape, dtype=np.uint8))
    Image.fromarray(noisy).save(folder / part / f"{number:03}.png", compress_level=1)


def _spot(rng: np.random.Generator, side: int) -> np.ndarray:
    """``(side, side)`` bool: an ellipse about the middle."""
    import cv2

    mask = np.zeros((side, side), np.uint8)
    centre = rng.integers(side * 3 // 10, side * 7 // 10, 2)
    axes = rng.integers(max(2, side // 60), max(3, side // 15), 2)
    cv2.ellipse(mask, centre.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return mask.astype(bool)


def _photo(category: Category) -> Paint:
    import cv2

    side, room = category.side, category.side // 64
    coarse = np.random.default_rng(category.seed).integers(20, 130, (24, 24, 3), dtype=np.uint8)
    whole = cv2.resize(coarse, (side + room, side + room), interpolation=cv2.INTER_CUBIC)

    def paint(rng: np.random.Generator) -> np.ndarray:
        top, left = rng.integers(0, room + 1, 2)
        return cv2.add(whole[top : top + side, left : left + side], np.full(4, rng.uniform(0, 12)))

    return paint


def _screw(category: Category) -> Paint:
    """A bright screw with head, shaft and thread, turned by chance, on a background that is lit from one side."""
    import cv2

    side = category.side
    light = np.linspace(40, 70, side, dtype=np.float32)[:, None].repeat(side, axis=1).astype(np.uint8)
    upright = np.zeros((side, side), np.uint8)
    middle, width = side // 2, side // 16
    cv2.rectangle(upright, (middle - width, side // 5), (middle + width, side * 4 // 5), 60, -1)
    for turn in range(side // 4, side * 4 // 5, max(4, side // 40)):
        cv2.line(
            upright, (middle - width, turn), (middle + width, turn - width // 2), 95, max(1, side // 170)
        )
    cv2.rectangle(upright, (middle - 2 * width, side // 6), (middle + 2 * width, side // 4), 80, -1)

    def paint(rng: np.random.Generator) -> np.ndarray:
        turned = cv2.getRotationMatrix2D((middle, middle), float(rng.uniform(0, 360)), 1.0)
        return cv2.add(light, cv2.warpAffine(upright, turned, (side, side), flags=cv2.INTER_LINEAR))

    return paint
