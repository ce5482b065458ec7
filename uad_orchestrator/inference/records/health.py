"""The health of a cell on one day of the line: what its records say against what calibration knows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from pydantic import BaseModel, ConfigDict

from uad_orchestrator.images.look import Look
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.metrics.intervals import rate_interval
from uad_orchestrator.metrics.line.alarms import chance_of_so_many, expected_share, promised
from uad_orchestrator.metrics.line.drift import Shift, shift_of
from uad_orchestrator.metrics.thresholds.conformal import RateLaw

HEALTH_VERSION = 1
"""Raised when the same records give other figures."""

LEAST_SPREAD_OF_LIGHT = 0.01
"""Of brightness and colours, of 1: some 2.5 of 255 steps."""
LEAST_SHARE = 0.01
"""Of scores and sharpness, whose scale is their own: a share of the normals' median."""


def look_values(look: Look) -> list[float | None]:
    """The numbers of a look that are compared, in the order of ``LOOKS``; None where one could not be taken."""
    values = (look.brightness, look.sharpness, *look.colour)
    return [value if math.isfinite(value) else None for value in values]


@dataclass(frozen=True)
class CalibrationNormals:
    """The normals that a cell was calibrated on.

    Attributes:
        scores: their image scores; empty where there are none, or where it is not known which the parts' are.
        looks: each look of them, by name.
        largest_group: most images of one group among them; None: no rate is guaranteed.
        missing: what cannot be had and why, by ``score``, ``look`` or ``alarms``.
    """

    scores: tuple[float, ...] = ()
    looks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    largest_group: int | None = 1
    missing: Mapping[str, str] = field(default_factory=dict)


class Share(BaseModel):
    """A share of a day's parts.

    Attributes:
        count: how many of ``parts``.
        share: of all.
        low, high: the exact 95 % interval, by Clopper and Pearson.
        promised: the share of good parts that calibration promised, at most; None: it promised nothing.
        expected: that with the defective parts of ``costs.defect_rate`` above it.
        p: how probable so many, or more, are by chance; None: nothing was promised, or it is not asked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int
    parts: int
    share: float
    low: float
    high: float
    promised: float | None = None
    expected: float | None = None
    p: float | None = None


class LineHealth(BaseModel):
    """A day of a cell.

    The parts are those of the model and thresholds that were in use last on that day; parts of others are counted.

    Attributes:
        version: ``HEALTH_VERSION``.
        category, detector, day: whose.
        records: digest of the day's records.
        stamp: of the files they were read from.
        parts: how many.
        other_parts: of another model or other thresholds, on the same day.
        model: digest of the model's state; None without parts.
        threshold, review_threshold: what the parts were held to.
        first, last: times of the first and last part.
        shares: ``rejected``, and where parts are reviewed ``in_review`` and ``alarms``, which is both together; empty
            without a threshold.
        shifts: of ``score`` and each look, where there is something to compare.
        missing: what cannot be had and why, by ``score``, ``look`` or ``alarms``.
        seconds: ``p50`` and ``p95`` of the time that a part took.
        warned: parts with warnings.
        worst_picture: of the part with the highest score whose picture was kept; below the day's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = HEALTH_VERSION
    category: str
    detector: str
    day: str
    records: str
    stamp: str
    parts: int
    other_parts: int = 0
    model: str | None = None
    threshold: float | None = None
    review_threshold: float | None = None
    first: datetime | None = None
    last: datetime | None = None
    shares: dict[str, Share] = {}
    shifts: dict[str, Shift] = {}
    missing: dict[str, str] = {}
    seconds: dict[str, float] = {}
    warned: int = 0
    worst_picture: str | None = None

    @property
    def cell(self) -> str:
        """As messages call it, ``line7/housing x patchcore``."""
        return f"{self.category} x {self.detector}"


@dataclass(frozen=True)
class DayOfRecords:
    """A cell's records of a day.

    Attributes:
        category, detector, day: whose.
        digest: of all of them.
        stamp: of the files they were read from.
        parts: those of the model and thresholds in use last, in order of time.
        other_parts: how many others there are.
    """

    category: str
    detector: str
    day: str
    digest: str
    stamp: str
    parts: tuple[LineRecord, ...]
    other_parts: int

    @classmethod
    def of(
        cls, category: str, detector: str, day: str, digest: str, stamp: str, records: Sequence[LineRecord]
    ) -> DayOfRecords:
        """Part the records, which are in order of time, by what judged them."""
        last = _judged_by(records[-1]) if records else None
        parts = tuple(record for record in records if _judged_by(record) == last)
        return cls(category, detector, day, digest, stamp, parts, len(records) - len(parts))


def health_of(day: DayOfRecords, normals: CalibrationNormals, defect_rate: float = 0.0) -> LineHealth:
    """Compare a day with the calibration normals.

    Args:
        day: its records.
        normals: those of the model in use.
        defect_rate: share of the line's parts that are defective.

    Returns:
        What was found; nothing is judged yet.
    """
    parts = day.parts
    found = LineHealth(
        category=day.category,
        detector=day.detector,
        day=day.day,
        records=day.digest,
        stamp=day.stamp,
        parts=len(parts),
        other_parts=day.other_parts,
        missing=dict(normals.missing),
    )
    if not parts:
        return found
    last = parts[-1]
    shares, no_promise = _shares(parts, normals, defect_rate)
    seconds = np.quantile([part.seconds for part in parts], [0.5, 0.95])
    kept = [part for part in parts if part.picture is not None]
    return found.model_copy(
        update={
            "model": last.model,
            "threshold": last.threshold,
            "review_threshold": last.review_threshold,
            "first": parts[0].time,
            "last": last.time,
            "shares": shares,
            "shifts": _shifts(parts, normals),
            "missing": {**no_promise, **normals.missing},
            "seconds": {"p50": float(seconds[0]), "p95": float(seconds[1])},
            "warned": sum(bool(part.warnings) for part in parts),
            "worst_picture": max(kept, key=lambda part: part.score).picture if kept else None,
        }
    )


def _judged_by(record: LineRecord) -> tuple[str, float | None, float | None]:
    return record.model, record.threshold, record.review_threshold


def _shares(
    parts: Sequence[LineRecord], normals: CalibrationNormals, defect_rate: float
) -> tuple[dict[str, Share], dict[str, str]]:
    """The shares by name; and why nothing is promised of them, where that is so."""
    threshold, review = parts[-1].threshold, parts[-1].review_threshold
    decided = Counter(part.decision for part in parts if part.decision is not None)
    if threshold is None or not decided:
        return {}, {"alarms": "the parts were not held to a threshold"}
    law, total, rejected = _law(normals, threshold), decided.total(), decided["reject"]
    shares = {"rejected": _share(rejected, total, law, defect_rate)}
    if review is not None:
        shares |= _with_review(decided["review"], shares["rejected"], _law(normals, review), defect_rate)
    why = "the normals do not reach up to the threshold, or none are known: no rate was promised"
    return shares, {} if law is not None else {"alarms": why}


def _with_review(count: int, rejected: Share, law: RateLaw | None, defect_rate: float) -> dict[str, Share]:
    """The grey zone, and what lies above where it begins. Of the zone alone the promise is the difference of both."""
    alarms = _share(rejected.count + count, rejected.parts, law, defect_rate)
    in_review = _share(count, rejected.parts, None, defect_rate)
    if rejected.promised is not None and alarms.promised is not None:
        between = max(alarms.promised - rejected.promised, 0.0)
        in_review = in_review.model_copy(update={"promised": between})
    return {"in_review": in_review, "alarms": alarms}


def _law(normals: CalibrationNormals, threshold: float) -> RateLaw | None:
    if not normals.scores or normals.largest_group is None or "alarms" in normals.missing:
        return None
    return promised(normals.scores, threshold, normals.largest_group)


def _share(count: int, parts: int, law: RateLaw | None, defect_rate: float) -> Share:
    ends = rate_interval(count, parts)
    known = {}
    if law is not None:
        known = {
            "promised": law.mean,
            "expected": expected_share(law, defect_rate),
            "p": chance_of_so_many(count, parts, law, defect_rate),
        }
    return Share(count=count, parts=parts, share=count / parts, low=ends.low, high=ends.high, **known)


def _shifts(parts: Sequence[LineRecord], normals: CalibrationNormals) -> dict[str, Shift]:
    known = {"score": normals.scores, **normals.looks}
    found = {}
    for name, of_normals in known.items():
        values = [value for part in parts if (value := getattr(part, name)) is not None]
        values = [value for value in values if math.isfinite(value)]
        if values and of_normals:
            own_scale = name in ("score", "sharpness")
            least = LEAST_SHARE * abs(float(np.median(of_normals))) if own_scale else LEAST_SPREAD_OF_LIGHT
            found[name] = shift_of(values, of_normals, least_spread=least)
    return found
