"""An inspected image with its defects: the heatmap over it, and a line around each region."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uad_orchestrator.inference.results import InferenceResult
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, displayable, overlay

OUTLINE = (255, 255, 255)
QUALITY = 90


def defect_picture(result: InferenceResult, scale: HeatmapScale) -> np.ndarray:
    """The image under its anomaly map, the defects outlined.

    Args:
        result: with its image and its map (``include_images``, ``include_maps``).
        scale: the detector's colours, the same for all its images.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: the result is without image or map.
    """
    import cv2

    if result.image is None or result.anomaly_map is None:
        reason = result.reasons.get("anomaly_map", "the image was not asked for")
        raise ValueError(f"{result.name}: no picture can be drawn: {reason}")
    picture = overlay(displayable(result.image), result.anomaly_map, scale)
    if result.mask is not None:
        cells = np.ascontiguousarray(result.mask).view(np.uint8)
        borders, _ = cv2.findContours(cells, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, borders, -1, OUTLINE, max(1, round(min(cells.shape) / 400)))
    return picture


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an RGB picture as PNG or JPEG, by its extension; the folder is made.

    Raises:
        ValueError: another extension.
    """
    from PIL import Image

    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"{path}: a picture is written as .png, .jpg or .jpeg")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=QUALITY)
