"""A small picture of one image, for a page that shows what a warning is about."""

from __future__ import annotations

import io

import numpy as np

from uad_orchestrator.reporting.pictures.heatmap import displayable
from uad_orchestrator.reporting.pictures.sheet_drawing import fitted_size, resized

_WIDTH = 160
_QUALITY = 75


def thumbnail_jpeg(image: np.ndarray, width: int = _WIDTH) -> bytes:
    """A smaller image as a JPEG.

    Args:
        image: ``(H, W, 3)`` RGB, uint8 or uint16.
        width: of the JPEG at most, in pixels.
    """
    from PIL import Image

    small = resized(displayable(image), fitted_size(image.shape[:2], width))
    encoded = io.BytesIO()
    Image.fromarray(small).save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()
