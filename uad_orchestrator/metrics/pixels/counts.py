"""``PixelCounts``: every pooled pixel metric from one streaming, additive pass over raw anomaly maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np

from uad_orchestrator.metrics import catalogue, curves
from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.pixels.regions import MAX_REGIONS
from uad_orchestrator.metrics.pixels.score_histogram import ScoreHistogram
from uad_orchestrator.metrics.pixels.spro import Channel
from uad_orchestrator.metrics.pixels.weighed_pixels import (
    WeighedPixels,
    weighed_by_channels,
    weighed_by_regions,
)

Overlap = Literal["pro", "spro"]
"""What stands against the false-positive rate: the overlap of connected regions, or that of saturated channels."""

AREAS: Mapping[Overlap, catalogue.Metric] = {"pro": catalogue.AUPRO, "spro": catalogue.SPRO}
"""The metrics that are areas below the curve of each."""


class PixelCounts:
    """Counts of normal and defect pixels per score, in memory that does not grow with the images.

    Counts add up: over images, shards and partitions, in any order, bit for bit. The highest 2^17 scores (for F1-max
    2^19) are kept one by one, below them neighbours among floats share a bin (see ``score_histogram``): few pixels
    give exact metrics, any number metrics within 1e-5. F1-max alone may be up to 3e-5 too low where its threshold
    calls more pixels than are kept, and the scores go through zero, so that bins are wide.

    Definitions: AUROC, AP and F1-max as in scikit-learn over the pooled pixels; AUPRO as in MVTec AD's
    evaluator (8-connected regions, false-positive rate pooled over all images); with ``overlap="spro"`` the
    area under MVTec LOCO's sPRO instead (see ``spro``; false positives only where no channel is defective).
    Maps must be raw: normalised per image, their pooled metrics mean nothing.

    Args:
        overlap: ``pro`` counts maps with masks (``update``), ``spro`` maps with channels (``update_channels``).
        beside_others: other threads count at the same time, each into counts of its own: only a matter of speed.

    Attributes:
        n_images, n_pixels, n_defect_pixels: what was counted; of pixels, those that are inspected.
        n_regions: defect regions, or channels.

    >>> counts = PixelCounts()
    >>> counts.update(np.array([[0.1, 0.2], [0.3, 0.9]], np.float32), np.array([[0, 0], [0, 1]], bool))
    >>> counts.compute()["pixel_auroc"]
    1.0
    >>> (counts + counts).n_pixels
    8
    """

    def __init__(self, overlap: Overlap = "pro", *, beside_others: bool = False) -> None:
        self.overlap: Overlap = overlap
        self._histogram = ScoreHistogram(beside_others=beside_others)
        self.n_images = 0
        self.n_pixels = 0
        self.n_defect_pixels = 0
        self.n_regions = 0

    def update(self, anomaly_map: np.ndarray, mask: np.ndarray, inspected: np.ndarray | None = None) -> None:
        """Count one image.

        Args:
            anomaly_map: (H, W) finite, raw; counted as float32. 8 bits are refused: they are a picture.
            mask: (H, W) bool or integer, defect where not 0, at the map's size.
            inspected: (H, W) bool, the pixels that count; None: all. A defect region counts with what of it
                is inspected.

        Raises:
            ValueError: a map that is not 2-D, not finite or stretched for display (uint8), a mask of another
                size or of another kind.
        """
        self._expect("pro")
        self.add(weighed_by_regions(anomaly_map, mask, inspected))

    def update_channels(self, anomaly_map: np.ndarray, channels: Sequence[Channel]) -> None:
        """Count one image of a set whose ground truth is kept in channels (``overlap="spro"``).

        Args:
            anomaly_map: (H, W) finite; counted as float32.
            channels: its anomalous places, which may overlap; none for a normal image.

        Raises:
            ValueError: a map that is not 2-D or not finite, a channel of another size, a saturation area of 0.
        """
        self._expect("spro")
        self.add(weighed_by_channels(anomaly_map, channels))

    def add(self, pixels: WeighedPixels) -> None:
        """Count the pixels of one image, weighed as ``overlap`` says.

        Args:
            pixels: of ``weighed_by_regions``, or of ``weighed_by_channels``.
        """
        self._check_regions(pixels.n_regions)
        self._histogram.add(pixels.scores, pixels.positive, pixels.weights)
        self.n_images += 1
        self.n_pixels += pixels.scores.size
        self.n_defect_pixels += int(pixels.positive.size)
        self.n_regions += pixels.n_regions

    def _expect(self, overlap: Overlap) -> None:
        if self.overlap != overlap:
            raise ValueError(f"these counts are of {self.overlap}, not of {overlap}: the two do not mix")

    def _check_regions(self, more: int) -> None:
        if self.n_regions + more > MAX_REGIONS:
            raise ValueError(f"more than {MAX_REGIONS} ground-truth regions; are the masks noise?")

    def __add__(self, other: PixelCounts) -> PixelCounts:
        """The counts of both; neither changes.

        Raises:
            ValueError: one counts regions, the other channels.
        """
        if not isinstance(other, PixelCounts):
            return NotImplemented
        result = PixelCounts(self.overlap)
        result += self
        result += other
        return result

    def __iadd__(self, other: PixelCounts) -> Self:
        """Add the other's counts to these; the other does not change.

        Raises:
            ValueError: one counts regions, the other channels, or there would be more regions than can be counted.
        """
        if not isinstance(other, PixelCounts):
            return NotImplemented
        self._expect(other.overlap)
        self._check_regions(other.n_regions)
        self._histogram.merge(other._histogram)
        self.n_images += other.n_images
        self.n_pixels += other.n_pixels
        self.n_defect_pixels += other.n_defect_pixels
        self.n_regions += other.n_regions
        return self

    @property
    def undefined_reason(self) -> str | None:
        """Why ``compute`` returns NaN; None if it does not."""
        if self.n_pixels == 0:
            return "no images"
        if self.n_defect_pixels == 0:
            return f"no defect pixels in {self.n_images} images"
        if self.n_defect_pixels == self.n_pixels:
            return f"no normal pixels in {self.n_images} images"
        return None

    def compute(self, aupro_limits: Sequence[float] = catalogue.AUPRO_LIMITS) -> dict[str, float]:
        """All pixel metrics; NaN where only one class was counted, for the ``undefined_reason``.

        Args:
            aupro_limits: false-positive rates up to which the overlap is integrated, in (0, 1].

        Returns:
            in 0..1: ``pixel_auroc``, ``pixel_ap``, ``pixel_f1_max`` and ``aupro_<limit>`` (``spro_<limit>``) for
            each limit; in the unit of the maps: ``pixel_f1_max_threshold`` (reads the labels: never an operating
            point).

        Raises:
            ValueError: a limit outside (0, 1].
        """
        names = [overlap_name(self.overlap, limit) for limit in aupro_limits]
        if self.undefined_reason:
            summaries = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_f1_max_threshold")
            return dict.fromkeys((*summaries, *names), math.nan)
        groups, highest = self._histogram.groups_and_highest()
        best = (curves.f1_max(part, self.n_defect_pixels) for part in (highest, groups))
        f1_max, f1_max_threshold = max(best, key=lambda found: found[0])
        return {
            "pixel_auroc": curves.roc_auc(groups),
            "pixel_ap": curves.average_precision(groups),
            "pixel_f1_max": f1_max,
            "pixel_f1_max_threshold": f1_max_threshold,
        } | {name: curves.aupro(groups, limit) for name, limit in zip(names, aupro_limits, strict=True)}

    def curves(self, n_points: int = 500) -> dict[str, Curve]:
        """The curves behind the metrics, for drawing.

        Args:
            n_points: at most so many points a curve, at least 2.

        Returns:
            ``roc`` (x false-positive rate, y true-positive rate), ``pr`` (x recall, y precision) and ``pro``
            (``spro``; x false-positive rate, y mean overlap); empty where undefined.
        """
        if self.undefined_reason:
            return {}
        groups = self._histogram.groups()
        whole = {
            "roc": curves.roc_curve(groups),
            "pr": curves.pr_curve(groups),
            self.overlap: curves.pro_curve(groups),
        }
        return {name: curves.thinned(curve, n_points) for name, curve in whole.items()}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The counts as plain arrays, equal for equal images in any order.

        Returns:
            the arrays by name, for ``np.savez``.
        """
        counted = np.array([self.n_images, self.n_pixels, self.n_defect_pixels, self.n_regions])
        return {"overlap": np.array(self.overlap), "counted": counted, **self._histogram.to_arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PixelCounts:
        """The counts that ``to_arrays`` gave.

        Args:
            arrays: its arrays by name.

        Returns:
            the counts; more images can be added.

        Raises:
            ValueError: an array is missing, or the counts do not add up.
        """
        missing = {"overlap", "counted", *_BIN_ARRAYS, *_TOP_ARRAYS} - set(arrays)
        if missing:
            raise ValueError(f"not the arrays of PixelCounts: {', '.join(sorted(missing))} missing")
        n_images, n_pixels, n_defect_pixels, n_regions = (int(n) for n in arrays["counted"])
        sums = int(arrays["totals"].sum()), int(arrays["positives"].sum())
        if sums != (n_pixels, n_defect_pixels):
            raise ValueError(
                f"damaged PixelCounts: bins hold {sums} pixels, expected {n_pixels, n_defect_pixels}"
            )
        counts = cls("spro" if str(arrays["overlap"]) == "spro" else "pro")
        counts._histogram.add_arrays(arrays)
        counts.n_images, counts.n_pixels = n_images, n_pixels
        counts.n_defect_pixels, counts.n_regions = n_defect_pixels, n_regions
        return counts


_BIN_ARRAYS = ("first_keys", "only_keys", "totals", "positives", "weights")
_TOP_ARRAYS = ("top_keys", "top_totals", "top_positives", "top_weights", "top_floor")


def overlap_name(overlap: Overlap, limit: float) -> str:
    """The name of the area below the curve, up to a false-positive rate.

    Raises:
        ValueError: a limit outside (0, 1].

    >>> overlap_name("pro", 0.3), overlap_name("spro", 0.05)
    ('aupro_0.3', 'spro_0.05')
    """
    return AREAS[overlap].at(limit).name
