"""The pictures of the page: an image as browsers show it, and its anomaly map laid over it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from uad_orchestrator.images.decode import read_image
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, displayable, overlay

LONGEST_SIDE = 1600
QUALITY = 90


def picture_jpeg(picture: Path, reading: ReadingSettings) -> bytes:
    """An image as JPEG, at most 1600 pixels on a side, whatever it was stored as.

    Raises:
        ImageError: it cannot be read.
    """
    return _jpeg(displayable(read_image(picture, reading)))


def map_jpeg(picture: Path, anomaly_map: Path, reading: ReadingSettings, scale: HeatmapScale | None) -> bytes:
    """The same with its anomaly map over it.

    Args:
        picture: the image.
        anomaly_map: a TIFF, float32, ``(H, W)`` as the image.
        reading: how the image is read.
        scale: the cell's colours; None: the map's own.

    Raises:
        ImageError: the image cannot be read.
        ValueError: the map cannot, or has another size.
    """
    import tifffile

    image = displayable(read_image(picture, reading))
    try:
        values = np.asarray(tifffile.imread(anomaly_map, maxworkers=1), dtype=np.float32)
    except (tifffile.TiffFileError, OSError) as error:
        raise ValueError(f"{anomaly_map} cannot be read: {error}") from error
    if values.shape != image.shape[:2] or not np.isfinite(values).all():
        raise ValueError(
            f"{anomaly_map} is {values.shape}, its image {image.shape[:2]}; expected finite values of its size"
        )
    return _jpeg(overlay(image, values, scale or HeatmapScale.from_maps([values])))


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    shown = Image.fromarray(pixels)
    shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    encoded = io.BytesIO()
    shown.save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()
