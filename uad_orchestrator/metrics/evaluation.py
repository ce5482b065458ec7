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
from uad_orchestrator.metrics.thresholds import NO_MAP, OperatingPoint, exceeds

METRICS_VERSION = 2
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
    anomaly_map: Callable[[ScoredImage], np.ndarray] | None,
    mask: Callable[[ScoredImage], np.ndarray | None],
    *,
    aupro_limits: Sequence[float],
    image_point: OperatingPoint,
    pixel_point: OperatingPoint,
) -> CellMetrics:
    """Evaluate the test images of a cell; one map is held at a time.

    Args:
        rows: the test images with their scores.
        anomaly_map: gives an image's raw map ``(H, W)``; None where the model gives no maps.
        mask: gives its ground truth ``(H, W)``; None for a defective image whose mask is not published.
        aupro_limits: false-positive rates up to which AUPRO integrates.
        image_point, pixel_point: the calibrated thresholds of image scores and of map values.

    Raises:
        ValueError: a score or map is not finite, a mask is of another size or shows defects on a normal
            image; names the image.
    """
    pixels = _count_pixels(rows, anomaly_map, mask, pixel_point.threshold, aupro_limits)
    labels, scores = [row.label for row in rows], [row.score for row in rows]
    of_images = image_metrics(scores, labels)
    figures = pixels.total.compute(aupro_limits) if not pixels.absent else {}
    names = (*PIXEL_FIGURES, *(f"aupro_{limit:g}" for limit in aupro_limits))
    metrics = {
        "image_auroc": of_images.auroc,
        "image_ap": of_images.ap,
        "image_f1_max": of_images.f1_max,
        **{name: figures.get(name, math.nan) for name in names},
    }
    reasons = {f"image_{name}": why for name, why in of_images.reasons.items()}
    reasons |= dict.fromkeys(names, pixels.why_undefined(pixels.total.undefined_reason) or "")
    return CellMetrics(
        metrics,
        {name: reasons[name] for name, value in metrics.items() if math.isnan(value)},
        [_defect_report(kind, rows, pixels, aupro_limits, image_point) for kind in _defect_types(rows)],
        _point_report(image_point, _at_threshold(scores, labels, image_point)),
        _point_report(pixel_point, None if pixels.absent else pixels.at_threshold),
        {} if pixels.absent else pixels.total.curves(),
    )


@dataclass
class _Pixels:
    """Counts of all images, figures of each defect type against the normals, counts at the threshold.

    ``absent`` says why there are no pixel figures at all.
    """

    total: PixelCounts
    of_type: dict[str, dict[str, float]]
    undefined_type: dict[str, str | None]
    at_threshold: ThresholdMetrics | None = None
    absent: str | None = None

    def why_undefined(self, reason: str | None) -> str | None:
        return self.absent or reason


def _count_pixels(
    rows: Sequence[ScoredImage],
    anomaly_map: Callable[[ScoredImage], np.ndarray] | None,
    mask: Callable[[ScoredImage], np.ndarray | None],
    threshold: float,
    aupro_limits: Sequence[float],
) -> _Pixels:
    """Count type by type, so that few counts are held however many types there are."""
    if anomaly_map is None:
        kinds = _defect_types(rows)
        return _Pixels(PixelCounts(), {kind: {} for kind in kinds}, dict.fromkeys(kinds), absent=NO_MAP)
    found = _ThresholdCounts(threshold)
    normals, unpublished = _count([row for row in rows if row.label == 0], anomaly_map, mask, found)
    pixels = _Pixels(normals, {}, {})
    for kind in _defect_types(rows):
        own = [row for row in rows if row.label and row.defect_type == kind]
        counts, without_mask = _count(own, anomaly_map, mask, found)
        against_normals = normals + counts
        pixels.of_type[kind] = against_normals.compute(aupro_limits)
        pixels.undefined_type[kind] = against_normals.undefined_reason
        pixels.total = pixels.total + counts
        unpublished += without_mask
    pixels.at_threshold = found.metrics()
    if unpublished:
        pixels.absent = f"{unpublished} defective images have no published mask"
    return pixels


def _count(
    rows: Iterable[ScoredImage],
    anomaly_map: Callable[[ScoredImage], np.ndarray],
    mask: Callable[[ScoredImage], np.ndarray | None],
    found: _ThresholdCounts,
) -> tuple[PixelCounts, int]:
    """The counts of some images, and how many have no published mask."""
    counts, unpublished = PixelCounts(), 0
    for row in rows:
        truth = mask(row)
        if truth is None:
            unpublished += 1
            continue
        if row.label == 0 and truth.any():
            raise ValueError(
                f"{row.image}: labelled normal, but its mask shows {np.count_nonzero(truth)} pixels"
            )
        scores = anomaly_map(row)
        try:
            counts.update(scores, truth)
        except ValueError as error:
            raise ValueError(f"{row.image}: {error}") from error
        found.update(scores, truth)
    return counts, unpublished


class _ThresholdCounts:
    """Pixels right and wrong at the pixel threshold; counts nothing where that is NaN."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.tp = self.fp = self.tn = self.fn = 0

    def update(self, scores: np.ndarray, truth: np.ndarray) -> None:
        if math.isnan(self.threshold):
            return
        called, defect = exceeds(scores, self.threshold), truth != 0
        n_called, n_defect = int(np.count_nonzero(called)), int(np.count_nonzero(defect))
        found = int(np.count_nonzero(called & defect))
        self.tp += found
        self.fp += n_called - found
        self.fn += n_defect - found
        self.tn += scores.size - n_called - n_defect + found

    def metrics(self) -> ThresholdMetrics | None:
        if math.isnan(self.threshold):
            return None
        return ThresholdMetrics(self.threshold, tp=self.tp, fp=self.fp, tn=self.tn, fn=self.fn)


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
    figures = pixels.of_type[kind]
    names = (*DEFECT_PIXEL_FIGURES, *(f"aupro_{limit:g}" for limit in aupro_limits))
    at_threshold = _at_threshold(scores, labels, point)
    metrics = {
        "image_auroc": of_images.auroc,
        "image_ap": of_images.ap,
        "recall": math.nan if at_threshold is None else at_threshold.recall,
        **{name: math.nan if pixels.absent else figures[name] for name in names},
    }
    reasons = {f"image_{name}": why for name, why in of_images.reasons.items()}
    reasons |= {"recall": _no_threshold(point)}
    reasons |= dict.fromkeys(names, pixels.why_undefined(pixels.undefined_type[kind]) or "")
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
