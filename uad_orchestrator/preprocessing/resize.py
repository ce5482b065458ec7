"""The step ``resize``: the whole image onto another canvas.

It stretches all of the image onto all of the canvas, so the two sizes are its inverse: what lies at ``y`` of a
canvas of height ``h`` lies at ``y * H / h`` of the image.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from uad_orchestrator.preprocessing.step import StepSettings

Size = tuple[int, int]
"""``(H, W)`` in pixels."""


class ResizeStep(StepSettings):
    """A step after which the image is of another size."""

    STEP = "resize"

    def size_after(self, size: Size) -> Size:
        """``(h, w)`` of the canvas, for an image of ``(H, W)``; at least one pixel."""
        raise NotImplementedError


class ResizeScale(ResizeStep):
    """Both edges by one factor."""

    method: Literal["scale"] = "scale"
    factor: float = Field(0.5, gt=0, le=4, description="of both edges; 1 keeps the size")

    def size_after(self, size: Size) -> Size:
        return _scaled(size, self.factor)


class ResizeShorterEdge(ResizeStep):
    """The shorter edge to a number of pixels, the other in proportion."""

    method: Literal["shorter_edge"] = "shorter_edge"
    pixels: int = Field(512, ge=8, le=16384, description="of the shorter edge")

    def size_after(self, size: Size) -> Size:
        return _scaled(size, self.pixels / min(size))


class ResizeSquash(ResizeStep):
    """Height and width as given, whatever the image's proportions are."""

    method: Literal["squash"] = "squash"
    height: int = Field(512, ge=8, le=16384, description="in pixels")
    width: int = Field(512, ge=8, le=16384, description="in pixels")

    def size_after(self, size: Size) -> Size:
        return self.height, self.width


def resize(unit: np.ndarray, step: ResizeStep) -> np.ndarray:
    """The image on its new canvas: means over the area where it shrinks, bilinear where it grows.

    Args:
        unit: ``(H, W, 3)`` float32.
    """
    import cv2

    size = unit.shape[0], unit.shape[1]
    height, width = step.size_after(size)
    if (height, width) == size:
        return unit
    for axis_size in (
        (height, size[1]),
        (height, width),
    ):  # an edge at a time: one may shrink, the other grow
        shrinks = axis_size[0] * axis_size[1] < unit.shape[0] * unit.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        unit = cv2.resize(unit, axis_size[::-1], interpolation=how)
    return unit


def _scaled(size: Size, factor: float) -> Size:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
