"""The step ``roi``: which part of the original image is inspected. Pixels stay as they are.

What lies outside is neither fitted nor scored. A part is given as a rectangle, a polygon or a mask image; with
several ``roi`` steps what is inside all of them is inspected.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from uad_orchestrator.preprocessing.step import StepSettings

Unit = Literal["fraction", "pixels"]


class Roi(StepSettings):
    """A region of interest on the original image, wherever it stands in the preset."""

    STEP = "roi"
    CHANGES_PIXELS = False

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """``(H, W)`` bool, True where an image of that size is inspected.

        Raises:
            ValueError: the region reaches beyond the image, or holds none of its pixels.
        """
        raise NotImplementedError


class RoiRectangle(Roi):
    """An upright rectangle. A pixel is inside where its centre is."""

    method: Literal["rectangle"] = "rectangle"
    top: float = Field(0.0, ge=0)
    left: float = Field(0.0, ge=0)
    bottom: float = Field(1.0, gt=0)
    right: float = Field(1.0, gt=0)
    unit: Unit = Field("fraction", description="of height and width, or pixels")

    @model_validator(mode="after")
    def _has_an_inside(self) -> RoiRectangle:
        if self.top >= self.bottom or self.left >= self.right:
            raise ValueError("top must be above bottom and left before right")
        _check_fractions([(self.bottom, self.right)], self.unit)
        return self

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        corners = _in_pixels([(self.top, self.left), (self.bottom, self.right)], self.unit, size)
        (top, left), (bottom, right) = corners
        rows, columns = (np.arange(n) + 0.5 for n in size)
        return ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))


class RoiPolygon(Roi):
    """A polygon, its points in order; a pixel is inside where its centre is (even-odd rule)."""

    method: Literal["polygon"] = "polygon"
    points: tuple[tuple[float, float], ...] = Field(description="`[x, y]` of each corner, three or more")
    unit: Unit = Field("fraction", description="of width and height, or pixels")

    @model_validator(mode="after")
    def _is_a_polygon(self) -> RoiPolygon:
        if len(self.points) < 3:
            raise ValueError(f"a polygon has three points or more, got {len(self.points)}")
        if any(value < 0 for point in self.points for value in point):
            raise ValueError("points lie on the image: no coordinate is below 0")
        _check_fractions(self.points, self.unit)
        return self

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        from skimage.draw import polygon2mask

        corners = _in_pixels([(y, x) for x, y in self.points], self.unit, size)
        return polygon2mask(size, corners - 0.5)


class RoiMask(Roi):
    """A mask image of the images' own size: inspected where any channel is above 0.

    The file's content is part of the recipe, not where it lies.
    """

    method: Literal["mask"] = "mask"
    path: Path = Field(description="the mask image, relative to the project file")

    def recipe(self) -> dict[str, Any]:
        """As of every step, with the digest of the file in place of its path; ImageError if it is missing."""
        from uad_orchestrator.images.file_facts import image_digest

        return {**super().recipe(), "path": None, "sha256": image_digest(self.path)}

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        from uad_orchestrator.images.decode import read_mask

        found = read_mask(self.path)
        if found.shape != size:
            raise ValueError(f"the roi mask {self.path} is {found.shape}, the image {size}: they must agree")
        return found


def inspected_pixels(regions: Sequence[Roi], size: tuple[int, int]) -> np.ndarray | None:
    """``(H, W)`` bool, True where all ``regions`` let an image of that size be inspected; None: everywhere.

    Raises:
        ValueError: a region reaches beyond the image, or nothing is left to inspect.

    >>> inspected_pixels([RoiRectangle(bottom=0.5)], (4, 6)).sum(axis=1).tolist()
    [6, 6, 0, 0]
    """
    if not regions:
        return None
    inside = np.logical_and.reduce([region.mask(size) for region in regions])
    if not inside.any():
        raise ValueError(f"no pixel of an image of {size} lies inside the roi")
    return inside


def patch_coverage(inside: np.ndarray, region: Sequence[float], grid_shape: tuple[int, int]) -> np.ndarray:
    """The share of each patch's cell that is inspected.

    Args:
        inside: ``(H, W)`` bool.
        region: top, left, bottom, right of the grid on the image, in pixels; may begin within a pixel.
        grid_shape: ``(gh, gw)``.

    Returns:
        ``(gh, gw)`` float64 in [0, 1]; what lies beyond the image counts as not inspected.

    >>> patch_coverage(np.array([[1, 1, 1, 0]], bool), (0, 0, 1, 4), (1, 2)).tolist()
    [[1.0, 0.5]]
    """
    top, left, bottom, right = region
    rows = _overlaps(np.linspace(top, bottom, grid_shape[0] + 1), inside.shape[0])
    columns = _overlaps(np.linspace(left, right, grid_shape[1] + 1), inside.shape[1])
    cell = (bottom - top) * (right - left) / (grid_shape[0] * grid_shape[1])
    return rows @ inside.astype(np.float64) @ columns.T / cell


def _overlaps(edges: np.ndarray, size: int) -> np.ndarray:
    """How much of each pixel lies in each cell along an axis: ``(cells, size)``."""
    pixels = np.arange(size)
    begin = np.maximum(edges[:-1, None], pixels)
    end = np.minimum(edges[1:, None], pixels + 1)
    return np.clip(end - begin, 0, None)


def _check_fractions(points: Sequence[tuple[float, float]], unit: Unit) -> None:
    if unit == "fraction" and any(value > 1 for point in points for value in point):
        raise ValueError("fractions are at most 1; for pixels write `unit: pixels`")


def _in_pixels(points: Sequence[tuple[float, float]], unit: Unit, size: tuple[int, int]) -> np.ndarray:
    """``(n, 2)`` rows of (y, x) in pixels; ValueError where one lies beyond the image."""
    found = np.array(points, dtype=np.float64) * (size if unit == "fraction" else 1)
    if (found > size).any():
        raise ValueError(f"the roi reaches to {found.max(axis=0).tolist()} (y, x), beyond the image's {size}")
    return found
