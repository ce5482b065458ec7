"""All metrics of a cell in one pass over its maps: overall, per defect type, and at both operating points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.image_metrics import ThresholdMetrics, image_metrics, threshold_metrics
from uad_orchestrator.metrics.pixel_counts import PixelCounts
from uad_orchestrator.metrics.report import DefectReport, OperatingPointReport
from uad_orchestrator.metrics.thresholds import OperatingPoint

METRICS_VERSION = 1
"""Raised when the figures of unchanged maps and scores change."""

PIXEL_FIGURES = ("pixel_auroc", "pixel_ap", "pixel_f1_max")
DEFECT_PIXEL_FIGURES = ("pixel_auroc", "pixel_ap")
POINT_FIGURES = ("precision", "recall", "f1", "iou", "false_positive_rate")


class ScoredImage(Protocol):
    """What is asked of a row of a score table."""

    @property
    def image(self) -> str: ...
    @property
    def label(self) -> int: ...
    @property
    def defect_type(self) -> str: ...
    @property
    def score(self) -> float: ...


@dataclass(frozen=True)
class CellMetrics:
    """The metrics of one cell.

    Attributes:
        metrics: image_auroc, image_ap, image_f1_max, pixel_auroc, pixel_ap, pixel_f1_max, aupro_<limit>; NaN
            where undefined.
        reasons: for each NaN of ``metrics``, why.
        per_defect: one entry per defect type, each against all normal test images.
        image_point, pixel_point: the operating points with what they do on the test images and pixels.
        pixel_curves: ``roc``, ``pr``, ``pro``; empty where undefined.
    """

    metrics: dict[str, float]
    reasons: dict[str, str]
    per_defect: list[DefectReport]
    image_point: OperatingPointReport
    pixel_point: OperatingPointReport
    pixel_curves: dict[str, Curve] = field(default_factory=dict)


def evaluate_cell(
    rows: Sequence[ScoredImage],
    anomaly_map: Callable[[ScoredImage], np.ndarray],
    mask: Callable[[ScoredImage], np.ndarray | None],
    *,
    aupro_limits: Sequence[float],
    image_point: OperatingPoint,
    pixel_point: OperatingPoint,
) -> CellMetrics:
    """Evaluate the test images of a cell; one map is held at a time.

    Args:
        rows: the test images with their scores.
        anomaly_map: gives an image's raw map ``(H, W)``.
        mask: gives its ground truth ``(H, W)``; None for a defective image whose mask is not published.
        aupro_limits: false-positive rates up to which AUPRO integrates.
        image_point, pixel_point: the calibrated thresholds of image scores and of map values.

    Raises:
        ValueError: a score or map is not finite, a mask is of another size; names the image.
    """
    pixels = _count_pixels(rows, anomaly_map, mask, pixel_point.threshold)
    labels, scores = [row.label for row in rows], [row.score for row in rows]
    of_images = image_metrics(scores, labels)
    total = sum(pixels.by_type.values(), PixelCounts())
    figures = total.compute(aupro_limits) if not pixels.unpublished else {}
    names = (*PIXEL_FIGURES, *(f"aupro_{limit:g}" for limit in aupro_limits))
    metrics = {
        "image_auroc": of_images.auroc,
        "image_ap": of_images.ap,
        "image_f1_max": of_images.f1_max,
        **{name: figures.get(name, math.nan) for name in names},
    }
    reasons = {f"image_{name}": why for name, why in of_images.reasons.items()}
    reasons |= dict.fromkeys(names, pixels.why_undefined(total) or "")
    return CellMetrics(
        metrics,
        {name: reasons[name] for name, value in metrics.items() if math.isnan(value)},
        [_defect_report(kind, rows, pixels, aupro_limits, image_point) for kind in _defect_types(rows)],
        _point_report(image_point, _at_threshold(scores, labels, image_point)),
        _point_report(pixel_point, None if pixels.unpublished else pixels.at_threshold),
        {} if pixels.unpublished else total.curves(),
    )


@dataclass
class _Pixels:
    """Pixel counts per defect type (normals under ``good``), and counts at the pixel threshold."""

    by_type: dict[str, PixelCounts]
    at_threshold: ThresholdMetrics | None
    unpublished: int

    def why_undefined(self, counts: PixelCounts) -> str | None:
        if self.unpublished:
            return f"{self.unpublished} defective images have no published mask"
        return counts.undefined_reason


def _count_pixels(
    rows: Iterable[ScoredImage],
    anomaly_map: Callable[[ScoredImage], np.ndarray],
    mask: Callable[[ScoredImage], np.ndarray | None],
    threshold: float,
) -> _Pixels:
    by_type: dict[str, PixelCounts] = {}
    unpublished, counted = 0, np.zeros(4, np.int64)
    for row in rows:
        truth = mask(row)
        if truth is None:
            unpublished += 1
            continue
        scores = anomaly_map(row)
        kind = row.defect_type if row.label else "good"
        try:
            by_type.setdefault(kind, PixelCounts()).update(scores, truth)
        except ValueError as error:
            raise ValueError(f"{row.image}: {error}") from error
        called, defect = scores > threshold, truth != 0
        found = int((called & defect).sum())
        counted += (found, int(called.sum()) - found, 0, int(defect.sum()) - found)
        counted[2] += scores.size - int((called | defect).sum())
    tp, fp, tn, fn = (int(n) for n in counted)
    at_threshold = None if math.isnan(threshold) else ThresholdMetrics(threshold, tp=tp, fp=fp, tn=tn, fn=fn)
    return _Pixels(by_type, at_threshold, unpublished)


def _defect_types(rows: Iterable[ScoredImage]) -> list[str]:
    return sorted({row.defect_type for row in rows if row.label})


def _defect_report(
    kind: str,
    rows: Sequence[ScoredImage],
    pixels: _Pixels,
    aupro_limits: Sequence[float],
    point: OperatingPoint,
) -> DefectReport:
    """One defect type against all normal images; its pixels are the counts of both, added."""
    own = [row for row in rows if row.label == 0 or row.defect_type == kind]
    labels, scores = [row.label for row in own], [row.score for row in own]
    of_images = image_metrics(scores, labels)
    counts = pixels.by_type.get("good", PixelCounts()) + pixels.by_type.get(kind, PixelCounts())
    figures = counts.compute(aupro_limits)
    names = (*DEFECT_PIXEL_FIGURES, *(f"aupro_{limit:g}" for limit in aupro_limits))
    at_threshold = _at_threshold(scores, labels, point)
    metrics = {
        "image_auroc": of_images.auroc,
        "image_ap": of_images.ap,
        "recall": math.nan if at_threshold is None else at_threshold.recall,
        **{name: math.nan if pixels.unpublished else figures[name] for name in names},
    }
    reasons = {f"image_{name}": why for name, why in of_images.reasons.items()}
    reasons |= {"recall": _no_threshold(point)}
    reasons |= dict.fromkeys(names, pixels.why_undefined(counts) or "")
    undefined = {name: reasons[name] for name, value in metrics.items() if math.isnan(value)}
    n = sum(row.label for row in own)
    return DefectReport(defect_type=kind, n=n, metrics=metrics, reasons=undefined)


def _at_threshold(
    scores: Sequence[float], labels: Sequence[int], point: OperatingPoint
) -> ThresholdMetrics | None:
    return None if math.isnan(point.threshold) else threshold_metrics(scores, labels, point.threshold)


def _point_report(point: OperatingPoint, found: ThresholdMetrics | None) -> OperatingPointReport:
    """The operating point, with what it does where that is known."""
    figures: Mapping[str, float] = {
        name: math.nan if found is None else getattr(found, name) for name in POINT_FIGURES
    }
    silent = "no published masks" if not math.isnan(point.threshold) else _no_threshold(point)
    known = {} if found is None else found.reasons
    reasons = {name: known.get(name, silent) for name, value in figures.items() if math.isnan(value)}
    if math.isnan(point.threshold):
        reasons["threshold"] = _no_threshold(point)
    return OperatingPointReport(
        threshold=point.threshold,
        source=point.source,
        n=point.n,
        contamination=point.contamination,
        reasons=reasons,
        **figures,
    )


def _no_threshold(point: OperatingPoint) -> str:
    return f"no threshold: {point.source.removeprefix('none: ')}"
