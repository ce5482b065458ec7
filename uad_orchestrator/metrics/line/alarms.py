"""More alarms on the line than calibration promised: exact for however few normals stand behind a threshold.

If normals and good parts are alike, the share of good parts above the r-th smallest of n normal scores follows a Beta
law (``metrics.thresholds.conformal``), and so many of m parts above it a beta-binomial one. With a share d of
defective parts, all of which may be alarms, each part is one with probability ``d + (1 - d) B``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uad_orchestrator.metrics.thresholds.conformal import RateLaw

_STEPS = 2000
_HUMP, _TAIL = 12.0, 45.0
"""How far from its middle a law is followed: standard deviations, and decay of its exponential tails."""
_EVEN = 1e-9
"""By so much of itself a stored threshold may differ from the score that it was taken from."""


def promised(
    normal_scores: Sequence[float] | np.ndarray, threshold: float, largest_group: int = 1
) -> RateLaw | None:
    """How the share of good parts above a threshold is spread, as the calibration normals say.

    Of a threshold that is one of the scores this is the law of its rank; of one in between it is that of the score
    below, which is on the safe side.

    Args:
        normal_scores: ``(n,)`` of the normals that calibrate.
        threshold: parts above it are alarms.
        largest_group: most images of one group among the normals.

    Returns:
        The law; None where no normal lies at or below the threshold: then nothing is promised.

    >>> promised([0.1, 0.2, 0.3, 0.4], 0.4).mean
    0.2
    """
    scores = np.asarray(normal_scores, np.float64)
    rank = int(np.count_nonzero(scores <= threshold + _EVEN * abs(threshold)))
    return RateLaw.of_rank(rank, scores.size, largest_group) if rank else None


def chance_of_so_many(alarms: int, parts: int, law: RateLaw, defect_rate: float = 0.0) -> float:
    """How probable so many alarms, or more, are while the line is as it was calibrated.

    Args:
        alarms: how many parts are.
        parts: how many there are, at least one.
        law: of the share of good parts above the threshold.
        defect_rate: share of parts that are defective, in [0, 1).

    Returns:
        The probability. Without defects it is the beta-binomial law's.

    Raises:
        ValueError: more alarms than parts, no part, or a rate outside [0, 1).

    >>> round(chance_of_so_many(3, 20, RateLaw(1, 99)), 5)
    0.00416
    """
    from scipy.special import betainc, betaln, expit, log_expit, logit

    if not 0 <= alarms <= parts or not parts or not 0 <= defect_rate < 1:
        raise ValueError(f"{alarms} alarms of {parts} parts, {defect_rate:g} of them defective")
    if alarms == 0:
        return 1.0
    # P(K >= k | q) is the distribution function of Beta(k, m - k + 1) at q: so P(K >= k) is the mean of P(B >= b) over
    # that law. Over the logit of q it is one smooth hump that fades at both ends, of which even steps are enough.
    above, below = alarms, parts - alarms + 1
    middle, wide = float(logit(above / (above + below))), _HUMP * (1 / above + 1 / below) ** 0.5
    ends = middle - wide - _TAIL / above, middle + wide + _TAIL / below
    x, step = np.linspace(*ends, _STEPS, retstep=True)
    density = np.exp(above * log_expit(x) + below * log_expit(-x) - betaln(above, below))
    good = np.clip((expit(x) - defect_rate) / (1 - defect_rate), 0, 1)
    return float(min(step * (density @ betainc(law.below, law.above, 1 - good)), 1.0))


def expected_share(law: RateLaw, defect_rate: float = 0.0) -> float:
    """The share of alarms to be expected at most, if every defective part is one.

    Args:
        law: of the share of good parts above the threshold.
        defect_rate: share of parts that are defective.

    Returns:
        The share, 0 to 1.

    >>> expected_share(RateLaw(1, 99), defect_rate=0.01)
    0.0199
    """
    return defect_rate + (1 - defect_rate) * law.mean
