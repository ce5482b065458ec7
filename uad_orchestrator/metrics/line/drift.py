"""Drift of one quantity: the parts of a day against the calibration normals.

There are some 20 to 300 normals, and thousands of parts a day. So what can be told is limited by the normals: the
two-sample Kolmogorov-Smirnov test counts ``n m / (n + m)`` of them, which is nearly the smaller number however many
parts there are. And with many parts every difference becomes sure, however small: so how far apart the two are is
asked beside, by the Wasserstein distance in spreads of the normals.

Three things are on the safe side. Parts after one another resemble each other (a lamp warms up, a batch of material):
they count as fewer, by the first autocorrelation of their ranks (Bayley and Hammersley, "The effective number of
independent observations in an autocorrelated time series", 1946). Ties make the test's p-value too large, never too
small. And a part lies ``FURTHEST`` spreads from the normals at most, so that a few defects are no drift.

``python -m benchmarks line`` simulates how often a stable line is called drifting, and how often a drifting one is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FURTHEST = 5.0
"""Spreads from the median of the normals that a value counts as at most."""

EXACT_UP_TO = 30
"""Normals up to which the chance of a distance is counted exactly."""

_EVEN = 1e-9
_SPREAD_QUANTILES = (0.1586552539, 0.8413447461)
"""Of a normal law they lie one standard deviation from the middle."""


@dataclass(frozen=True)
class Shift:
    """How far a day's parts lie from the calibration normals in one quantity.

    Attributes:
        parts: how many parts.
        normals: how many calibration normals.
        independent_parts: as how many independent ones the parts count.
        ks: Kolmogorov-Smirnov distance, the largest gap of the two distribution functions, 0 to 1.
        p: how probable so large a distance, or a larger one, is by chance alone.
        wasserstein: Wasserstein distance in spreads of the normals: how far a part was moved, on average.
        spread: of the normals, in the quantity's unit: half of what the middle 68 % span, or the least that matters.
        median: of the parts, in the quantity's unit.
        normal_median: of the normals.
    """

    parts: int
    normals: int
    independent_parts: float
    ks: float
    p: float
    wasserstein: float
    spread: float
    median: float
    normal_median: float

    def needed(self, p: float) -> float:
        """The Kolmogorov-Smirnov distance from which on, about, chance is less probable than ``p``.

        Args:
            p: a probability.

        Returns:
            The distance, 0 to 1.
        """
        from scipy.stats import kstwo

        return float(kstwo.isf(p, _pairs(self.normals, self.independent_parts)))


def shift_of(
    parts: Sequence[float] | np.ndarray, normals: Sequence[float] | np.ndarray, *, least_spread: float = 0.0
) -> Shift:
    """Compare the parts of a day with the calibration normals.

    Args:
        parts: ``(m,)`` finite, in order of time, at least one.
        normals: ``(n,)`` finite, at least one.
        least_spread: below it a difference does not matter, however alike the normals are; in the quantity's unit.

    Returns:
        How far apart they are.

    Raises:
        ValueError: one of the two is empty, or holds NaN or infinity.

    >>> stable = shift_of([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    >>> stable.ks, stable.p, stable.wasserstein
    (0.0, 1.0, 0.0)
    """
    from scipy.stats import wasserstein_distance

    seen, known = (np.asarray(values, np.float64).ravel() for values in (parts, normals))
    if not (seen.size and known.size and np.isfinite(seen).all() and np.isfinite(known).all()):
        raise ValueError(
            f"{seen.size} parts and {known.size} normals: both are needed, and none of them NaN or infinite"
        )
    low, high = np.quantile(known, _SPREAD_QUANTILES)
    middle = float(np.median(known))
    spread = max(float(high - low) / 2, least_spread, np.finfo(np.float64).tiny)
    ks, counted = _largest_gap(seen, known), independent(seen)
    with np.errstate(over="ignore"):  # of a spread of nearly nothing
        in_spreads = [np.clip((values - middle) / spread, -FURTHEST, FURTHEST) for values in (seen, known)]
    return Shift(
        parts=seen.size,
        normals=known.size,
        independent_parts=counted,
        ks=ks,
        p=_chance(ks, known.size, counted),
        wasserstein=float(wasserstein_distance(*in_spreads)),
        spread=spread,
        median=float(np.median(seen)),
        normal_median=middle,
    )


def independent(values: Sequence[float] | np.ndarray) -> float:
    """As how many independent values those of a series count, for its distribution.

    Args:
        values: ``(m,)`` in order of time.

    Returns:
        ``m (1 - r) / (1 + r)`` with the first autocorrelation r of their ranks, where that is above 0; at least 1.

    >>> independent([1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    6.0
    >>> round(independent(range(1000)))
    2
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.asarray(values, np.float64))
    around = ranks - ranks.mean()
    total = float(around @ around)
    if total == 0:
        return float(ranks.size)
    r = max(float(around[1:] @ around[:-1]) / total, 0.0)
    return max(ranks.size * (1 - r) / (1 + r), 1.0)


def _largest_gap(one: np.ndarray, other: np.ndarray) -> float:
    """Of the two distribution functions: the Kolmogorov-Smirnov distance."""
    steps = np.concatenate([one, other])
    shares = (np.searchsorted(np.sort(values), steps, "right") / values.size for values in (one, other))
    return float(np.abs(np.subtract(*shares)).max())


def _chance(ks: float, normals: int, parts: float) -> float:
    """How probable so large a distance is: exact for few normals, as the law of one sample is not for them.

    Of all orders of both samples, those are counted that keep the two distribution functions closer (Hodges, "The
    significance probability of the Smirnov two-sample test", 1958).
    """
    from scipy.special import betaln
    from scipy.stats import kstwo

    if normals > EXACT_UP_TO:
        return float(kstwo.sf(ks, _pairs(normals, parts)))
    counted = max(math.floor(parts), 1)
    orders = math.exp(-betaln(normals + 1, counted + 1)) / (normals + counted + 1)
    share = np.arange(counted + 1) / counted
    closer = (share < ks - _EVEN).astype(float)
    for place in range(1, normals + 1):
        inside = np.abs(share - place / normals) < ks - _EVEN
        closer = np.cumsum(closer * inside) * inside
    return min(max(1 - float(closer[-1]) / orders, 2 / orders), 1.0)


def _pairs(normals: int, parts: float) -> int:
    """What the law of the two-sample distance depends on; never more than there is."""
    return max(math.floor(normals * parts / (normals + parts)), 1)
