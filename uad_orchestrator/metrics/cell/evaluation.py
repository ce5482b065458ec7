"""All metrics of a cell in one pass over its maps: overall, per defect type, and at every operating point."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from uad_orchestrator.metrics.catalogue import Metric, metrics_of
from uad_orchestrator.metrics.cell.intervals import Intervals, intervals_of, rate_intervals
from uad_orchestrator.metrics.cell.pixel_figures import CellPixels, count_pixels, what_is_missing
from uad_orchestrator.metrics.cell.point_reports import (
    Thresholds,
    figures_at_threshold,
    no_threshold,
    point_report,
    segmentation_report,
    with_held_out_rate,
)
from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.image_metrics import ImageMetrics, image_metrics
from uad_orchestrator.metrics.pixels.spro import GroundTruth
from uad_orchestrator.metrics.pixels.statistics import Images, ScoredImage, whole_image
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.report import DefectReport, OperatingPointReport, SegmentationReport
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint

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
    >>> from uad_orchestrator.metrics import OperatingPoint, SegmentationPoint
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
    pixels = count_pixels(rows, images, protocol, thresholds, threads)
    labels, scores = [row.label for row in rows], [row.score for row in rows]
    of_images = image_metrics(scores, labels)
    always = [metric for metric in metrics_of("image", "pixel") if metric.always]
    of_pixels = pixels.shown(pixels.figures(pixels.total), _pixel_names(always, protocol))
    metrics = {**_image_figures(always, of_images), **of_pixels.values}
    missing = what_is_missing(rows)
    reasons = {f"image_{name}": missing or why for name, why in of_images.reasons.items()} | of_pixels.reasons
    per_defect = [_defect_report(kind, rows, pixels, thresholds.image) for kind in pixels.of_type]
    for name in protocol.averaged_names:
        metrics[name], reasons[name] = _mean_over_types(name, protocol.averaged_types, per_defect)
    at_threshold = figures_at_threshold(scores, labels, thresholds.image)
    image_point = point_report(thresholds.image, at_threshold, rate_intervals(at_threshold), missing)
    return CellMetrics(
        metrics,
        {name: reasons[name] for name, value in metrics.items() if math.isnan(value)},
        intervals_of(metrics, rows, pixels.intervals, averaged=protocol.averaged_types),
        per_defect,
        with_held_out_rate(image_point, held_out, held_out_groups, thresholds.image),
        point_report(thresholds.pixel, *pixels.at_pixel_threshold(), pixels.absent or missing),
        segmentation_report(
            thresholds.segmentation, *pixels.at_segmentation_threshold(), pixels.absent or missing
        )
        if protocol.seg_f1
        else None,
        pixels.curves(),
        tuple(row.image for row in rows if row.image in set(pixels.total.without_mask)),
    )


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
    kind: str, rows: Sequence[ScoredImage], pixels: CellPixels, point: OperatingPoint
) -> DefectReport:
    """One defect type against all normal images; its pixels are the counts of both, added."""
    own = [row for row in rows if row.label == 0 or row.defect_type == kind]
    labels, scores = [row.label for row in own], [row.score for row in own]
    of_images = image_metrics(scores, labels)
    always = [metric for metric in metrics_of("image", "pixel") if metric.always and metric.per_defect]
    of_pixels = pixels.shown(pixels.of_type[kind], _pixel_names(always, pixels.protocol))
    at_threshold = figures_at_threshold(scores, labels, point)
    metrics = {
        **_image_figures(always, of_images),
        "recall": math.nan if at_threshold is None else at_threshold.recall,
        **of_pixels.values,
    }
    missing = what_is_missing(own)
    reasons = {f"image_{name}": missing or why for name, why in of_images.reasons.items()}
    reasons |= {"recall": no_threshold(point), **of_pixels.reasons}
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
