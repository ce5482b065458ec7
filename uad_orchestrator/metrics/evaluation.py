"""All metrics of a cell in one pass over its maps: overall, per defect type, and at every operating point."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uad_orchestrator.metrics.catalogue import Metric, metrics_of
from uad_orchestrator.metrics.cell_intervals import (
    Intervals,
    PixelIntervals,
    intervals_of,
    rate_intervals,
)
from uad_orchestrator.metrics.curves import Curve, mean_curve
from uad_orchestrator.metrics.image_metrics import (
    ImageMetrics,
    ThresholdMetrics,
    image_metrics,
    threshold_metrics,
)
from uad_orchestrator.metrics.operating_point import NO_MAP, OperatingPoint, SegmentationPoint
from uad_orchestrator.metrics.pixels.left_out import points_of
from uad_orchestrator.metrics.pixels.pimo import NormalPixels
from uad_orchestrator.metrics.pixels.spro import GroundTruth
from uad_orchestrator.metrics.pixels.statistics import (
    Images,
    PixelPass,
    PixelStatistics,
    ScoredImage,
    whole_image,
)
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.report import DefectReport, OperatingPointReport, SegmentationReport
from uad_orchestrator.metrics.thresholds import held_out_rate

METRICS_VERSION = 3
"""Raised when the figures of unchanged maps and scores, or their intervals, change."""


@dataclass(frozen=True)
class CellMetrics:
    """The metrics of one cell.

    Attributes:
        metrics: those of images and pixels that are always taken (see ``metrics.catalogue``), and what the
            protocol asks for; NaN where undefined.
        reasons: for each NaN of ``metrics``, why.
        intervals: of the metrics, by name.
        per_defect: one entry per defect type, each against all normal test images.
        image_point: the image threshold with what it does to the test images.
        pixel_point: the pixel threshold with what it does to their pixels.
        segmentation: SegF1's threshold likewise; None where the protocol does not ask for it.
        pixel_curves: ``roc``, ``pr``, ``pro`` or ``spro``; empty where undefined.
        without_mask: the defective images that have no mask: the figures of pixels are over the others.
    """

    metrics: dict[str, float]
    reasons: dict[str, str]
    intervals: Intervals
    per_defect: list[DefectReport]
    image_point: OperatingPointReport
    pixel_point: OperatingPointReport
    segmentation: SegmentationReport | None = None
    pixel_curves: dict[str, Curve] = field(default_factory=dict)
    without_mask: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a cell, all from normal images it was not fitted on.

    Attributes:
        image: of image scores.
        pixel: of map values.
        segmentation: of map values, SegF1's.
    """

    image: OperatingPoint
    pixel: OperatingPoint
    segmentation: SegmentationPoint


def evaluate_cell(
    rows: Sequence[ScoredImage],
    anomaly_map: Callable[[ScoredImage], np.ndarray] | None,
    truth: Callable[[ScoredImage], GroundTruth | None],
    *,
    protocol: EvaluationProtocol,
    thresholds: Thresholds,
    inspected: Callable[[ScoredImage], np.ndarray | None] = whole_image,
    held_out: Sequence[float] = (),
    held_out_groups: Sequence[str] = (),
    threads: int | None = None,
) -> CellMetrics:
    """Evaluate the labelled test images of a cell; maps are read and counted in threads, few are held at a time.

    Args:
        rows: the test images with their scores.
        anomaly_map: gives an image's raw map ``(H, W)``; None where the model gives no maps.
        truth: gives its ground truth, in channels where the protocol takes sPRO; None for a defective image
            without a mask, of which no pixel is counted.
        protocol: what to measure.
        thresholds: the calibrated thresholds of image scores and map values.
        inspected: gives the pixels ``(H, W)`` bool of an image that count; None: all.
        held_out: scores of the normals that calibrate: where no good image is tested the false-positive rate is theirs.
        held_out_groups: the group of each of them; by default each image is one.
        threads: in how many threads ``anomaly_map``, ``truth`` and ``inspected`` are called and pixels counted;
            None: ``available_threads()``. The numbers are the same with any.

    Returns:
        the metrics in 0..1, each as its dataset's evaluator takes it (see docs/metrics.md); NaN with the reason
        where undefined.

    Raises:
        ValueError: a score or map is not finite, a mask is of another size or shows defects on a normal
            image, a channel's saturation area is 0; names the image.

    >>> from types import SimpleNamespace
    >>> rows = [
    ...     SimpleNamespace(image="0.png", label=0, defect_type="good", score=0.2),
    ...     SimpleNamespace(image="1.png", label=1, defect_type="hole", score=0.9),
    ... ]
    >>> maps = {"0.png": np.full((4, 4), 0.2), "1.png": np.eye(4) * 0.9}
    >>> masks = {"0.png": np.zeros((4, 4), bool), "1.png": np.eye(4, dtype=bool)}
    >>> point = OperatingPoint(0.5, "validation", 20, 0.05)
    >>> found = evaluate_cell(
    ...     rows,
    ...     lambda row: maps[row.image],
    ...     lambda row: GroundTruth(masks[row.image]),
    ...     protocol=EvaluationProtocol(aupro_limits=(0.3,)),
    ...     thresholds=Thresholds(point, point, SegmentationPoint(0.6, "validation", 20)),
    ... )
    >>> found.metrics["image_auroc"], found.metrics["aupro_0.3"], found.pixel_point.recall
    (1.0, 1.0, 1.0)
    """
    images = None if anomaly_map is None else Images(anomaly_map, truth, inspected)
    pixels = _count_pixels(rows, images, protocol, thresholds, threads)
    labels, scores = [row.label for row in rows], [row.score for row in rows]
    of_images = image_metrics(scores, labels)
    always = [metric for metric in metrics_of("image", "pixel") if metric.always]
    of_pixels = pixels.shown(pixels.figures(pixels.total), _pixel_names(always, protocol))
    metrics = {**_image_figures(always, of_images), **of_pixels.values}
    missing = _what_is_missing(rows)
    reasons = {f"image_{name}": missing or why for name, why in of_images.reasons.items()} | of_pixels.reasons
    per_defect = [_defect_report(kind, rows, pixels, thresholds.image) for kind in pixels.of_type]
    for name in protocol.averaged_names:
        metrics[name], reasons[name] = _mean_over_types(name, protocol.averaged_types, per_defect)
    at_threshold = _at_threshold(scores, labels, thresholds.image)
    image_point = _point_report(thresholds.image, at_threshold, rate_intervals(at_threshold), missing)
    return CellMetrics(
        metrics,
        {name: reasons[name] for name, value in metrics.items() if math.isnan(value)},
        intervals_of(metrics, rows, pixels.intervals, averaged=protocol.averaged_types),
        per_defect,
        _of_held_out(image_point, held_out, held_out_groups, thresholds.image),
        _point_report(thresholds.pixel, *pixels.at_pixel_threshold(), pixels.absent or missing),
        _segmentation_report(
            thresholds.segmentation, *pixels.at_segmentation_threshold(), pixels.absent or missing
        )
        if protocol.seg_f1
        else None,
        pixels.curves(),
        tuple(row.image for row in rows if row.image in set(pixels.total.without_mask)),
    )


@dataclass(frozen=True)
class _Figures:
    """Figures by name, NaN where undefined, and why they are."""

    values: dict[str, float]
    reasons: dict[str, str]


@dataclass
class _Pixels:
    """What was counted: of all test images, and of each defect type with all normals.

    Of the types only figures and curves are kept, so that few counts are held however many types there are.
    ``absent`` says why there are no pixel figures at all, ``missing`` which images are not there.
    """

    protocol: EvaluationProtocol
    thresholds: Thresholds
    total: PixelStatistics
    why_no_aupimo: str | None = None
    intervals: PixelIntervals | None = None
    of_type: dict[str, _Figures] = field(default_factory=dict)
    type_curves: dict[str, Curve] = field(default_factory=dict)
    absent: str | None = None
    missing: str | None = None

    def shown(self, figures: _Figures, names: Sequence[str]) -> _Figures:
        """Those with a name; all NaN where there are none."""
        values = {name: math.nan if self.absent else figures.values[name] for name in names}
        undefined = [name for name, value in values.items() if math.isnan(value)]
        return _Figures(values, {name: self.absent or figures.reasons[name] for name in undefined})

    def figures(self, statistics: PixelStatistics) -> _Figures:
        """All figures of some images."""
        found = statistics.counts.compute(self.protocol.overlap_limits)
        why = "no masks" if statistics.without_mask and not statistics.masked else self.missing
        reasons = dict.fromkeys(found, why or statistics.counts.undefined_reason or "")
        at = statistics.at_segmentation_threshold.metrics()
        found["seg_f1"] = math.nan if at is None else at.f1
        reasons["seg_f1"] = (
            _no_threshold(self.thresholds.segmentation) if at is None else why or at.reasons.get("f1", "")
        )
        found["aupimo"] = statistics.mean_aupimo()
        reasons["aupimo"] = why or self.why_no_aupimo or "no anomalous images"
        found["map_max_auroc"] = statistics.map_max_auroc()
        reasons["map_max_auroc"] = why or "only normal or only anomalous images"
        return _Figures(found, reasons)

    def at_pixel_threshold(self) -> tuple[ThresholdMetrics | None, Intervals]:
        """What the pixel threshold does, and how far that can be trusted."""
        if self.intervals is None or (found := self.total.at_pixel_threshold.metrics()) is None:
            return None, {}
        counts = [image.at_pixel_threshold for image in self.total.images]
        return found, self.intervals.at_threshold(found.figures(), counts)

    def at_segmentation_threshold(self) -> tuple[ThresholdMetrics | None, Intervals]:
        """What SegF1's threshold does, likewise."""
        if self.intervals is None or (found := self.total.at_segmentation_threshold.metrics()) is None:
            return None, {}
        counts = [image.at_segmentation_threshold for image in self.total.images]
        return found, self.intervals.at_threshold(found.figures(), counts)

    def curves(self) -> dict[str, Curve]:
        """The curves of all images; the overlap's, where it is a mean over types, is the mean of theirs."""
        if self.absent:
            return {}
        curves = self.total.counts.curves()
        averaged = [
            self.type_curves[kind] for kind in self.protocol.averaged_types if kind in self.type_curves
        ]
        if averaged and curves:
            curves[self.protocol.overlap] = mean_curve(averaged)
        return curves


def _count_pixels(
    rows: Sequence[ScoredImage],
    images: Images | None,
    protocol: EvaluationProtocol,
    thresholds: Thresholds,
    threads: int | None,
) -> _Pixels:
    rows = sorted(rows, key=lambda row: row.image)  # sums of floats depend on their order
    kinds = sorted({row.defect_type for row in rows if row.label})
    if images is None:
        empty, figures = PixelStatistics.empty(protocol.overlap), _Figures({}, {})
        return _Pixels(protocol, thresholds, empty, of_type=dict.fromkeys(kinds, figures), absent=NO_MAP)
    normal_pixels = NormalPixels() if protocol.aupimo else None
    pixel_pass = PixelPass(
        images,
        protocol.overlap,
        thresholds.pixel.threshold,
        thresholds.segmentation.threshold if protocol.seg_f1 else math.nan,
        normal_pixels,
        threads,
        points_of(len(rows)),
    )
    normals = pixel_pass.count_normals(row for row in rows if row.label == 0)
    pixels = _Pixels(
        protocol,
        thresholds,
        normals,
        normal_pixels.undefined_reason if normal_pixels else None,
        missing=_what_is_missing(rows),
    )
    for kind in kinds:
        own = pixel_pass.count_defects(row for row in rows if row.label and row.defect_type == kind)
        against_normals = normals + own
        pixels.of_type[kind] = pixels.figures(against_normals)
        if kind in protocol.averaged_types and (curves := against_normals.counts.curves()):
            pixels.type_curves[kind] = curves[protocol.overlap]
        pixels.total += own
    if not rows:
        pixels.absent = pixels.missing
    elif pixels.total.without_mask and not pixels.total.masked:
        pixels.absent = "no masks"
    if not pixels.absent:
        pixels.intervals = PixelIntervals.of(pixels.total, protocol)
    return pixels


def _what_is_missing(rows: Sequence[ScoredImage]) -> str | None:
    """Which kind of test images there is none of."""
    labels = {row.label for row in rows}
    if not labels:
        return "no test images"
    if 1 not in labels:
        return "no defective test images"
    return None if 0 in labels else "no good test images"


def _mean_over_types(
    name: str, types: Sequence[str], per_defect: Sequence[DefectReport]
) -> tuple[float, str]:
    """The mean of a figure over defect types; NaN with the reason where one of them lacks it."""
    reports = {report.defect_type: report for report in per_defect}
    missing = [kind for kind in types if kind not in reports]
    if missing:
        return math.nan, f"a mean over {' and '.join(types)}: there are no {' and '.join(missing)}"
    found = [value for kind in types if (value := reports[kind].metrics[name]) is not None]
    undefined = {kind: reports[kind].reasons[name] for kind in types if name in reports[kind].reasons}
    if len(undefined) == len(types) and len(set(undefined.values())) == 1:
        return math.nan, undefined[types[0]]
    said = "; ".join(f"{kind}: {why}" for kind, why in undefined.items())
    return (math.nan, said) if undefined else (math.fsum(found) / len(found), "")


def _defect_report(
    kind: str, rows: Sequence[ScoredImage], pixels: _Pixels, point: OperatingPoint
) -> DefectReport:
    """One defect type against all normal images; its pixels are the counts of both, added."""
    own = [row for row in rows if row.label == 0 or row.defect_type == kind]
    labels, scores = [row.label for row in own], [row.score for row in own]
    of_images = image_metrics(scores, labels)
    always = [metric for metric in metrics_of("image", "pixel") if metric.always and metric.per_defect]
    of_pixels = pixels.shown(pixels.of_type[kind], _pixel_names(always, pixels.protocol))
    at_threshold = _at_threshold(scores, labels, point)
    metrics = {
        **_image_figures(always, of_images),
        "recall": math.nan if at_threshold is None else at_threshold.recall,
        **of_pixels.values,
    }
    missing = _what_is_missing(own)
    reasons = {f"image_{name}": missing or why for name, why in of_images.reasons.items()}
    reasons |= {"recall": _no_threshold(point), **of_pixels.reasons}
    undefined = {name: reasons[name] for name, value in metrics.items() if math.isnan(value)}
    intervals = intervals_of(metrics, own, pixels.intervals)
    if "recall" in (rates := rate_intervals(at_threshold)):
        intervals["recall"] = rates["recall"]
    return DefectReport(
        defect_type=kind, n=sum(labels), metrics=metrics, intervals=intervals, reasons=undefined
    )


def _image_figures(metrics: Sequence[Metric], found: ImageMetrics) -> dict[str, float]:
    """The metrics of images among these, under their published names."""
    names = [metric.name for metric in metrics if metric.scope == "image"]
    return {name: getattr(found, name.removeprefix("image_")) for name in names}


def _pixel_names(metrics: Sequence[Metric], protocol: EvaluationProtocol) -> tuple[str, ...]:
    """The metrics of pixels among these, and those that the protocol asks for."""
    names = [metric.name for metric in metrics if metric.scope == "pixel"]
    return (*names, *protocol.overlap_names, *protocol.extra_names)


def _at_threshold(
    scores: Sequence[float], labels: Sequence[int], point: OperatingPoint
) -> ThresholdMetrics | None:
    return None if math.isnan(point.threshold) else threshold_metrics(scores, labels, point.threshold)


def _point_report(
    point: OperatingPoint, found: ThresholdMetrics | None, intervals: Intervals, missing: str | None
) -> OperatingPointReport:
    """The operating point, with what it does where that is known."""
    values = _at_point(point, found, missing) | point.promise
    if point.unguaranteed:
        values["reasons"] |= dict.fromkeys(point.promise, point.unguaranteed)
    return OperatingPointReport(contamination=point.contamination, intervals=intervals, **values)


def _of_held_out(
    report: OperatingPointReport, held_out: Sequence[float], groups: Sequence[str], point: OperatingPoint
) -> OperatingPointReport:
    """The false-positive rate of the normals that calibrate, where no good image is tested."""
    if report.false_positive_rate is not None or math.isnan(point.threshold):
        return report
    rate = held_out_rate(held_out, point.contamination, groups)
    if math.isnan(rate):
        return report
    reasons = {name: why for name, why in report.reasons.items() if name != "false_positive_rate"}
    known = f"{len(held_out)} held-out normals ({point.origin})"
    return report.model_copy(
        update={"false_positive_rate": rate, "false_positive_rate_from": known, "reasons": reasons}
    )


def _segmentation_report(
    point: SegmentationPoint, found: ThresholdMetrics | None, intervals: Intervals, missing: str | None
) -> SegmentationReport:
    return SegmentationReport(intervals=intervals, **_at_point(point, found, missing))


def _at_point(
    point: OperatingPoint | SegmentationPoint, found: ThresholdMetrics | None, missing: str | None
) -> dict[str, Any]:
    """The fields that every report of a threshold has; ``missing`` is what there is not to measure it on."""
    figures = (found or ThresholdMetrics(math.nan, 0, 0, 0, 0)).figures()
    usual_reason = _no_threshold(point) if math.isnan(point.threshold) else missing or "no masks"
    known = {} if found is None else _reasons_at(found, missing)
    reasons = {name: known.get(name, usual_reason) for name, value in figures.items() if math.isnan(value)}
    if math.isnan(point.threshold):
        reasons["threshold"] = _no_threshold(point)
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


def _no_threshold(point: OperatingPoint | SegmentationPoint) -> str:
    return f"no threshold: {point.source.removeprefix('none: ')}"
