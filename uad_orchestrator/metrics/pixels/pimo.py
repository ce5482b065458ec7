"""AUPIMO: per-image overlap where hardly any normal pixel is called (Bertoldo et al., BMVC 2024).

The false-positive rate is taken on normal images only, as the mean of their rates, and shared by all images.
An anomalous image's score is its true-positive rate, integrated over the logarithm of that rate between 1e-5
and 1e-4 and divided by the length of that interval; the figure of a set is the mean of its images' scores.

Normal images come first: they make the curve, which adds up over shards; each anomalous image is then a single
number. There is a threshold per distinct score; normal pixels that share a score enter evenly.

anomalib integrates between the rates nearest to the bounds, and over evenly spaced thresholds: the same figure in the
limit of many pixels and thresholds. On a few small maps it is several hundredths off by its ends (two pixels of
200,000 are 1e-5), and by more where few of its thresholds fall among the highest scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from uad_orchestrator.metrics.pixels.regions import REGION_UNIT
from uad_orchestrator.metrics.pixels.score_histogram import ScoreHistogram
from uad_orchestrator.metrics.pixels.weighed_pixels import finite_map

AUPIMO_BOUNDS = (1e-5, 1e-4)


class NormalPixels:
    """How the pixels of normal images score, each image weighted alike: additive, in bounded memory.

    Attributes:
        n_images: how many images were counted.
        n_pixels: how many pixels.

    >>> normals = NormalPixels()
    >>> normals.update(np.linspace(0, 1, 1 << 18, dtype=np.float32).reshape(512, 512))
    >>> anomaly_map = np.zeros((512, 512), np.float32)
    >>> anomaly_map[:10, :10] = 2
    >>> mask = np.zeros((512, 512), bool)
    >>> mask[:10, :20] = True
    >>> round(normals.rates().aupimo(anomaly_map, mask), 6)
    0.5
    """

    def __init__(self) -> None:
        self._histogram = ScoreHistogram()
        self.n_images = 0
        self.n_pixels = 0

    def update(self, anomaly_map: np.ndarray) -> None:
        """Count the map of a normal image.

        Args:
            anomaly_map: (H, W) finite.

        Raises:
            ValueError: a map that is not 2-D or not finite.
        """
        scores = finite_map(anomaly_map).ravel()
        share = (REGION_UNIT + scores.size // 2) // scores.size
        self._histogram.add_positives(scores, share)
        self.n_images += 1
        self.n_pixels += scores.size

    def __add__(self, other: NormalPixels) -> NormalPixels:
        """The counts of both; neither changes."""
        result = NormalPixels()
        result += self
        result += other
        return result

    def __iadd__(self, other: NormalPixels) -> Self:
        """Add the other's counts to these; the other does not change."""
        self._histogram.merge(other._histogram)
        self.n_images += other.n_images
        self.n_pixels += other.n_pixels
        return self

    @property
    def undefined_reason(self) -> str | None:
        """Why there is no AUPIMO with these normals; None if there is."""
        needed = math.ceil(1 / AUPIMO_BOUNDS[0])
        if self.n_pixels >= needed:
            return None
        return (
            f"{self.n_pixels} pixels of {self.n_images} normal images cannot show a false-positive rate of "
            f"{AUPIMO_BOUNDS[0]:g}: {needed} are needed"
        )

    def rates(self) -> SharedRates:
        """The shared false-positive rate.

        Returns:
            the rates, as far as the integral looks at them.

        Raises:
            ValueError: too few pixels, see ``undefined_reason``.
        """
        if self.undefined_reason:
            raise ValueError(self.undefined_reason)
        groups = self._histogram.groups()
        after = np.cumsum(groups.region_weights) / float(groups.region_weights.sum())
        before = np.concatenate([[0.0], after[:-1]])
        inside = (after > AUPIMO_BOUNDS[0]) & (before < AUPIMO_BOUNDS[1])
        return SharedRates(before[inside], after[inside], groups.lowest[inside], groups.highest[inside])


@dataclass(frozen=True)
class SharedRates:
    """The false-positive rate on normal images around the scores of their highest pixels.

    Attributes:
        before: (n,) float64, the rate above each group of scores.
        after: (n,) float64, the rate with it.
        lowest: (n,) float64, the least score of the group.
        highest: (n,) float64, its greatest score.
    """

    before: np.ndarray
    after: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    def aupimo(self, anomaly_map: np.ndarray, mask: np.ndarray) -> float:
        """The score of one anomalous image, in 0..1.

        Args:
            anomaly_map: (H, W) finite.
            mask: (H, W) bool or integer, defect where not 0.

        Returns:
            its true-positive rate, averaged over the logarithm of the shared false-positive rate.

        Raises:
            ValueError: an empty mask, or one of another size.
        """
        scores = finite_map(anomaly_map)
        if mask.shape != scores.shape:
            raise ValueError(f"the mask is {mask.shape}, the anomaly map {scores.shape}: they must agree")
        defect = np.sort(scores[mask != 0]).astype(np.float64)
        if defect.size == 0:
            raise ValueError("labelled anomalous, but its mask is empty: it has no true-positive rate")
        found_before = 1 - np.searchsorted(defect, self.highest, side="right") / defect.size
        found_after = 1 - np.searchsorted(defect, self.lowest, side="left") / defect.size
        lower, upper = AUPIMO_BOUNDS
        start, end = np.maximum(self.before, lower), np.minimum(self.after, upper)
        slope = (found_after - found_before) / (self.after - self.before)
        # integral of (found_before + slope (rate - before)) over d log rate
        area = (found_before - slope * self.before) * np.log(end / start) + slope * (end - start)
        return min(1.0, max(0.0, math.fsum(area) / math.log(upper / lower)))
