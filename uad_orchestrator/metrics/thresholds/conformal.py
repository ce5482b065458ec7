"""Conformal ranks: which score of ``n`` normals is the threshold, and what it promises of new ones.

If normals are exchangeable, the share of new ones above the r-th smallest of n scores follows a Beta law with the
parameters n + 1 - r and r (Vovk, "Conditional validity of inductive conformal predictors", 2012). Its mean,
(n + 1 - r) / (n + 1), is the chance that the next normal lies above; its 95 % quantile is the upper limit of Clopper
and Pearson (Biometrika 1934) for n - r of n. Where scores tie, fewer lie above.

Images of one group (one part, one camera) resemble each other: what counts is how many groups there are. With at most
m images in a group, all is taken as of n / m normals: as if the images of a group were one and the same, and all
groups as large as the largest. Both figures then lie on the safe side, and speak of an image of a new group (see Dunn,
Wasserman and Ramdas, "Distribution-free prediction sets for two-layer hierarchical models", JASA 2023).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

LIMIT_LEVEL = 0.95
"""Confidence of the upper limit of a false-positive rate, one-sided."""

_ROUNDING = 1e-9


def conformal_rank(n: int, rate: float, largest_group: int = 1) -> int:
    """``ceil((n + 1) (1 - rate))``, the 1-based rank of the threshold; free of rounding noise.

    Args:
        n: scores of normal images.
        rate: false-positive rate, in (0, 1).
        largest_group: most images of one group; with more than one the rank is ``ceil((n + m) (1 - rate))``.

    Returns:
        The rank; beyond ``n`` where the scores are too few for the rate.

    >>> conformal_rank(19, 0.05)
    19
    >>> conformal_rank(19, 0.05, largest_group=2)
    20
    """
    return math.ceil((n + largest_group) * (1 - rate) - _ROUNDING)


def scores_needed(rate: float, largest_group: int = 1) -> int:
    """The least ``n`` whose conformal rank is at most ``n``.

    >>> scores_needed(0.05), scores_needed(0.01)
    (19, 99)
    """
    return math.ceil(largest_group * (1 / rate - 1) - _ROUNDING)


class RateLaw(NamedTuple):
    """How the share of new normals above a threshold is spread: Beta(above, below).

    Attributes:
        above: ``n + 1 - r``, in groups.
        below: ``r``, in groups.
    """

    above: float
    below: float

    @classmethod
    def of_rank(cls, rank: int, n: int, largest_group: int = 1) -> RateLaw:
        """Of the ``rank``-th smallest of ``n`` scores.

        Args:
            rank: 1 to ``n``.
            n: how many scores.
            largest_group: most images of one group among them.

        Returns:
            The law.

        >>> RateLaw.of_rank(19, 20).mean
        0.09523809523809523
        """
        return cls((n - rank) / largest_group + 1, rank / largest_group)

    @property
    def mean(self) -> float:
        """The chance that the next normal lies above: what is guaranteed."""
        return self.above / (self.above + self.below)

    def limit(self, level: float = LIMIT_LEVEL) -> float:
        """The rate that the one of these very scores does not exceed, at a confidence.

        Args:
            level: the confidence, in (0, 1).

        Returns:
            The limit in 0..1.

        >>> round(RateLaw.of_rank(20, 20).limit(), 4), round(1 - 0.05 ** (1 / 20), 4)
        (0.1391, 0.1391)
        """
        from scipy.special import betaincinv

        return float(betaincinv(self.above, self.below, level))

    def chances(self, of: int) -> tuple[np.ndarray, np.ndarray]:
        """How probable so few, and so many, of some new normals are above the threshold.

        Args:
            of: how many new normals.

        Returns:
            For each count 0 to ``of`` the probability of it or fewer, and of it or more: a beta-binomial law's.
        """
        # not scipy.stats: half a second in every process that refreshes a cell
        from scipy.special import betaln

        counts = np.arange(of + 1)
        ways = -np.log(of + 1) - betaln(of - counts + 1, counts + 1)
        drawn = betaln(counts + self.above, of - counts + self.below)
        single = np.exp(ways + drawn - betaln(self.above, self.below))
        so_few, so_many = np.cumsum(single), np.cumsum(single[::-1])[::-1]
        return np.minimum(so_few, 1), np.minimum(so_many, 1)
