"""Operating points from normal images: which score means anomalous, and where that limit comes from.

A threshold is a conformal quantile of the scores of normal images the detector does not hold (Vovk et al.,
"Algorithmic Learning in a Random World"; Angelopoulos & Bates, "A Gentle Introduction to Conformal
Prediction"). Test labels never take part. On demand a score far above all others (``odd_scores``) is left aside, so
that one defect among the normals does not set the limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from uad_orchestrator.metrics.outliers import odd_scores

CALIBRATION_VERSION = 1
"""Raised when the same scores give another threshold."""

_FEW = "; largest of "
_ASIDE = "; left aside, far above the other "
_NAMED = 3
"""Images left aside that a source names; the others are counted."""

NO_MAP = "this model gives no anomaly map"
"""Why there is no map, no pixel threshold and no pixel metric."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and where it comes from. Anomalous means score > threshold.

    Attributes:
        threshold: in the unit of the scores; NaN where no normals were left to calibrate on.
        source: ``validation``, ``held_out`` (normals not used as references), ``leave_one_image_out``,
            ``leave_one_group_out`` (either may end in ``, refilled``), ``calibration folder`` (normals a checkpoint
            has not seen),
            ``train (optimistic)`` (those it may have seen), or ``none: <reason>``.
        n: how many normals it was taken from.
        contamination: the nominal false-positive rate.
        left_aside: the names of normals that it was not taken from, their scores being far above all others.
    """

    threshold: float
    source: str
    n: int
    contamination: float
    left_aside: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """The source without remarks on the normals' number: where other scores of the same images are from."""
        return self.source.split(_ASIDE, 1)[0].split(_FEW, 1)[0]

    @property
    def reason(self) -> str:
        """Why there is no threshold; empty where there is one."""
        return self.source.removeprefix("none: ") if math.isnan(self.threshold) else ""

    def to_json(self) -> dict[str, Any]:
        """The point as JSON values.

        Returns:
            the fields by name; NaN is null, and ``left_aside`` is there only where there are any.
        """
        values = asdict(self) | {"threshold": None if math.isnan(self.threshold) else self.threshold}
        aside = values.pop("left_aside")
        return {**values, "left_aside": list(aside)} if aside else values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """Read what ``to_json`` gave.

        Args:
            values: the fields by name.

        Returns:
            the point.
        """
        threshold = math.nan if values["threshold"] is None else values["threshold"]
        return cls(**{**values, "threshold": threshold, "left_aside": tuple(values.get("left_aside", ()))})


def calibrate(
    scores: Sequence[float] | np.ndarray,
    contamination: float,
    source: str,
    *,
    robust: bool = False,
    names: Sequence[str] = (),
) -> OperatingPoint:
    """The threshold that a new normal image exceeds with probability at most about ``contamination``.

    It is the ``ceil((n + 1) (1 - contamination))``-th smallest of the ``n`` scores. Where that rank lies
    beyond ``n`` (too few normals for so small a contamination) it is the largest, and the source says so.

    With ``robust``, scores far above all others are left aside first (``odd_scores``). Of honest normals, exchangeable
    with new ones, that happens with probability ``p <= 0.02``, and ``k`` scores less of ``n`` lower the
    rank by at most ``k``: so the false-positive rate rises by at most ``p k / (n + 1)``, two thousandths.

    Args:
        scores: (n,) scores of normal images that the detector does not hold; for the pixel threshold the
            maxima of their anomaly maps.
        contamination: nominal false-positive rate, in (0, 0.5).
        source: where the scores come from, e.g. ``leave_one_image_out``; for an empty ``scores`` a source
            that begins with ``none: `` is kept as the reason.
        robust: leave scores aside that are far above all others; the source says which.
        names: (n,) what the images are called; by default ``normal 0``, ``normal 1``...

    Returns:
        the threshold with its source; NaN without scores.

    Raises:
        ValueError: contamination outside (0, 0.5), or a score that is not finite.

    >>> calibrate([0.1, 0.4, 0.2, 0.3], contamination=0.25, source="validation")
    OperatingPoint(threshold=0.4, source='validation', n=4, contamination=0.25, left_aside=())
    >>> calibrate([0.1, 0.4], contamination=0.1, source="validation").source
    'validation; largest of 2 scores: 9 or more are needed for contamination 0.1'
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
    odd = odd_scores(values).tolist() if robust else []
    aside = tuple(names[i] if names else f"normal {i}" for i in odd)
    values = np.sort(np.delete(values, odd))
    if aside:
        source += f"{_ASIDE}{values.size}: {_listed(aside)}"
    rank = conformal_rank(values.size, contamination)
    if rank > values.size:
        needed = _scores_needed(contamination)
        source += f"{_FEW}{values.size} scores: {needed} or more are needed "
        source += f"for contamination {contamination:g}"
        rank = values.size
    return OperatingPoint(float(values[rank - 1]), source, int(values.size), contamination, aside)


def at_false_positive_rate(scores: Sequence[float] | np.ndarray, rate: float, source: str) -> OperatingPoint:
    """The threshold that a new normal image exceeds with probability at most ``rate``; guaranteed, not nominal.

    ``calibrate`` with one difference: where the normals are too few for so small a rate there is no
    threshold, instead of their largest score, which many a new normal image would exceed.

    Args:
        scores: as for ``calibrate``.
        rate: false-positive rate, in (0, 0.5).
        source: as for ``calibrate``.

    Returns:
        the threshold with its source; NaN with the reason where the normals are too few.

    Raises:
        ValueError: as ``calibrate``.

    >>> at_false_positive_rate(range(30), 0.01, "validation").reason
    '30 normals cannot support a false-positive rate of 1 %: 99 or more are needed (validation)'
    >>> at_false_positive_rate(range(30), 0.1, "validation").threshold
    27.0
    """
    point = calibrate(scores, rate, source)
    needed = _scores_needed(rate)
    if point.n == 0 or point.n >= needed:
        return point
    reason = f"{point.n} normals cannot support a false-positive rate of {100 * rate:g} %: "
    reason += f"{needed} or more are needed ({source})"
    return OperatingPoint(math.nan, f"none: {reason}", point.n, point.contamination)


def held_out_rate(scores: Sequence[float] | np.ndarray, contamination: float) -> float:
    """The share of normal images above the threshold that the others set: an honest rate where none are tested.

    Args:
        scores: (n,) finite scores of normal images that the detector does not hold.
        contamination: as for ``calibrate``.

    Returns:
        the rate in 0..1; NaN for fewer than two scores.

    >>> held_out_rate([0.1, 0.2, 0.3, 0.9], 0.25)
    0.25
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if values.size < 2:
        return math.nan
    rank = min(conformal_rank(values.size - 1, contamination), values.size - 1)
    # without an image above it, the rank-th smallest stays what it is; one below it is never above its threshold
    return float(np.count_nonzero(values[rank:] > values[rank - 1]) / values.size)


@dataclass(frozen=True)
class SegmentationPoint:
    """The threshold of MVTec AD 2's SegF1: mean + 3 std of the pixels of held-out normal images' maps.

    Attributes:
        threshold: of map values; NaN where there are no such maps, for the reason in ``source``.
        source: which normals: as in ``OperatingPoint``. Test images never take part.
        n: how many maps it was taken from.
    """

    threshold: float
    source: str
    n: int

    @classmethod
    def of_normal_maps(cls, mean: float | None, std: float | None, n: int, source: str) -> SegmentationPoint:
        """From the statistics of the maps of the normals that calibrate.

        Args:
            mean: of all their pixels, in the unit of the maps; None where there are no maps.
            std: their standard deviation, likewise.
            n: how many maps.
            source: which normals, or why there are none.

        Returns:
            the point.

        >>> SegmentationPoint.of_normal_maps(1.0, 0.5, 4, "validation")
        SegmentationPoint(threshold=2.5, source='validation', n=4)
        """
        if mean is None or std is None:
            return cls(math.nan, source, 0)
        return cls(mean + 3 * std, source, n)


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


def conformal_rank(n: int, contamination: float) -> int:
    """``ceil((n + 1) (1 - contamination))``, the 1-based rank of the threshold; free of rounding noise.

    >>> conformal_rank(19, 0.05)
    19
    """
    return math.ceil((n + 1) * (1 - contamination) - 1e-9)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _scores_needed(contamination: float) -> int:
    """The least ``n`` whose conformal rank is at most ``n``."""
    return math.ceil(1 / contamination - 1 - 1e-9)
