"""Metrics of image scores: the curve's summaries, and what happens at a fixed threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uad_orchestrator.metrics import curves
from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.thresholds import exceeds

Scores = Sequence[float] | np.ndarray
Labels = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class ImageMetrics:
    """Threshold-free metrics of image scores.

    Attributes:
        auroc: in 0..1, as the next two; NaN where undefined. Published as ``image_auroc``, ``image_ap``, ...
        ap: average precision.
        f1_max: the best F1 of any threshold.
        f1_max_threshold: the threshold of ``f1_max``. It reads test labels: never an operating point.
        reasons: for each NaN, by attribute name, why.
    """

    auroc: float
    ap: float
    f1_max: float
    f1_max_threshold: float
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ThresholdMetrics:
    """What a fixed threshold does. Anomalous means score > threshold.

    ``precision``, ``recall``, ``f1``, ``iou`` and ``false_positive_rate`` are in 0..1, NaN where undefined.

    Attributes:
        threshold: in the unit of the scores.
        tp: true positives, images or pixels.
        fp: false positives.
        tn: true negatives.
        fn: false negatives.

    >>> found = ThresholdMetrics(0.5, tp=3, fp=1, tn=9, fn=1)
    >>> found.precision, found.recall, found.false_positive_rate
    (0.75, 0.75, 0.1)
    """

    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def precision(self) -> float:
        """Share of what is above the threshold that is anomalous."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of what is anomalous that is above the threshold."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where nothing is above the threshold."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn) if self.tp + self.fn else math.nan

    @property
    def iou(self) -> float:
        """Share of what is anomalous or above the threshold that is both: the Jaccard index."""
        return _ratio(self.tp, self.tp + self.fp + self.fn) if self.tp + self.fn else math.nan

    @property
    def false_positive_rate(self) -> float:
        """Share of what is normal that is above the threshold."""
        return _ratio(self.fp, self.fp + self.tn)

    def figures(self) -> dict[str, float]:
        """All that is taken of the counts.

        Returns:
            the figures by name, in the order of metrics.json.
        """
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "iou": self.iou,
            "false_positive_rate": self.false_positive_rate,
        }

    @property
    def reasons(self) -> dict[str, str]:
        """For each figure that is NaN, why."""
        reasons = {}
        if self.tp + self.fp == 0:
            reasons["precision"] = "nothing scores above the threshold"
        if self.tp + self.fn == 0:
            reasons |= dict.fromkeys(("recall", "f1", "iou"), "nothing is labelled anomalous")
        if self.fp + self.tn == 0:
            reasons["false_positive_rate"] = "nothing is labelled normal"
        return reasons


def image_metrics(scores: Scores, labels: Labels) -> ImageMetrics:
    """AUROC, AP and F1-max of image scores, as scikit-learn defines them.

    Args:
        scores: (n,) finite; higher is more anomalous.
        labels: (n,) 0 normal, 1 anomalous.

    Returns:
        figures in 0..1: ``sklearn.metrics.roc_auc_score``, ``average_precision_score`` and the best F1 of any
        threshold; NaN with the reason where a class is missing.

    Raises:
        ValueError: lengths that differ, a score that is not finite, a label other than 0 and 1.

    >>> image_metrics([0.1, 0.2, 0.9], [0, 0, 1])
    ImageMetrics(auroc=1.0, ap=1.0, f1_max=1.0, f1_max_threshold=0.2, reasons={})
    >>> image_metrics([0.1, 0.2], [0, 0]).reasons["auroc"]
    'no anomalous images among 2'
    """
    scores, labels = _checked(scores, labels)
    reason = _undefined_reason(labels)
    if reason:
        reasons = dict.fromkeys(("auroc", "ap", "f1_max", "f1_max_threshold"), reason)
        return ImageMetrics(math.nan, math.nan, math.nan, math.nan, reasons)
    groups = curves.groups_of(scores, labels)
    f1_max, threshold = curves.f1_max(groups)
    return ImageMetrics(curves.roc_auc(groups), curves.average_precision(groups), f1_max, threshold)


def image_curves(scores: Scores, labels: Labels) -> dict[str, Curve]:
    """The ``roc`` and ``pr`` curves of image scores, a point per distinct score.

    Args:
        scores: as for ``image_metrics``.
        labels: likewise.

    Returns:
        ``roc`` (x false-positive rate, y true-positive rate) and ``pr`` (x recall, y precision); empty where only
        one class is there.

    Raises:
        ValueError: as ``image_metrics``.

    >>> image_curves([0.1, 0.5, 0.9], [0, 0, 1])["roc"].x.tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    scores, labels = _checked(scores, labels)
    if _undefined_reason(labels):
        return {}
    groups = curves.groups_of(scores, labels)
    return {"roc": curves.roc_curve(groups), "pr": curves.pr_curve(groups)}


def threshold_metrics(scores: Scores, labels: Labels, threshold: float) -> ThresholdMetrics:
    """Counts, precision, recall, F1, IoU and false-positive rate of ``score > threshold``.

    Args:
        scores: as for ``image_metrics``.
        labels: likewise.
        threshold: in the unit of the scores, e.g. ``threshold_`` of a detector.

    Returns:
        the counts, with the figures as properties.

    Raises:
        ValueError: as ``image_metrics``, or a threshold that is NaN.

    >>> result = threshold_metrics([0.1, 0.5, 0.9], [0, 0, 1], threshold=0.5)
    >>> result.precision, result.recall, result.false_positive_rate
    (1.0, 1.0, 0.0)
    """
    scores, labels = _checked(scores, labels)
    called, anomalous = exceeds(scores, threshold), labels == 1
    tp, fp = int((called & anomalous).sum()), int((called & ~anomalous).sum())
    return ThresholdMetrics(
        threshold, tp=tp, fp=fp, tn=int((~anomalous).sum()) - fp, fn=int(anomalous.sum()) - tp
    )


def _checked(scores: Scores, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"expected one label per score, got scores {scores.shape} and labels {labels.shape}")
    not_finite = np.flatnonzero(~np.isfinite(scores))
    if not_finite.size:
        raise ValueError(
            f"{not_finite.size} of {scores.size} scores are not finite, the first at index {not_finite[0]}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 (normal) or 1 (anomalous), got {np.unique(labels).tolist()[:5]}")
    return scores, labels.astype(np.int64)


def _undefined_reason(labels: np.ndarray) -> str | None:
    if labels.size == 0:
        return "no images"
    if not (labels == 1).any():
        return f"no anomalous images among {labels.size}"
    if not (labels == 0).any():
        return f"no normal images among {labels.size}"
    return None


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
