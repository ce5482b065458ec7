"""Operating points from normal images: which score means anomalous, and where that limit comes from.

A threshold is a conformal quantile of the scores of normal images the detector does not hold (Vovk et al.,
"Algorithmic Learning in a Random World"; Angelopoulos & Bates, "A Gentle Introduction to Conformal
Prediction"). Test labels never take part. On demand a score far above all others (``odd_scores``) is left aside, so
that one defect among the normals does not set the limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uad_orchestrator.metrics.thresholds.conformal import conformal_rank, scores_needed
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint, Pin
from uad_orchestrator.metrics.thresholds.outliers import odd_scores, stands_alone

CALIBRATION_VERSION = 1
"""Raised when the same scores give another threshold."""


def calibrate(
    scores: Sequence[float] | np.ndarray,
    contamination: float,
    source: str,
    *,
    robust: bool = False,
    names: Sequence[str] = (),
    largest_group: int | None = 1,
) -> OperatingPoint:
    """The threshold that a new normal image exceeds with probability at most about ``contamination``.

    It is the ``ceil((n + 1) (1 - contamination))``-th smallest of the ``n`` scores. Where that rank lies
    beyond ``n`` (too few normals for so small a contamination) it is the largest, and the source says so, with the
    rate that this guarantees.

    With ``robust``, scores far above all others are left aside first (``odd_scores``). Of honest normals that happens
    with probability 0.02 at most. The false-positive rate then rises by more than the lower rank tells, as new scores
    of a heavy tail lie in a wide gap, too: in simulations of a Pareto tail of index 1 by 0.009 with 6 normals, 0.006
    with 12, 0.003 with 20 and 0.001 with 100; of log-normal and lighter tails by less than 0.001.

    Args:
        scores: (n,) scores of normal images that the detector does not hold; for the pixel threshold the
            maxima of their anomaly maps.
        contamination: nominal false-positive rate, in (0, 0.5).
        source: where the scores come from, e.g. ``leave_one_image_out``; for an empty ``scores`` a source
            that begins with ``none: `` is kept as the reason.
        robust: leave scores aside that are far above all others; the source says which.
        names: (n,) what the images are called; by default ``normal 0``, ``normal 1``...
        largest_group: most images of one group among the normals; it changes what is guaranteed, not the threshold.

    Returns:
        the threshold with its source; NaN without scores.

    Raises:
        ValueError: contamination outside (0, 0.5), or a score that is not finite.

    >>> calibrate([0.1, 0.4, 0.2, 0.3], contamination=0.25, source="validation")
    OperatingPoint(threshold=0.4, source='validation', n=4, contamination=0.25, left_aside=(), set_by=None, \
largest_group=1, rank=None, pinned=None, calibrated_on=None)
    >>> calibrate([0.1, 0.2], contamination=0.1, source="validation").source
    'validation; largest of 2 scores, guaranteed 0.33: 9 or more are needed for contamination 0.1'
    """
    contamination = checked_contamination(contamination)
    values = np.asarray(scores, dtype=np.float64).ravel()
    if values.size == 0:
        reason = (
            source
            if source.startswith("none: ")
            else f"none: no normal images left to calibrate on ({source})"
        )
        return OperatingPoint(math.nan, reason, 0, contamination)
    not_finite = int((~np.isfinite(values)).sum())
    if not_finite:
        raise ValueError(
            f"{not_finite} of {values.size} calibration scores ({source}) are not finite; a threshold needs "
            "finite scores: look for the images that gave them"
        )
    names = names or [f"normal {i}" for i in range(values.size)]
    odd = odd_scores(values).tolist() if robust else []
    aside = tuple(names[i] for i in odd)
    order = [i for i in np.argsort(values, kind="stable").tolist() if i not in odd]
    values = values[order]
    rank = min(conformal_rank(values.size, contamination), values.size)
    alone = names[order[-1]] if rank == values.size and stands_alone(values) else None
    point = OperatingPoint(
        float(values[rank - 1]), source, values.size, contamination, aside, alone, largest_group
    )
    return point.with_remarks(float(values[-2]) if alone else math.nan)


def at_false_positive_rate(
    scores: Sequence[float] | np.ndarray, rate: float, source: str, *, largest_group: int | None = 1
) -> OperatingPoint:
    """The threshold that a new normal image exceeds with probability at most ``rate``; guaranteed, not nominal.

    ``calibrate`` with two differences. Where the normals are too few for so small a rate there is no threshold, instead
    of their largest score, which many a new normal image would exceed. And where they come in groups, the rate is that
    of an image of a new group: the rank is higher, and more normals are needed.

    Args:
        scores: as for ``calibrate``.
        rate: false-positive rate, in (0, 0.5).
        source: as for ``calibrate``.
        largest_group: as for ``calibrate``.

    Returns:
        the threshold with its source; NaN with the reason where the normals are too few, or ``largest_group`` is None.

    Raises:
        ValueError: the rate is outside (0, 0.5), or a score is not finite.

    >>> at_false_positive_rate(range(30), 0.01, "validation").reason
    '30 normals cannot support a false-positive rate of 1 %: 99 or more are needed (validation)'
    >>> at_false_positive_rate(range(30), 0.1, "validation").threshold
    27.0
    >>> at_false_positive_rate(range(30), 0.1, "leave_one_group_out", largest_group=3).threshold
    29.0
    """
    if not 0 < rate < 0.5:
        raise ValueError(f"a false-positive rate of {rate!r}: it must lie in (0, 0.5), e.g. 0.01")
    point = calibrate(scores, rate, source, largest_group=largest_group)
    if point.n == 0:
        return point
    if largest_group is None:
        reason = (
            f"how many images the groups of its normals have was not recorded ({source}): refresh the cell"
        )
        return replace(point, threshold=math.nan, source=f"none: {reason}", set_by=None)
    group = largest_group
    rank = conformal_rank(point.n, rate, group)
    if group == 1 and rank <= point.n:
        return point
    if rank <= point.n:
        ordered = np.sort(np.asarray(scores, dtype=np.float64).ravel())
        return replace(point, threshold=float(ordered[rank - 1]), rank=rank, source=source, set_by=None)
    normals = f"{point.n} normals" + (f" in groups of up to {group}" if group > 1 else "")
    reason = f"{normals} cannot support a false-positive rate of {100 * rate:g} %: "
    reason += f"{scores_needed(rate, group)} or more are needed ({source})"
    return replace(point, threshold=math.nan, source=f"none: {reason}", set_by=None)


def pinned_point(
    pin: Pin, calibrated: OperatingPoint, scores: Sequence[float] | np.ndarray = ()
) -> OperatingPoint:
    """The threshold that people chose instead of the calibrated one.

    Args:
        pin: what they chose.
        calibrated: the threshold it takes the place of.
        scores: of a pin by its false-positive rate, the (n,) scores that ``calibrated`` comes from, without those left
            aside.

    Returns:
        the threshold, whose source says who pinned it, when and why; NaN with the reason where the normals are too
        few for the rate.

    Raises:
        ValueError: a score is not finite.

    >>> from datetime import date
    >>> pin = Pin(threshold=0.5, by="anna", at=date(2026, 11, 27))
    >>> point = pinned_point(pin, OperatingPoint(0.4, "validation", n=30, contamination=0.05))
    >>> point.threshold, point.source, point.origin
    (0.5, 'pinned by anna on 2026-11-27', 'validation')
    """
    if pin.threshold is not None:
        taken = replace(calibrated, threshold=pin.threshold, n=0, set_by=None, rank=None)
        source = str(pin)
    else:
        assert pin.fpr is not None  # a pin has one of both
        taken = at_false_positive_rate(
            scores, pin.fpr, calibrated.origin, largest_group=calibrated.largest_group
        )
        source = f"{pin}; false-positive rate {pin.fpr:g} of {taken.n} normals, {calibrated.origin}"
        if taken.reason:
            source = f"none: {taken.reason}; {pin}"
    return replace(
        taken,
        source=source,
        left_aside=calibrated.left_aside,
        pinned=pin,
        calibrated_on=calibrated.origin,
    )


def held_out_rate(
    scores: Sequence[float] | np.ndarray,
    contamination: float,
    groups: Sequence[str] = (),
    *,
    largest_group: int = 1,
) -> float:
    """The share of normal images above the threshold that the others set: an honest rate where none are tested.

    Args:
        scores: (n,) finite scores of normal images that the detector does not hold.
        contamination: as for ``calibrate``.
        groups: (n,) the group of each: the others are those of other groups; by default each image is one.
        largest_group: most images of one group, where the threshold is that of ``at_false_positive_rate``; of
            ``calibrate`` 1.

    Returns:
        the rate in 0..1; NaN for fewer than two groups.

    >>> held_out_rate([0.1, 0.2, 0.3, 0.9], 0.25)
    0.25
    >>> held_out_rate([0.1, 0.2, 0.8, 0.9], 0.25, groups=["a", "a", "b", "b"])
    0.5
    """
    values = np.asarray(scores, dtype=np.float64)
    _, group = (
        np.unique(np.asarray(groups), return_inverse=True) if groups else (None, np.arange(values.size))
    )
    if values.size == 0 or group.max() == 0:
        return math.nan
    above = 0
    for one in range(group.max() + 1):
        others = np.sort(values[group != one])
        rank = min(conformal_rank(others.size, contamination, largest_group), others.size)
        above += int(np.count_nonzero(values[group == one] > others[rank - 1]))
    return above / values.size


def exceeds(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Which scores are anomalous: ``score > threshold``, the one comparison used everywhere.

    It is exact: a float32 map is compared with the threshold itself, not with its nearest float32.

    Args:
        scores: any shape, floating point.
        threshold: not NaN.

    Returns:
        bool, the shape of ``scores``.

    Raises:
        ValueError: the threshold is NaN.

    >>> exceeds(np.array([0.5, 0.6], np.float32), 0.5).tolist()
    [False, True]
    """
    if math.isnan(threshold):
        raise ValueError("the threshold is NaN: the detector was not calibrated, so nothing can be decided")
    scores = np.asarray(scores)
    if scores.dtype != np.float32:
        return scores.astype(np.float64, copy=False) > threshold
    with np.errstate(over="ignore"):
        limit = np.float32(threshold)
    if float(limit) > threshold:
        limit = np.nextafter(limit, np.float32(-np.inf))
    return scores > limit


def checked_contamination(contamination: float) -> float:
    """``contamination`` as a float, if it lies in (0, 0.5).

    Raises:
        ValueError: it does not (NaN included).
    """
    if not 0 < contamination < 0.5:
        raise ValueError(
            f"contamination must lie in (0, 0.5), got {contamination!r}: it is the share of normal images "
            "that may be called anomalous"
        )
    return float(contamination)
