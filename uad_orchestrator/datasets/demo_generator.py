"""The demo set: pictures of a texture, an aligned object and an object in free rotation, with exact masks.

The same seed gives the same bytes on every machine (see ``demo_pictures``). A defective picture and its
normal counterpart share part, light and noise, so the mask is exactly the set of pixels the defect changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uad_orchestrator.datasets.demo_pictures import connector, gear, weave
from uad_orchestrator.datasets.demo_pictures.exact import Draws, Picture, photograph
from uad_orchestrator.datasets.demo_pictures.surface_defects import Defect
from uad_orchestrator.images.stored_png import encode_stored_png
from uad_orchestrator.storage.atomic import new_folder


@dataclass(frozen=True)
class DemoSizes:
    """How many images of each kind a category gets.

    Attributes:
        train: normals to fit.
        test_good: normals to test.
        test_per_defect: defective images to test, of each defect type.
    """

    train: int = 30
    test_good: int = 10
    test_per_defect: int = 4


class _Painter(NamedTuple):
    number: int
    paint: Callable[[Draws, Defect | None], Picture]
    defects: tuple[str, ...]


_PAINTERS = {
    "connector": _Painter(0, connector.paint_connector, connector.DEFECTS),
    "gear": _Painter(1, gear.paint_gear, gear.DEFECTS),
    "weave": _Painter(2, weave.paint_weave, weave.DEFECTS),
}

DEMO_CATEGORIES: tuple[str, ...] = tuple(_PAINTERS)
"""The categories, known without generating anything."""

_SEVERITIES = (1.0, 0.7, 0.5, 0.35)
_TRAIN, _TEST_GOOD, _DEFECTIVE, _FRESH = range(4)  # keys of independent random streams


def generate_demo(
    root: Path | str,
    *,
    seed: int = 0,
    sizes: DemoSizes | None = None,
    categories: Iterable[str] = DEMO_CATEGORIES,
) -> None:
    """Write the demo set in MVTec AD's layout below ``root``; categories that are there are left alone.

    Each category is written aside and renamed, so that it is there completely or not at all.

    Args:
        root: the folder that holds the categories; made if needed.
        seed: of all that is drawn; the same seed gives the same bytes on every machine.
        sizes: how many images; None: 30 normals to fit, 10 and 4 per defect type to test.
        categories: which of ``DEMO_CATEGORIES``.

    Raises:
        ValueError: an unknown category.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     generate_demo(folder, categories=["weave"], sizes=DemoSizes(train=2, test_good=1, test_per_defect=1))
    ...     len(list(Path(folder).glob("weave/train/good/*.png")))
    2
    """
    root = Path(root)
    sizes = sizes or DemoSizes()
    for category in categories:
        painter = _painter(category)
        folder = root / category
        if not folder.exists():
            # Another process may be faster: it writes the same bytes, so its folder stays.
            with new_folder(folder, keep=folder.exists) as aside:
                _write_category(aside, painter, seed, sizes)


def generate_normals(category: str, n: int, seed: int = 0, start: int = 0) -> Iterator[np.ndarray]:
    """Fresh normals of a category, none of which is in the demo set.

    Args:
        category: one of ``DEMO_CATEGORIES``.
        n: how many.
        seed: of all that is drawn.
        start: skips that many; two calls with adjoining ranges give what one call gives.

    Yields:
        ``n`` images, ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: an unknown category.
    """
    painter = _painter(category)
    for number in range(start, start + n):
        yield _picture(painter, seed, _FRESH, number)


def write_normals(folder: Path | str, category: str, n: int, *, seed: int = 0, start: int = 0) -> list[Path]:
    """``generate_normals`` as PNG files ``NNNN.png``.

    Args:
        folder: where they are written; made if needed.
        category: one of ``DEMO_CATEGORIES``.
        n: how many.
        seed: of all that is drawn.
        start: number of the first.

    Returns:
        Their paths, in order.

    Raises:
        ValueError: an unknown category.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, image in enumerate(generate_normals(category, n, seed, start), start):
        paths.append(folder / f"{number:04d}.png")
        paths[-1].write_bytes(encode_stored_png(image))
    return paths


def generate_defective(
    category: str, defect_type: str, number: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A defective picture and its mask.

    Args:
        category: one of ``DEMO_CATEGORIES``.
        defect_type: one of the category's own, e.g. ``scratch`` of ``connector``.
        number: which one; it grades the difficulty, 0, 4, 8, .. are seen at once, 3, 7, 11, .. only when
            looked for.
        seed: of all that is drawn.

    Returns:
        The picture, ``(H, W, 3)`` uint8 RGB, and the pixels that the defect changed, ``(H, W)`` bool.

    Raises:
        ValueError: an unknown category, or one without such a defect type.
    """
    painter = _painter(category)
    if defect_type not in painter.defects:
        raise ValueError(f"{category} has no defect {defect_type!r}; expected {', '.join(painter.defects)}")
    kind = painter.defects.index(defect_type)
    stream = number * len(painter.defects) + kind
    severity = _SEVERITIES[number % len(_SEVERITIES)]
    defect = Defect(defect_type, severity, Draws(seed, painter.number, _DEFECTIVE, stream, 1))
    normal = _picture(painter, seed, _DEFECTIVE, stream)
    defective = _picture(painter, seed, _DEFECTIVE, stream, defect)
    return defective, (defective != normal).any(axis=2)


def _picture(
    painter: _Painter, seed: int, purpose: int, number: int, defect: Defect | None = None
) -> np.ndarray:
    """One shot; the defect draws from a stream of its own, so part, light and noise do not depend on it."""
    part = Draws(seed, painter.number, purpose, number, 0)
    camera = Draws(seed, painter.number, purpose, number, 2)
    return photograph(painter.paint(part, defect), camera)


def _painter(category: str) -> _Painter:
    if category not in _PAINTERS:
        raise ValueError(f"unknown demo category {category!r}; expected one of {', '.join(_PAINTERS)}")
    return _PAINTERS[category]


def _write_category(folder: Path, painter: _Painter, seed: int, sizes: DemoSizes) -> None:
    for split, purpose, n in (("train", _TRAIN, sizes.train), ("test", _TEST_GOOD, sizes.test_good)):
        for number in range(n):
            _write(folder / split / "good" / f"{number:03d}.png", _picture(painter, seed, purpose, number))
    category = next(name for name, known in _PAINTERS.items() if known is painter)
    for defect_type in painter.defects:
        for number in range(sizes.test_per_defect):
            image, mask = generate_defective(category, defect_type, number, seed)
            _write(folder / "test" / defect_type / f"{number:03d}.png", image)
            mask_path = folder / "ground_truth" / defect_type / f"{number:03d}_mask.png"
            _write(mask_path, mask.astype(np.uint8) * np.uint8(255))


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_stored_png(pixels))
