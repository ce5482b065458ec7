"""The pixels of one image as they are counted: scores, which are defective, and each one's share of its region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uad_orchestrator.metrics.pixels.regions import region_weights
from uad_orchestrator.metrics.pixels.spro import Channel, saturated_weights


class WeighedPixels(NamedTuple):
    """The inspected pixels of an image.

    Attributes:
        scores: (n,) float32, finite.
        positive: (p,) int64 places of the defective ones, ascending.
        weights: (p,) int64, what each of those adds to its region's or channel's overlap.
        n_regions: defect regions, or channels.
    """

    scores: np.ndarray
    positive: np.ndarray
    weights: np.ndarray
    n_regions: int


def weighed_by_regions(
    anomaly_map: np.ndarray, mask: np.ndarray, inspected: np.ndarray | None = None
) -> WeighedPixels:
    """The pixels of an image whose regions are the connected parts of its mask; see ``PixelCounts.update``."""
    scores = finite_map(anomaly_map)
    defects = _defects(mask, scores.shape)
    if inspected is None:
        return WeighedPixels(scores.ravel(), *region_weights(defects))
    positive, weights, n_regions = region_weights(defects & inspected)
    places = np.cumsum(inspected) - 1  # among the inspected pixels
    return WeighedPixels(scores[inspected], places[positive], weights, n_regions)


def weighed_by_channels(anomaly_map: np.ndarray, channels: Sequence[Channel]) -> WeighedPixels:
    """The pixels of an image whose ground truth is kept in channels; see ``PixelCounts.update_channels``."""
    scores = finite_map(anomaly_map)
    for channel in channels:
        _defects(channel.mask, scores.shape)
    return WeighedPixels(scores.ravel(), *saturated_weights(scores, channels))


def finite_map(anomaly_map: np.ndarray) -> np.ndarray:
    """A map as ``(H, W)`` float32.

    Raises:
        ValueError: it is not 2-D, or not finite as float32.
    """
    anomaly_map = np.asarray(anomaly_map)
    if anomaly_map.ndim != 2:
        raise ValueError(f"expected an anomaly map of shape (H, W), got {anomaly_map.shape}")
    if anomaly_map.dtype == np.uint8:
        raise ValueError(
            "the anomaly map is uint8: a picture, stretched to its own range to be looked at. Pooled metrics need "
            "raw maps, whose values mean the same in every image"
        )
    with np.errstate(over="ignore"):
        scores = np.ascontiguousarray(anomaly_map, dtype=np.float32)
    if scores.size and not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        bad = int((~np.isfinite(scores)).sum())
        raise ValueError(
            f"{bad} of {scores.size} pixels of the {scores.shape} anomaly map are not finite float32"
        )
    return scores


def _defects(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask as bool, if it is of the map's shape."""
    mask = np.asarray(mask)
    if mask.shape != shape:
        raise ValueError(
            f"the mask is {mask.shape}, the anomaly map {shape}: both must have the image's size"
        )
    if mask.dtype.kind not in "bui":
        raise ValueError(f"expected a mask of bool or integers, got {mask.dtype}")
    return mask if mask.dtype == bool else mask != 0
