"""The pictures of the page: an image as browsers show it, and its anomaly map laid over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uad_orchestrator.images.decode import read_image
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.postprocess.map_set import read_map
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, displayable, overlay
from uad_orchestrator.reporting.pictures.thumbnail import view_jpeg


def picture_jpeg(picture: Path, reading: ReadingSettings) -> bytes:
    """An image as JPEG, whatever it was stored as (``view_jpeg``).

    Raises:
        ImageError: it cannot be read.
    """
    return view_jpeg(read_image(picture, reading))


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
        values = read_map(anomaly_map)
    except (tifffile.TiffFileError, OSError) as error:
        raise ValueError(f"{anomaly_map} cannot be read: {error}") from error
    if values.shape != image.shape[:2] or not np.isfinite(values).all():
        raise ValueError(
            f"{anomaly_map} is {values.shape}, its image {image.shape[:2]}; expected finite values of its size"
        )
    return view_jpeg(overlay(image, values, scale or HeatmapScale.from_maps([values])))
