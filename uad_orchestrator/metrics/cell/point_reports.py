"""What a threshold does to the test images, as it is reported; where that is unknown, why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.metrics.bootstrap import LEVEL
from uad_orchestrator.metrics.catalogue import CLOPPER_PEARSON
from uad_orchestrator.metrics.cell.intervals import Intervals
from uad_orchestrator.metrics.image_metrics import ThresholdMetrics, threshold_metrics
from uad_orchestrator.metrics.intervals import rate_interval
from uad_orchestrator.metrics.pixels.statistics import ScoredImage
from uad_orchestrator.metrics.report import (
    IntervalReport,
    OperatingPointReport,
    ReviewReport,
    SegmentationReport,
)
from uad_orchestrator.metrics.thresholds import held_out_rate
from uad_orchestrator.metrics.thresholds.decision import in_review
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint, SegmentationPoint


@dataclass(frozen=True)
class Thresholds:
    """The thresholds that a cell is measured at: from normal images it was not fitted on, or pinned by people.

    Attributes:
        image: of image scores.
        pixel: of map values.
        segmentation: of map values, SegF1's.
    """

    image: OperatingPoint
    pixel: OperatingPoint
    segmentation: SegmentationPoint


def figures_at_threshold(
    scores: Sequence[float], labels: Sequence[int], point: OperatingPoint
) -> ThresholdMetrics | None:
    """What a threshold of image scores does; None where there is no threshold."""
    return None if math.isnan(point.threshold) else threshold_metrics(scores, labels, point.threshold)


def point_report(
    point: OperatingPoint, found: ThresholdMetrics | None, intervals: Intervals, missing: str | None
) -> OperatingPointReport:
    """The operating point, with what it does where that is known."""
    values = _at_point(point, found, missing) | point.promise
    if point.unguaranteed:
        values["reasons"] |= dict.fromkeys(point.promise, point.unguaranteed)
    return OperatingPointReport(contamination=point.contamination, intervals=intervals, **values)


def with_held_out_rate(
    report: OperatingPointReport, held_out: Sequence[float], groups: Sequence[str], point: OperatingPoint
) -> OperatingPointReport:
    """The false-positive rate of the normals that calibrate, where no good image is tested."""
    if report.false_positive_rate is not None or math.isnan(point.threshold):
        return report
    largest_group = 1 if point.pinned is None else point.largest_group or 1
    rate = held_out_rate(held_out, point.contamination, groups, largest_group=largest_group)
    if math.isnan(rate):
        return report
    reasons = {name: why for name, why in report.reasons.items() if name != "false_positive_rate"}
    known = f"{len(held_out)} held-out normals ({point.origin})"
    return report.model_copy(
        update={"false_positive_rate": rate, "false_positive_rate_from": known, "reasons": reasons}
    )


def segmentation_report(
    point: SegmentationPoint, found: ThresholdMetrics | None, intervals: Intervals, missing: str | None
) -> SegmentationReport:
    """SegF1's threshold, with what it does where that is known."""
    return SegmentationReport(intervals=intervals, **_at_point(point, found, missing))


def review_report(
    begin: OperatingPoint, threshold: OperatingPoint, rows: Sequence[ScoredImage]
) -> ReviewReport:
    """What the grey zone holds of the test images.

    Args:
        begin: where it begins; its contamination is ``from_fpr``.
        threshold: the image threshold, where it ends.
        rows: the labelled test images with their scores.

    Returns:
        the shares of good and of defective images, with exact intervals; None with the reason where undefined.
    """
    shares: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    intervals: dict[str, IntervalReport] = {}
    for name, label, kind in (("share_in_review", 0, "good"), ("defects_in_review", 1, "defective")):
        scores = [row.score for row in rows if row.label == label]
        shares[name] = None
        if begin.reason:
            reasons[name] = begin.reason
        elif not scores:
            reasons[name] = f"no {kind} test images"
        else:
            count, n = in_review(scores, threshold.threshold, begin.threshold), len(scores)
            low, high = rate_interval(count, n)
            shares[name] = count / n
            intervals[name] = IntervalReport(
                low=low,
                high=high,
                level=LEVEL,
                method=CLOPPER_PEARSON,
                n_normal=0 if label else n,
                n_anomalous=n if label else 0,
            )
    if begin.reason:
        reasons["threshold"] = begin.reason
    return ReviewReport(
        from_fpr=begin.contamination,
        threshold=begin.threshold,
        source=begin.source,
        n=begin.n,
        reasons=reasons,
        intervals=intervals,
        **shares,
    )


def _at_point(
    point: OperatingPoint | SegmentationPoint, found: ThresholdMetrics | None, missing: str | None
) -> dict[str, Any]:
    """The fields that every report of a threshold has; ``missing`` is what there is not to measure it on."""
    figures = (found or ThresholdMetrics(math.nan, 0, 0, 0, 0)).figures()
    usual_reason = no_threshold(point) if math.isnan(point.threshold) else missing or "no masks"
    known = {} if found is None else _reasons_at(found, missing)
    reasons = {name: known.get(name, usual_reason) for name, value in figures.items() if math.isnan(value)}
    if math.isnan(point.threshold):
        reasons["threshold"] = no_threshold(point)
    return {
        "threshold": point.threshold,
        "source": point.source,
        "n": point.n,
        "reasons": reasons,
        **figures,
    }


def _reasons_at(found: ThresholdMetrics, missing: str | None) -> dict[str, str]:
    """Why figures at a threshold are undefined, in the words of the test images."""
    reasons = dict(found.reasons)
    if missing:
        of_kind = ("recall", "f1", "iou") if "defective" in missing else ("false_positive_rate",)
        names = found.figures() if missing == "no test images" else of_kind
        reasons |= {name: missing for name in names if name in reasons}
    return reasons


def no_threshold(point: OperatingPoint | SegmentationPoint) -> str:
    """Why there is no threshold."""
    return f"no threshold: {point.source.removeprefix('none: ')}"
