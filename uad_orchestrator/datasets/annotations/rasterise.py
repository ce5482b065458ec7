"""From shapes to masks: COCO's as pycocotools draws them. What lies outside of the image is an error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uad_orchestrator.datasets.annotations.annotation_files import EntryError
from uad_orchestrator.datasets.annotations.marks import (
    Bitmap,
    Box,
    CocoPolygons,
    Polygon,
    RunLengths,
    Shape,
)
from uad_orchestrator.images.header import size_words

_TOLERANCE = 1.0
"""By how many pixels a shape may reach over the border: rounding of annotation tools."""
_FAR = 1e6
"""No image has as many pixels in a row."""


def draw(shape: Shape, size: tuple[int, int], *, clip: bool = False) -> np.ndarray:
    """The pixels of a shape that is a mask.

    Args:
        shape: a polygon, run lengths or a bitmap, in pixels.
        size: ``(H, W)`` of the image, as its file has it.
        clip: whether what reaches over the border is cut off; else it is an error.

    Returns:
        ``(H, W)`` bool.

    Raises:
        EntryError: the shape does not fit the image, or covers no pixel of it.

    >>> draw(Polygon(np.array([[0, 0], [2, 0], [0, 2]])), (3, 4)).astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 0, 0],
           [1, 0, 0, 0]])
    """
    if isinstance(shape, RunLengths):
        mask = _run_lengths(shape, size)
    elif isinstance(shape, Bitmap):
        mask = _paste(shape, size, clip)
    elif isinstance(shape, CocoPolygons):
        for part in shape.parts:
            check_inside(part, size, clip)
        mask = _coco_polygons(shape.parts, size)
    elif isinstance(shape, Polygon):
        check_inside(shape.points, size, clip)
        mask = _polygon(shape.points, size)
    else:
        raise TypeError("a box is no mask")
    if not mask.any():
        raise EntryError("covers no pixel; draw it anew, or take it out")
    return mask


def box_around(shape: Shape | None, size: tuple[int, int], *, clip: bool = False) -> Box | None:
    """The box that a shape is, by its kind or because it is a rectangle; None for any other.

    Args:
        shape: in pixels.
        size: ``(H, W)`` of the image.
        clip: as in ``draw``.

    Returns:
        The box; of a turned rectangle the upright one around it.

    Raises:
        EntryError: it is empty, or lies outside of the image.
    """
    if isinstance(shape, Box):
        corners = np.array([[shape.left, shape.top], [shape.left + shape.width, shape.top + shape.height]])
        if shape.width < 0 or shape.height < 0:
            raise EntryError(
                f"a box of {shape.width:g} x {shape.height:g} (width x height); expected positive ones"
            )
    elif isinstance(shape, Polygon) and _is_rectangle(shape.points):
        corners = shape.points
    elif isinstance(shape, CocoPolygons) and all(_is_rectangle(part) for part in shape.parts):
        corners = np.concatenate(shape.parts)
    else:
        return None
    check_inside(corners, size, clip)
    low = np.clip(corners.min(axis=0), 0, size[::-1])
    return Box(*map(float, low), *map(float, np.clip(corners.max(axis=0), 0, size[::-1]) - low))


def in_pixels(shape: Shape | None, size: tuple[int, int]) -> Shape | None:
    """A polygon or box given in parts of width and height, in pixels."""
    height, width = size
    if isinstance(shape, Polygon):
        return Polygon(shape.points * (width, height))
    if isinstance(shape, Box):
        return Box(shape.left * width, shape.top * height, shape.width * width, shape.height * height)
    return shape


def check_inside(points: np.ndarray, size: tuple[int, int], clip: bool) -> None:
    """Points of a shape lie in the image.

    Raises:
        EntryError: some do not, beyond rounding; with ``clip``: none does.
    """
    height, width = size
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    where = f"x {left:g} to {right:g}, y {top:g} to {bottom:g} in an image of {size_words(size)}"
    if max(right, bottom, -left, -top) > _FAR or left >= width or top >= height or right < 0 or bottom < 0:
        raise EntryError(f"lies outside of the image: {where}")
    over = max(-left, -top, right - width, bottom - height)
    if over > _TOLERANCE and not clip:
        raise EntryError(
            f"reaches over the image's border by {over:g} pixels: {where}; correct it, or add --clip"
        )


def _polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Inside and outline, as OpenCV fills it, and Ultralytics with it; an outline that OpenCV found comes back."""
    import cv2

    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1)
    return canvas > 0


def _coco_polygons(parts: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """As pycocotools draws them; where all coordinates are whole numbers they name pixels, which then belong to it.

    In COCO's own files a coordinate lies between pixels. Outlines found in a mask go through pixels instead: of a
    scratch three pixels wide pycocotools would leave two.
    """
    from pycocotools import mask as coco

    if all(np.array_equal(part, np.round(part)) for part in parts):
        return np.logical_or.reduce([_polygon(part, size) for part in parts])
    runs = coco.frPyObjects([part.ravel().tolist() for part in parts], *size)
    return np.asarray(coco.decode(coco.merge(runs)), bool)


def _run_lengths(shape: RunLengths, size: tuple[int, int]) -> np.ndarray:
    """Checked before pycocotools gets them: it leaves what too few runs do not reach as it was in memory."""
    from pycocotools import mask as coco

    if shape.size != size:
        raise EntryError(f"run lengths of {size_words(shape.size)}, but the image is {size_words(size)}")
    counts = _expand(shape.counts) if isinstance(shape.counts, str) else list(shape.counts)
    if min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]:
        raise EntryError(
            f"its run lengths add up to {sum(counts)}, but the image has {size[0] * size[1]} pixels"
        )
    return np.asarray(coco.decode(coco.frPyObjects({"size": list(size), "counts": counts}, *size)), bool)


def _expand(text: str) -> list[int]:
    """COCO's compressed counts: five bits a character, from the third run on the difference to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        if not 0 <= bits < 64:
            raise EntryError(f"{chr(character)!r} in its compressed run lengths; the file is damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= 1 << shift if bits & 16 else 0
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def _paste(shape: Bitmap, size: tuple[int, int], clip: bool) -> np.ndarray:
    height, width = shape.pixels.shape
    corners = np.array([[shape.left, shape.top], [shape.left + width, shape.top + height]])
    check_inside(corners, size, clip)
    mask = np.zeros(size, bool)
    top, left = max(shape.top, 0), max(shape.left, 0)
    part = shape.pixels[top - shape.top :, left - shape.left :][: size[0] - top, : size[1] - left]
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return mask


def _is_rectangle(points: np.ndarray) -> bool:
    """Four corners of right angles; the first may be said once more at the end."""
    corners = points[:-1] if len(points) == 5 and np.array_equal(points[0], points[-1]) else points
    if len(corners) != 4:
        return False
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(*sides.T)
    products = np.abs((sides * np.roll(sides, -1, axis=0)).sum(axis=1))
    return bool(lengths.min() > 0 and np.all(products <= 0.01 * lengths * np.roll(lengths, -1)))
