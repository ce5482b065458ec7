"""Curves and the areas below them, from counts of negatives and positives per score.

Every curve starts from ``Groups``: how many negatives and positives lie at each score, from the highest score
down. An exact group holds one distinct score; its members enter together, as scikit-learn treats ties.
A mixed group holds several close scores whose order is not known; its members are taken to enter evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

GAUSS_LEGENDRE = (
    (-0.8611363115940526, 0.34785484513745385),
    (-0.33998104358485626, 0.6521451548625461),
    (0.33998104358485626, 0.6521451548625461),
    (0.8611363115940526, 0.34785484513745385),
)
"""Nodes and weights of order 4 on [-1, 1] (``numpy.polynomial.legendre.leggauss(4)``, which is slow to import)."""


class Curve(NamedTuple):
    """A curve by its points, from the highest threshold to the lowest.

    Attributes:
        x: (n,) float64 in 0..1, false-positive rate (ROC, PRO) or recall (PR).
        y: (n,) float64 in 0..1, true-positive rate, overlap or precision.
        thresholds: (n,) float64, the unit of the scores; a point counts scores > threshold as anomalous. NaN
            where a point belongs to no threshold (``mean_curve``).
    """

    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class Groups:
    """How many negatives and positives lie at each score, highest score first.

    Attributes:
        negatives, positives: (n,) int64 counts.
        region_weights: (n,) int64, the positives weighted by one over their region's area, in any unit.
        lowest, highest: (n,) float64, the least and greatest score within the group.
    """

    negatives: np.ndarray
    positives: np.ndarray
    region_weights: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @cached_property
    def true_positives(self) -> np.ndarray:
        """(n,) int64: positives in the groups 0..i."""
        return np.cumsum(self.positives)

    @cached_property
    def false_positives(self) -> np.ndarray:
        """(n,) int64: negatives in the groups 0..i."""
        return np.cumsum(self.negatives)

    @cached_property
    def false_positive_rate(self) -> np.ndarray:
        """(n + 1,) float64: share of the negatives in the groups before i, from 0 to 1."""
        return _with_origin(self.negatives)

    @cached_property
    def overlap(self) -> np.ndarray:
        """(n + 1,) float64: share of the region weights in the groups before i, from 0 to 1."""
        return _with_origin(self.region_weights)

    @property
    def mixed(self) -> np.ndarray:
        """(n,) bool: the group holds more than one distinct score."""
        return self.lowest < self.highest

    @property
    def thresholds(self) -> np.ndarray:
        """(n,) float64: scores > thresholds[i] are those of the groups 0..i.

        It is the greatest score of the next group; below the last one, the next smaller number.
        """
        below_all = np.nextafter(self.lowest[-1:], -np.inf)
        return np.concatenate([self.highest[1:], below_all])


def groups_of(scores: np.ndarray, labels: np.ndarray) -> Groups:
    """The exact groups of single scores: one per distinct score.

    Args:
        scores: (n,) finite, at least one.
        labels: (n,) 0 or 1.

    Returns:
        groups whose region weights are the positives: each counts as a region of its own.
    """
    distinct, group = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    positives = np.bincount(group[labels == 1], minlength=distinct.size)[::-1]
    negatives = np.bincount(group[labels == 0], minlength=distinct.size)[::-1]
    return Groups(negatives, positives, positives, distinct[::-1], distinct[::-1])


def roc_auc(groups: Groups) -> float:
    """Area under the ROC curve: a tie counts one half, as in ``sklearn.metrics.roc_auc_score``.

    Args:
        groups: with negatives and positives.

    Returns:
        in 0..1.
    """
    # Integers would overflow for 1e10 pixels; float64 keeps 16 digits.
    area = np.sum(groups.negatives * (groups.true_positives - groups.positives / 2.0))
    return float(area / (float(groups.true_positives[-1]) * float(groups.false_positives[-1])))


def average_precision(groups: Groups) -> float:
    """The step sum over recall of ``sklearn.metrics.average_precision_score``.

    Inside a mixed group the sum over its positives is taken as an integral: the j-th of them is met after
    j - 1/2 steps of the even mixture.

    Args:
        groups: with positives.

    Returns:
        in 0..1.
    """
    positives = groups.positives
    has_positives = positives > 0
    tp, fp = groups.true_positives, groups.false_positives
    total = float(tp[-1])
    exact = has_positives & ~groups.mixed
    area = np.sum(positives[exact] * (tp[exact] / (tp[exact] + fp[exact])))

    mixed = has_positives & groups.mixed
    inside, beside = positives[mixed].astype(np.float64), groups.negatives[mixed].astype(np.float64)
    tp_before, fp_before = tp[mixed] - inside, fp[mixed] - beside
    for node, weight in GAUSS_LEGENDRE:
        entered = inside * (node + 1) / 2
        hits = tp_before + entered + 0.5
        area += np.sum(inside * weight / 2 * hits / (hits + fp_before + beside / inside * entered))
    return float(area / total)


def f1_max(groups: Groups, n_positives: int | None = None) -> tuple[float, float]:
    """The best F1 over all thresholds, and the highest threshold that reaches it (score > threshold).

    It reads the labels: a summary of the curve, never an operating point.

    Args:
        groups: with positives; the highest scores alone will do.
        n_positives: how many positives there are; None: those of the groups.

    Returns:
        the F1 in 0..1 (0 without groups), and the threshold in the unit of the scores.
    """
    tp, fp = groups.true_positives, groups.false_positives
    if not tp.size:
        return 0.0, math.inf
    f1 = 2.0 * tp / (tp + fp + (tp[-1] if n_positives is None else n_positives))
    best = int(np.argmax(f1))
    return float(f1[best]), float(groups.thresholds[best])


def aupro(groups: Groups, limit: float) -> float:
    """Area under the PRO curve up to a false-positive rate, divided by it (MVTec AD's evaluator).

    Args:
        groups: with region weights.
        limit: in (0, 1]; the curve is interpolated linearly at the limit.

    Returns:
        in 0..1.
    """
    x, y = groups.false_positive_rate, groups.overlap
    end = int(np.searchsorted(x, limit, side="right"))
    if end < x.size:
        slope = (y[end] - y[end - 1]) / (x[end] - x[end - 1])
        x = np.append(x[:end], limit)
        y = np.append(y[:end], y[end - 1] + slope * (limit - x[end - 1]))
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2 / limit)


def roc_curve(groups: Groups) -> Curve:
    """False-positive rate against true-positive rate, from (0, 0)."""
    return Curve(groups.false_positive_rate, _with_origin(groups.positives), _thresholds_from_none(groups))


def pr_curve(groups: Groups) -> Curve:
    """Recall against precision; at recall 0 the precision is 1 by convention, as in scikit-learn."""
    tp, fp = groups.true_positives, groups.false_positives
    precision = np.concatenate([[1.0], tp / (tp + fp)])
    return Curve(_with_origin(groups.positives), precision, _thresholds_from_none(groups))


def pro_curve(groups: Groups) -> Curve:
    """Pooled false-positive rate against mean region overlap, from (0, 0)."""
    return Curve(groups.false_positive_rate, groups.overlap, _thresholds_from_none(groups))


def thinned(curve: Curve, n_points: int) -> Curve:
    """At most ``n_points`` of the curve's own points, evenly spread along its length; both ends stay.

    Raises:
        ValueError: fewer than 2 points are asked for.
    """
    if n_points < 2:
        raise ValueError(f"a curve needs at least 2 points, got n_points={n_points}")
    if curve.x.size <= n_points:
        return curve
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(curve.x)) + np.abs(np.diff(curve.y)))])
    wanted = np.linspace(0.0, length[-1], n_points)
    keep = np.unique(np.concatenate([[0], np.searchsorted(length, wanted[1:-1]), [curve.x.size - 1]]))
    return Curve(curve.x[keep], curve.y[keep], curve.thresholds[keep])


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of several curves at each x that any of them has; it belongs to no threshold (NaN).

    Where curves rise without a step in x, the mean rises, too: each x stands there from below and from above.
    """
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    below, above = (
        np.mean([_heights(curve, x, side) for curve in curves], axis=0) for side in ("left", "right")
    )
    x, y = np.repeat(x, 2), np.stack([below, above], axis=1).ravel()
    return Curve(x, y, np.full(x.size, np.nan))


def _heights(curve: Curve, x: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """The curve at ``x``; where it rises straight up, its foot (left) or its top (right)."""
    at = np.searchsorted(curve.x, x, side=side)
    if side == "left":
        met = curve.x[np.minimum(at, curve.x.size - 1)] == x
        height = curve.y[np.minimum(at, curve.x.size - 1)]
    else:
        met = curve.x[at - 1] == x
        height = curve.y[at - 1]
    return np.where(met, height, np.interp(x, curve.x, curve.y))


def _with_origin(counts: np.ndarray) -> np.ndarray:
    """Cumulative share of the total, from 0 to 1."""
    total = np.cumsum(counts)
    return np.concatenate([[0.0], total / float(total[-1])])


def _thresholds_from_none(groups: Groups) -> np.ndarray:
    """The groups' thresholds, led by the one that no score exceeds."""
    return np.concatenate([groups.highest[:1], groups.thresholds])
