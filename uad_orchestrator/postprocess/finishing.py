"""What may be done to whole anomaly maps: normalisation, morphology, clipping, removal of small regions.

All of it takes and gives raw maps, ``(H, W)`` float32 whose values mean the same in every image of a cell, so
that pixel metrics can be pooled over them. What stretches each map to its own range is in ``display``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Operation = Literal["opening", "closing", "dilation", "erosion"]
Shape = Literal["disk", "square"]


class MapScale(NamedTuple):
    """Of the calibration normals' maps: what normalisation brings to 0 and 1.

    Attributes:
        mean: of their pixels.
        std: standard deviation of their pixels.
    """

    mean: float
    std: float


def normalised(anomaly_map: np.ndarray, scale: MapScale) -> np.ndarray:
    """The map in standard deviations from the normal maps' mean; constant normal maps are only shifted.

    The same for all images: it changes the unit and no rank.

    Args:
        anomaly_map: ``(H, W)`` raw map values.
        scale: of the detector's calibration normals.

    Returns:
        ``(H, W)`` float32.

    >>> normalised(np.array([[3.0, 5.0]]), MapScale(mean=3.0, std=0.5)).tolist()
    [[0.0, 4.0]]
    """
    shifted = np.asarray(anomaly_map, np.float32) - np.float32(scale.mean)
    return shifted / np.float32(scale.std) if np.float32(scale.std) > 0 else shifted


def morphology(
    anomaly_map: np.ndarray, operation: Operation, size: int = 3, shape: Shape = "disk"
) -> np.ndarray:
    """Grey-scale morphology as ``scipy.ndimage``: nothing beyond the border counts.

    Args:
        anomaly_map: ``(H, W)`` raw map values.
        operation: ``opening`` takes off peaks narrower than the element, ``closing`` fills holes, ``dilation``
            is the largest and ``erosion`` the smallest value around a pixel.
        size: side of the element in pixels, odd.
        shape: ``disk``: the pixels at most ``size // 2`` from its centre; ``square``: all of them.

    Returns:
        ``(H, W)`` float32.
    """
    import cv2

    scores = np.asarray(anomaly_map, np.float32)
    codes = {
        "opening": cv2.MORPH_OPEN,
        "closing": cv2.MORPH_CLOSE,
        "dilation": cv2.MORPH_DILATE,
        "erosion": cv2.MORPH_ERODE,
    }
    return cv2.morphologyEx(scores, codes[operation], structuring_element(size, shape))


def structuring_element(size: int, shape: Shape) -> np.ndarray:
    """``(size, size)`` uint8, 1 where the element is.

    >>> structuring_element(3, "disk").tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    from_centre = np.arange(size) - size // 2
    squared = np.add.outer(from_centre**2, from_centre**2)
    return (squared <= (size // 2) ** 2 if shape == "disk" else np.ones_like(squared)).astype(np.uint8)


def clipped(anomaly_map: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """The map with its values held between two limits.

    Args:
        anomaly_map: ``(H, W)`` raw map values.
        low: the lowest value that stays; None: no limit.
        high: the highest value that stays; None: no limit.

    Returns:
        ``(H, W)`` float32.
    """
    return np.clip(np.asarray(anomaly_map, np.float32), low, high)


def without_small_regions(anomaly_map: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """Lower the 8-connected regions above ``threshold`` that have fewer than ``min_area`` pixels to it.

    The map stays a raw-score map: only those pixels change, and to the largest value that is not anomalous.
    The threshold is the pixel threshold of the normals' maps as they are before this step. It is their
    threshold after it, too: it is one of their maxima in order, and lowering those above it, at most to it,
    leaves the order. Where it is NaN (nothing to calibrate on) nothing is called a region, and nothing changes.

    Args:
        anomaly_map: ``(H, W)`` raw map values.
        threshold: the pixel threshold.
        min_area: regions with fewer pixels than this are lowered.

    Returns:
        ``(H, W)`` float32.

    >>> without_small_regions(np.array([[9.0, 0.0, 7.0, 8.0]]), threshold=5.0, min_area=2).tolist()
    [[5.0, 0.0, 7.0, 8.0]]
    """
    import cv2

    scores = np.asarray(anomaly_map, np.float32)
    if np.isnan(threshold):
        return scores
    limit = np.float32(threshold)
    if float(limit) > threshold:
        limit = np.nextafter(limit, np.float32(-np.inf))
    above = scores > limit
    _, regions, figures, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8), connectivity=8)
    small = figures[:, cv2.CC_STAT_AREA] < min_area
    return np.where(above & small[regions], limit, scores)
