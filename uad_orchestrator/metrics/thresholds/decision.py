"""Pass, review or reject: what becomes of a part, where scores below the threshold may be looked at by a person.

The grey zone ends at the threshold and begins at a lower one: the conformal quantile, of the same normals, of a larger
false-positive rate. So the share of good parts that reach a person or are rejected is at most that rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from uad_orchestrator.metrics.thresholds.calibration import at_false_positive_rate
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint

Decision = Literal["pass", "review", "reject"]


def decide(score: float, threshold: float, review_threshold: float | None = None) -> Decision | None:
    """What becomes of a part.

    Args:
        score: its image score.
        threshold: above it the part is rejected; NaN: there is none.
        review_threshold: above it a person looks at the part; NaN: it was asked for, but there is none; None: it was
            not asked for, and nothing is reviewed.

    Returns:
        the decision; None where the score or a threshold is NaN.

    >>> [decide(score, threshold=0.5, review_threshold=0.3) for score in (0.3, 0.4, 0.6)]
    ['pass', 'review', 'reject']
    >>> decide(0.4, threshold=0.5), decide(0.4, threshold=0.5, review_threshold=math.nan)
    ('pass', None)
    """
    if any(math.isnan(value) for value in (score, threshold, review_threshold or 0.0)):
        return None
    if score > threshold:
        return "reject"
    return "review" if review_threshold is not None and score > review_threshold else "pass"


def review_from(
    scores: Sequence[float] | np.ndarray, from_fpr: float, threshold: OperatingPoint
) -> OperatingPoint:
    """Where review begins.

    Args:
        scores: (n,) scores of the normals that calibrate, without those that the threshold left aside.
        from_fpr: the share of good parts, at most, that review and rejection take together; in (0, 0.5).
        threshold: the image threshold, where review ends.

    Returns:
        the lower threshold; NaN with the reason where the normals are too few for the rate, where there is no image
        threshold, or where it would not lie below that.

    Raises:
        ValueError: the rate is outside (0, 0.5), or a score is not finite.

    >>> point = OperatingPoint(98.5, "validation", n=99, contamination=0.01)
    >>> review_from(range(99), 0.05, point).threshold
    94.0
    >>> review_from(range(12), 0.05, point).reason
    '12 normals cannot support a false-positive rate of 5 %: 19 or more are needed (validation)'
    """
    if math.isnan(threshold.threshold):
        reason = f"none: there is no image threshold: {threshold.reason}"
        return OperatingPoint(math.nan, reason, threshold.n, from_fpr)
    found = at_false_positive_rate(scores, from_fpr, threshold.origin, largest_group=threshold.largest_group)
    if found.threshold >= threshold.threshold:
        reason = (
            f"review would begin at {found.threshold:.6g}, which is not below the image threshold "
            f"{threshold.threshold:.6g} ({threshold.source}): raise review.from_fpr, or the threshold"
        )
        return replace(found, threshold=math.nan, source=f"none: {reason}")
    return found


def in_review(scores: Sequence[float] | np.ndarray, threshold: float, review_threshold: float) -> int:
    """How many of some images a person would look at.

    Args:
        scores: (n,) their scores.
        threshold: where review ends; not NaN, as the next.
        review_threshold: where it begins.

    Returns:
        their number.

    >>> in_review([0.1, 0.35, 0.5, 0.9], threshold=0.5, review_threshold=0.3)
    2
    """
    values = np.asarray(scores, dtype=np.float64)
    return int(np.count_nonzero((values > review_threshold) & (values <= threshold)))
