"""Calibration scores far above all others: a defect, or an image of another kind, among the normals.

The rule asks whether a gap in the upper part of the scores is wider than a heavy tail leaves it. Of a Pareto tail,
whatever its index, the logarithms of the scores, ranked from above, have the gaps ``D_1, D_2, ...`` for which
``i D_i`` are independent and of one exponential law (Renyi's representation; it is what Hill, "A simple general
approach to inference about the tail of a distribution", Annals of Statistics 1975, rests on). So the share of one
of them in the sum of it and ``m`` others follows a Beta(1, m) law, and ``(S / (S + j D_j)) ** m`` is the exact
probability of a gap as wide as the j-th beside others of the sum ``S``. Where the logarithm's failure rate rises
(normal, log-normal, exponential, gamma, Weibull, Gumbel, Student's t), gaps shrink towards the top, and the
probability of a false verdict is smaller still (Barlow and Proschan, "Statistical Theory of Reliability and Life
Testing", 1975). Several odd scores cannot hide each other: as in Rosner's many-outlier test (Technometrics 1983)
the gap below all of them is asked for first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.02
"""Probability that a table of honest scores, however heavy its Pareto tail, has any score called odd."""

MOST = 0.1
"""At most this share of the scores, rounded up, is called odd: more of them are a kind of their own."""

_ALONE = 3.0
"""How many times the next score a largest one is that stands alone."""

_REFERENCE = 10
"""Gaps, below those that may be odd, that say how wide gaps are in this tail."""

_FEWEST = 5
"""Of few scores this many of the upper gaps are looked at, though they reach below the median."""

_LEAST_GAP = 0.15
"""Of the logarithms: gaps, each times its rank, count as at least so wide. Scores that tie, or nearly, are no proof
that the next must lie as close: only one of two to three times their size or more is odd then."""


def odd_scores(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """The scores that lie far above all others.

    Of three scores or fewer none is odd, of four or five hardly any: too little is known of their spread. Where not
    all of the upper scores are positive, they are taken as they are instead of by their logarithms.

    Args:
        scores: ``(n,)`` finite scores of images said to be normal.

    Returns:
        Their places in ``scores``, the highest score first, ``(k,)`` int64 with ``k`` at most a tenth of ``n``,
        rounded up; empty where no score is odd.

    >>> odd_scores([0.31, 0.36, 12.0, 0.35, 0.33, 0.4, 0.38, 0.34, 0.32, 0.37]).tolist()
    [2]
    >>> odd_scores([0.31, 0.36, 0.45, 0.35, 0.33, 0.4, 0.38, 0.34, 0.32, 0.37]).tolist()
    []
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    order = np.argsort(-values, kind="stable")
    most = math.ceil(MOST * values.size)
    gaps, least = _weighted_gaps(values[order], most)
    for odd in range(min(most, gaps.size - 1), 0, -1):
        others = np.maximum(gaps[odd:], least)
        total = float(others.sum())
        if total > 0 and (total / (total + gaps[odd - 1])) ** others.size < LEVEL / most:
            return order[:odd]
    return order[:0]


def stands_alone(ascending: Sequence[float] | np.ndarray) -> bool:
    """Whether the largest score is three times the next or more: a threshold at it is set by one image.

    Few scores have none that is odd, whatever it is: too little is known of their spread. So this is no test.

    Args:
        ascending: ``(n,)`` scores, sorted.

    Returns:
        Whether it is; never of a single score. Above a next score of 0 every score is.

    >>> stands_alone([0.3, 0.35, 2.0]), stands_alone([0.3, 0.35, 0.9]), stands_alone([0.0, 0.0, 0.9])
    (True, False, True)
    """
    return len(ascending) > 1 and bool(ascending[-1] > 0 and ascending[-1] >= _ALONE * ascending[-2] >= 0)


def _weighted_gaps(descending: np.ndarray, most: int) -> tuple[np.ndarray, float]:
    """``i D_i`` of the upper gaps, each at its rank ``i``; and how wide each counts at least."""
    count = min(descending.size - 1, max(descending.size // 2, _FEWEST), most + _REFERENCE)
    if count < 1:
        return np.zeros(0), 0.0
    upper = descending[: count + 1]
    positive = bool(upper[-1] > 0)
    upper = np.log(upper) if positive else upper
    return np.arange(1, count + 1) * (upper[:-1] - upper[1:]), _LEAST_GAP if positive else 0.0
