"""Anomaly maps as pictures: one colour scale for all images of a cell, never one per image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeatmapScale:
    """Which map value gets which colour.

    The scale is a cell's own: a map value has the same colour in every picture, and a normal image stays
    calm however small its largest value is.

    Attributes:
        floor: at and below it the image shows through: the mean of the normal maps.
        limit: the middle of the colours: the pixel threshold. Twice as far from the floor is the end.
        limit_name: what ``limit`` is, for legends.
    """

    floor: float
    limit: float
    limit_name: str = "pixel threshold"

    @classmethod
    def from_normals(
        cls, mean: float, std: float, maximum: float, pixel_threshold: float = math.nan
    ) -> HeatmapScale:
        """The scale of a cell, from the statistics of its normal maps.

        Args:
            mean: mean value of the normal maps.
            std: their standard deviation.
            maximum: their largest value; it stands in for a pixel threshold that is NaN.
            pixel_threshold: the calibrated threshold of map values.

        Returns:
            The scale.

        Raises:
            ValueError: a statistic is not finite.

        >>> HeatmapScale.from_normals(1.0, 0.1, 2.0, pixel_threshold=1.8)
        HeatmapScale(floor=1.0, limit=1.8, limit_name='pixel threshold')
        >>> HeatmapScale.from_normals(1.0, 0.1, 2.0).limit_name
        'largest normal value'
        """
        if not all(map(math.isfinite, (mean, std, maximum))):
            raise ValueError(f"the normal maps' mean {mean}, std {std} and maximum {maximum} must be finite")
        if math.isnan(pixel_threshold):
            limit, limit_name = maximum, "largest normal value"
        else:
            limit, limit_name = pixel_threshold, "pixel threshold"
        least = max(abs(limit) * 1e-6, 1e-12)  # below it float32 maps hold no difference
        if limit - mean < least:  # constant normal maps: whatever differs is far from normal
            mean = limit - max(std, least)
        return cls(float(mean), float(limit), limit_name)

    @classmethod
    def from_summary(
        cls, summary: Mapping[str, float | int | None], pixel_threshold: float = math.nan
    ) -> HeatmapScale:
        """The scale of a cell, from ``NormalMapStatistics.summary``.

        Args:
            summary: what that gives.
            pixel_threshold: the calibrated threshold of map values; NaN where there is none.

        Returns:
            The scale.

        Raises:
            ValueError: the summary is of no maps; ``from_maps`` then gives a scale.
        """
        mean, std, maximum = summary["mean"], summary["std"], summary["max"]
        if mean is None or std is None or maximum is None:
            raise ValueError("no normal map was taken into the statistics: take the scale from_maps instead")
        return cls.from_normals(mean, std, maximum, pixel_threshold)

    @classmethod
    def from_maps(cls, anomaly_maps: Iterable[np.ndarray]) -> HeatmapScale:
        """One scale for maps whose detector has no calibration normals: from all of them together.

        The floor is their mean, the limit half-way from it to their largest value.

        Args:
            anomaly_maps: ``(H, W)`` each, taken one at a time.

        Returns:
            The scale.

        Raises:
            ValueError: no map.
        """
        means, maxima = [], []
        for anomaly_map in anomaly_maps:
            means.append(float(np.mean(anomaly_map, dtype=np.float64)))
            maxima.append(float(np.max(anomaly_map)))
        if not means:
            raise ValueError("a heatmap scale needs at least one map")
        floor, highest = sum(means) / len(means), max(maxima)
        scale = cls.from_normals(floor, 0.0, (floor + highest) / 2)
        return cls(scale.floor, scale.limit, "half of the largest value")

    def position(self, anomaly_map: np.ndarray) -> np.ndarray:
        """Where map values lie on the scale: 0 at the floor, 0.5 at the limit, 1 at its end.

        Args:
            anomaly_map: raw map values, of any shape.

        Returns:
            float32 in [0, 1], of the same shape.
        """
        span = 2.0 * (self.limit - self.floor)
        position = (np.asarray(anomaly_map, np.float64) - self.floor) / span
        return np.clip(position, 0.0, 1.0).astype(np.float32)


def colours(position: np.ndarray) -> np.ndarray:
    """``(..., 3)`` uint8 RGB for positions in [0, 1] on a heatmap scale."""
    import cv2

    steps = np.arange(256, dtype=np.uint8)[None]
    turbo = cv2.applyColorMap(steps, cv2.COLORMAP_TURBO)[0, :, ::-1]
    return turbo[np.minimum(np.asarray(position) * 256, 255).astype(np.uint8)]


def opacity(position: np.ndarray) -> np.ndarray:
    """How strongly a map covers its image at positions on a heatmap scale: full strength from the limit on."""
    return np.minimum(position * 1.5, 0.75)


def overlay(image: np.ndarray, anomaly_map: np.ndarray, scale: HeatmapScale) -> np.ndarray:
    """The map laid over its image, as strong as it is anomalous.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        anomaly_map: ``(H, W)`` raw map values.
        scale: the cell's colours.

    Returns:
        ``(H, W, 3)`` uint8 RGB; pixels at or below the floor are the image's own.
    """
    position = scale.position(anomaly_map)
    covered = opacity(position)[..., None]
    return (image * (1 - covered) + colours(position) * covered + 0.5).astype(np.uint8)


def displayable(image: np.ndarray) -> np.ndarray:
    """An image as 8 bit for showing; ``(H, W, 3)`` uint8 RGB.

    16-bit images are divided by the bit depth they use (cameras store 10 or 12 bits in 16), so that they are
    not black.

    >>> displayable(np.full((1, 1, 3), 4095, np.uint16)).tolist()
    [[[255, 255, 255]]]
    """
    if image.dtype == np.uint8:
        return image
    depth = max(8, int(image.max(initial=0)).bit_length())
    return (image.astype(np.float32) * (255.0 / (2**depth - 1)) + 0.5).astype(np.uint8)
