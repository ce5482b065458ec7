"""The intervals of a cell's figures: of each metric as its row in the catalogue says (see ``intervals``)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from uad_orchestrator.metrics.bootstrap import LEVEL, Interval
from uad_orchestrator.metrics.catalogue import CLOPPER_PEARSON, JACKKNIFE, NEWCOMBE
from uad_orchestrator.metrics.image_metrics import ThresholdMetrics
from uad_orchestrator.metrics.intervals import (
    evenly_weighted,
    interval_of_auroc,
    left_out_interval,
    rate_interval,
)
from uad_orchestrator.metrics.pixels.left_out import CountsPerImage
from uad_orchestrator.metrics.pixels.statistics import (
    GOOD,
    ImageOutcome,
    PixelStatistics,
    ScoredImage,
    ThresholdCounts,
)
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.report import IntervalReport

Intervals = dict[str, IntervalReport]
"""By the figure's name; what has none is not there."""


def intervals_of(
    figures: Mapping[str, float],
    rows: Sequence[ScoredImage],
    pixels: PixelIntervals | None,
    averaged: Sequence[str] = (),
) -> Intervals:
    """The intervals of the metrics of some test images.

    Args:
        figures: the metrics by name; NaN where undefined.
        rows: the images.
        pixels: those of the same images, and of others; None where no pixel was counted.
        averaged: the defect types that AUROCs of images and overlaps are means over, each with all normal images.
    """
    kinds = sorted({row.defect_type for row in rows if row.label})
    groups = [[kind] for kind in averaged] if averaged else [kinds]
    of_images = [[row for row in rows if row.defect_type in group and row.label] for group in groups]
    intervals = {}
    for name, masked_only in (("image_auroc", False), ("map_max_auroc", True)):
        without = set(pixels.statistics.without_mask) if masked_only and pixels else set()
        counts = [sum(row.image not in without for row in group) for group in of_images]
        if math.isfinite(figures.get(name, math.nan)):
            normals, defects = sum(row.label == 0 for row in rows), evenly_weighted(counts)
            found = interval_of_auroc(figures[name], normals, defects)
            intervals[name] = _report(found, NEWCOMBE, normals, defects)
    if pixels is not None:
        intervals |= pixels.of_kinds(figures, kinds)
    if pixels is not None and averaged:
        for name in pixels.protocol.overlap_names:
            intervals.pop(name, None)  # not of the pooled figure
        intervals |= pixels.of_means(figures, averaged)
    return intervals


def rate_intervals(found: ThresholdMetrics | None) -> Intervals:
    """Of the recall and the false-positive rate of images at a threshold, where it is known what it does."""
    if found is None:
        return {}
    defective, good = found.tp + found.fn, found.fp + found.tn
    rates = {"recall": (found.tp, defective, 0), "false_positive_rate": (found.fp, 0, good)}
    return {
        name: _report(rate_interval(above, defects + normals), CLOPPER_PEARSON, normals, defects)
        for name, (above, defects, normals) in rates.items()
        if defects + normals
    }


@dataclass(frozen=True)
class PixelIntervals:
    """The intervals of what is pooled over pixels, of any kinds of images.

    Args:
        statistics: of all images.
        protocol: what is measured of them.
        counts: of the same images.
    """

    statistics: PixelStatistics
    protocol: EvaluationProtocol
    counts: CountsPerImage

    @classmethod
    def of(cls, statistics: PixelStatistics, protocol: EvaluationProtocol) -> PixelIntervals:
        """Those of some images."""
        images = statistics.images
        counts = CountsPerImage.of([image.outline for image in images], [image.kind for image in images])
        return cls(statistics, protocol, counts)

    def of_kinds(self, figures: Mapping[str, float], kinds: Sequence[str]) -> Intervals:
        """Of the normal images with the defects of some kinds, pooled.

        Args:
            figures: their metrics by name.
            kinds: the defect types.
        """
        left_out = self._left_out(kinds)
        intervals = self._reports(figures, {name: list(parts) for name, parts in left_out.items()}, kinds)
        chosen = self._images(kinds)
        segmented = _left_out_at([image.at_segmentation_threshold for image in chosen])
        if "seg_f1" in figures and segmented:
            parts = _by_label(segmented["f1"], np.array([image.label for image in chosen]) == 0)
            intervals |= self._reports(figures, {"seg_f1": parts}, kinds)
        overlaps = np.array([image.aupimo for image in chosen if image.aupimo is not None])
        if overlaps.size > 1:
            without = (overlaps.sum() - overlaps) / (overlaps.size - 1)
            aupimo = self._reports(figures, {"aupimo": [without]}, kinds)
            intervals |= {
                name: report.model_copy(update={"n_normal": 0, "n_anomalous": overlaps.size})
                for name, report in aupimo.items()
            }
        return intervals

    def of_means(self, figures: Mapping[str, float], kinds: Sequence[str]) -> Intervals:
        """Of figures that are means over defect types, each with all normal images.

        Args:
            figures: the means by name.
            kinds: the defect types.
        """
        by_kind = [self._left_out([kind]) for kind in kinds]
        parts = {}
        for name in self.protocol.overlap_names:
            if not math.isfinite(figures[name]):
                continue
            of_normals = np.mean([left_out[name][0] for left_out in by_kind], axis=0)
            whole = sum(float(left_out[name][1].mean()) for left_out in by_kind)
            of_defects = [
                (left_out[name][1] + whole - left_out[name][1].mean()) / len(kinds) for left_out in by_kind
            ]
            parts[name] = [of_normals, *of_defects]
        return self._reports(figures, parts, kinds)

    def at_threshold(self, figures: Mapping[str, float], counts: Sequence[ThresholdCounts]) -> Intervals:
        """Of what a threshold does to the pixels.

        Args:
            figures: by name.
            counts: of each image.
        """
        good = np.array([image.label for image in self.statistics.images]) == 0
        parts = {name: _by_label(found, good) for name, found in _left_out_at(counts).items()}
        return self._reports(figures, parts, {image.kind for image in self.statistics.images} - {GOOD})

    def _left_out(self, kinds: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Per figure what it is without each normal image, and without each defective one."""
        chosen = self.counts.chosen([GOOD, *kinds])
        left_out = chosen.without_each(self.protocol.overlap, self.protocol.overlap_limits)
        good = chosen.kinds == GOOD
        return {name: (found[good], found[~good]) for name, found in left_out.items()}

    def _reports(
        self, figures: Mapping[str, float], parts: Mapping[str, list[np.ndarray]], kinds: Collection[str]
    ) -> Intervals:
        labels = [image.label for image in self._images(kinds)]
        reports = {}
        for name, left_out in parts.items():
            there = [part for part in left_out if part.size]
            if name in figures and (found := left_out_interval(figures[name], there)):
                reports[name] = _report(found, JACKKNIFE, labels.count(0), labels.count(1))
        return reports

    def _images(self, kinds: Collection[str]) -> list[ImageOutcome]:
        return [image for image in self.statistics.images if image.kind in {GOOD, *kinds}]


def _by_label(left_out: np.ndarray, good: np.ndarray) -> list[np.ndarray]:
    return [left_out[good], left_out[~good]]


def _left_out_at(counts: Sequence[ThresholdCounts]) -> dict[str, np.ndarray]:
    """The figures at a threshold without each image in turn; none without a threshold."""
    if not counts or np.isnan(counts[0].threshold):
        return {}
    of_images = np.array([(count.tp, count.fp, count.tn, count.fn) for count in counts])
    tp, fp, tn, fn = (of_images.sum(axis=0) - of_images).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "iou": tp / (tp + fp + fn),
            "false_positive_rate": fp / (fp + tn),
        }


def _report(found: Interval, method: str, normals: float, anomalies: float) -> IntervalReport:
    return IntervalReport(
        low=found.low, high=found.high, level=LEVEL, method=method, n_normal=normals, n_anomalous=anomalies
    )
