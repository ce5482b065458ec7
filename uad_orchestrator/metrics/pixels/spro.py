"""Saturated per-region overlap (sPRO), MVTec LOCO AD's measure (Bergmann et al., IJCV 2022; evaluation code 2.0).

A ground-truth channel is one anomalous place, whatever its connected components. It counts as found once its
saturation area is covered: sPRO = min(true positives / saturation area, 1), averaged over all channels.

At any threshold the covered part of a channel is made of its highest scores. So its ``saturation area``
highest pixels carry 1 / area each and all others nothing, and the sum of what lies above a threshold is the
sPRO there: the same additive counting as that of whole regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uad_orchestrator.metrics.pixels.regions import REGION_UNIT


@dataclass(frozen=True)
class Channel:
    """One anomalous place of an image.

    Attributes:
        mask: (H, W) bool.
        saturation_area: pixels that must be covered for the place to count as found; 1 up to the mask's area.
    """

    mask: np.ndarray
    saturation_area: int


@dataclass(frozen=True)
class GroundTruth:
    """The ground truth of an image.

    Attributes:
        mask: (H, W) bool or integer, defect where not 0; of all channels together.
        channels: its anomalous places, where a protocol keeps them apart; none for a normal image.
    """

    mask: np.ndarray
    channels: Sequence[Channel] = ()

    def within(self, inspected: np.ndarray) -> GroundTruth:
        """The ground truth of the ``(H, W)`` bool inspected pixels alone, laid out as ``(1, n)``.

        Of a channel the part that is inspected must be covered, at most its saturation area.

        Args:
            inspected: (H, W) bool, n of it True.

        Returns:
            masks of shape (1, n); channels without any inspected pixel are left out.

        >>> mask = np.array([[True, True], [False, False]])
        >>> part = GroundTruth(mask, [Channel(mask, 2)]).within(np.array([[True, False], [True, False]]))
        >>> part.mask.tolist(), part.channels[0].saturation_area
        ([[True, False]], 1)
        """
        parts = [(channel.mask[inspected][None], channel.saturation_area) for channel in self.channels]
        channels = [Channel(part, min(area, int(part.sum()))) for part, area in parts if part.any()]
        return GroundTruth(self.mask[inspected][None], channels)


def saturated_weights(scores: np.ndarray, channels: Sequence[Channel]) -> tuple[np.ndarray, np.ndarray, int]:
    """What each defect pixel adds to the sPRO of its channels, as integers that add up in any order.

    Args:
        scores: (H, W) float32, the image's anomaly map.
        channels: of the image; they may overlap.

    Returns:
        (p,) int64 flat indices of the pixels of any channel, ascending; (p,) int64 shares, which sum to about
        ``REGION_UNIT`` per channel; the number of channels.

    Raises:
        ValueError: a saturation area of 0, or above its channel's area.
    """
    flat = scores.ravel()
    shares, defective = np.zeros(flat.size, np.int64), np.zeros(flat.size, bool)
    for channel in channels:
        place = np.flatnonzero(channel.mask)
        if not 1 <= channel.saturation_area <= place.size:
            raise ValueError(
                f"a channel of {place.size} pixels has the saturation area {channel.saturation_area}; "
                f"expected 1 to {place.size}"
            )
        shares[place] += _saturated_shares(flat[place], channel.saturation_area)
        defective[place] = True
    positive = np.flatnonzero(defective)
    return positive, shares[positive], len(channels)


def _saturated_shares(scores: np.ndarray, area: int) -> np.ndarray:
    """1 / area for the ``area`` highest of (n,) scores; those tied at the last place divide what is left."""
    last = np.partition(scores, scores.size - area)[scores.size - area]
    above, tied = scores > last, scores == last
    left = area - int(np.count_nonzero(above))
    shares = np.zeros(scores.size, np.int64)
    shares[above] = _rounded(REGION_UNIT, area)
    shares[tied] = _rounded(REGION_UNIT * left, area * int(np.count_nonzero(tied)))
    return shares


def _rounded(part: int, whole: int) -> int:
    return (part + whole // 2) // whole
