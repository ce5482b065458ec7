"""What a threshold costs on a line: false alarms and misses per 1,000 parts, and their expected cost.

A test set holds far more defects than a line makes. So its rates are weighed by the line's own rate of defects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from uad_orchestrator.metrics.bootstrap import Interval
from uad_orchestrator.metrics.intervals import rate_interval

PARTS = 1000
"""Parts that false alarms and misses are counted in."""


class Costs(BaseModel):
    """What wrong decisions cost, in any one unit, and how often parts are defective."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    false_alarm: FiniteFloat = Field(ge=0, description="cost of a good part that is called anomalous")
    miss: FiniteFloat = Field(ge=0, description="cost of a defective part that is called normal")
    defect_rate: float = Field(gt=0, lt=1, description="share of the line's parts that are defective")

    def expected(self, false_alarm_rate: float, miss_rate: float) -> float:
        """The expected cost of a part.

        ``defect_rate * miss * P(miss) + (1 - defect_rate) * false_alarm * P(false alarm)``: the expected loss of a
        decision with unequal costs (Provost and Fawcett, "Robust classification for imprecise environments", 2001).

        Args:
            false_alarm_rate: share of good parts called anomalous, in 0..1.
            miss_rate: share of defective parts called normal, in 0..1.

        Returns:
            the cost, in the unit of the costs; NaN where a rate is.

        >>> costs = Costs(false_alarm=1, miss=50, defect_rate=0.002)
        >>> round(costs.expected(false_alarm_rate=0.01, miss_rate=0.1), 6)
        0.01998
        """
        of_misses = self.defect_rate * self.miss * miss_rate
        return of_misses + (1 - self.defect_rate) * self.false_alarm * false_alarm_rate


@dataclass(frozen=True)
class Outcome:
    """What a threshold does to labelled test images: good ones above it, defective ones not above it.

    Attributes:
        false_alarms: good images above the threshold.
        normals: good images.
        misses: defective images at or below it.
        defects: defective images.
    """

    false_alarms: int
    normals: int
    misses: int
    defects: int

    @classmethod
    def of(cls, scores: Sequence[float] | np.ndarray, labels: Sequence[int], threshold: float) -> Outcome:
        """Of scores, or of the maxima of maps, at a threshold.

        Args:
            scores: (n,); higher is more anomalous.
            labels: (n,) 0 good, 1 defective.
            threshold: not NaN; anomalous means score > threshold.

        Returns:
            the counts.

        >>> Outcome.of([0.1, 0.6, 0.4, 0.9], [0, 0, 1, 1], threshold=0.5)
        Outcome(false_alarms=1, normals=2, misses=1, defects=2)
        """
        above, defective = np.asarray(scores, np.float64) > threshold, np.asarray(labels) == 1
        return cls(
            int(np.count_nonzero(above & ~defective)),
            int(np.count_nonzero(~defective)),
            int(np.count_nonzero(~above & defective)),
            int(np.count_nonzero(defective)),
        )

    @property
    def false_alarm_rate(self) -> float:
        """Share of the good images above the threshold; NaN without any."""
        return self.false_alarms / self.normals if self.normals else math.nan

    @property
    def miss_rate(self) -> float:
        """Share of the defective images at or below it; NaN without any."""
        return self.misses / self.defects if self.defects else math.nan

    @property
    def false_alarm_interval(self) -> Interval | None:
        """Where the rate may lie: 95 %, Clopper and Pearson; None without good images."""
        return rate_interval(self.false_alarms, self.normals) if self.normals else None

    @property
    def miss_interval(self) -> Interval | None:
        """Likewise of the misses."""
        return rate_interval(self.misses, self.defects) if self.defects else None

    def per_thousand(self, defect_rate: float) -> tuple[float, float]:
        """False alarms and misses in 1,000 parts of a line.

        Args:
            defect_rate: share of the line's parts that are defective.

        Returns:
            both numbers; NaN where the rate is not known.

        >>> Outcome(1, 50, 1, 10).per_thousand(0.002)
        (19.96, 0.2)
        """
        return PARTS * (1 - defect_rate) * self.false_alarm_rate, PARTS * defect_rate * self.miss_rate


def cheapest_threshold(scores: Sequence[float] | np.ndarray, labels: Sequence[int], costs: Costs) -> float:
    """The threshold of the least expected cost on labelled test images. It reads test labels: mark it so.

    Args:
        scores: (n,) finite; higher is more anomalous.
        labels: (n,) 0 good, 1 defective; both are there.
        costs: of false alarms and misses.

    Returns:
        a short number amid the gap between two scores that costs least; of several gaps that cost the same, that with
        the fewest misses.

    Raises:
        ValueError: only good or only defective images.

    >>> costs = Costs(false_alarm=1, miss=50, defect_rate=0.1)
    >>> cheapest_threshold([0.1, 0.2, 0.45, 0.3, 0.8], [0, 0, 0, 1, 1], costs)
    0.25
    """
    values, defective = np.asarray(scores, np.float64), np.asarray(labels) == 1
    if not defective.any() or defective.all():
        raise ValueError(
            f"{np.count_nonzero(~defective)} good and {np.count_nonzero(defective)} defective test images: the "
            "cheapest threshold needs both"
        )
    ordered = np.unique(values)
    good, bad = np.sort(values[~defective]), np.sort(values[defective])
    limits = np.concatenate([[-np.inf], ordered])  # just above each of them one image more is normal
    alarms = 1 - np.searchsorted(good, limits, "right") / good.size
    misses = np.searchsorted(bad, limits, "right") / bad.size
    cost = np.array([costs.expected(a, m) for a, m in zip(alarms, misses, strict=True)])
    best = int(np.argmax(cost <= cost.min() * (1 + 1e-9)))  # the first: rounding noise decides nothing
    if best == 0:
        return float(np.nextafter(ordered[0], -np.inf))
    return float(ordered[-1]) if best == ordered.size else _short_between(ordered[best - 1], ordered[best])


def _short_between(low: float, high: float) -> float:
    """The shortest number in the middle half between two; the lower one where there is none between."""
    middle, quarter = low + (high - low) / 2, (high - low) / 4
    for digits in range(1, 17):
        if low + quarter <= (short := float(f"{middle:.{digits}g}")) <= high - quarter and short < high:
            return short
    return float(low)
