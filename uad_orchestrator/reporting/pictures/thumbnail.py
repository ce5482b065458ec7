"""One image as browsers show it: small, for a page that says something of it, and large, to be looked at."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from uad_orchestrator.reporting.pictures.heatmap import displayable
from uad_orchestrator.reporting.pictures.sheet_drawing import fitted_size, resized

_WIDTH = 160
_QUALITY = 75

VIEW_SIDE = 1600
"""Pixels of the longer side of a picture to be looked at, at most."""
_VIEW_QUALITY = 90


def thumbnail_jpeg(image: np.ndarray, width: int = _WIDTH) -> bytes:
    """A smaller image as a JPEG.

    Args:
        image: ``(H, W, 3)`` RGB, uint8 or uint16.
        width: of the JPEG at most, in pixels.
    """
    return _jpeg(resized(displayable(image), fitted_size(image.shape[:2], width)), _QUALITY)


def view_jpeg(image: np.ndarray) -> bytes:
    """An image as a JPEG of at most ``VIEW_SIDE`` pixels a side.

    Args:
        image: ``(H, W, 3)`` RGB, uint8 or uint16.
    """
    return _jpeg(resized(displayable(image), at_most(image.shape[:2], VIEW_SIDE)), _VIEW_QUALITY)


def at_most(size: Sequence[int], side: int) -> tuple[int, int]:
    """``(H, W)`` with its proportions, its longer side no longer than ``side``.

    >>> at_most((400, 1000), 500)
    (200, 500)
    """
    height, width = size
    factor = min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
