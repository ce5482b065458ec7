"""A day's shares, promises and shifts are what a person counts by hand; what cannot be had is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import betabinom, binomtest, ks_2samp

from tests.inference.records.made_up import made_records, usual_scores
from uad_orchestrator.images.look import Look
from uad_orchestrator.inference.records.health import (
    CalibrationNormals,
    DayOfRecords,
    LineHealth,
    health_of,
    look_values,
)
from uad_orchestrator.inference.records.record import LOOKS, LineRecord

DAY = "2026-11-26"
NORMALS = CalibrationNormals(
    scores=tuple(np.linspace(0.01, 0.99, 99)), looks={"brightness": tuple(np.linspace(0.38, 0.44, 40))}
)


def day_of(records: list[LineRecord]) -> DayOfRecords:
    return DayOfRecords.of("line7/housing", "patchcore", DAY, "digest", "stamp", records)


def test_shares_are_counted_with_exact_intervals_and_the_promise_of_the_rank() -> None:
    scores = [0.5] * 180 + [0.95] * 14 + [0.985] * 6
    day = day_of(list(made_records(DAY, scores, threshold=NORMALS.scores[96], review=NORMALS.scores[90])))
    found = health_of(day, NORMALS)
    rejected, review, alarms = (found.shares[name] for name in ("rejected", "in_review", "alarms"))
    assert (rejected.count, review.count, alarms.count, alarms.parts) == (6, 14, 20, 200)
    exact = binomtest(6, 200).proportion_ci(0.95, method="exact")
    assert (rejected.low, rejected.high) == pytest.approx((exact.low, exact.high))
    assert rejected.promised == pytest.approx(3 / 100) and alarms.promised == pytest.approx(9 / 100)
    assert review.promised == pytest.approx(6 / 100) and review.p is None
    assert rejected.p == pytest.approx(betabinom.sf(5, 200, 3, 97), rel=1e-6)
    assert alarms.p == pytest.approx(betabinom.sf(19, 200, 9, 91), rel=1e-6)
    assert health_of(day, NORMALS, defect_rate=0.01).shares["rejected"].expected == pytest.approx(
        0.01 + 0.99 * 0.03
    )


def test_shifts_are_of_score_and_of_the_looks_that_are_known() -> None:
    scores = usual_scores(300)
    looks = [{"brightness": float(value)} for value in np.linspace(0.5, 0.56, 300)]
    found = health_of(day_of(list(made_records(DAY, scores, looks=looks))), NORMALS)
    assert set(found.shifts) == {"score", "brightness"}
    assert found.shifts["score"].ks == pytest.approx(ks_2samp(scores, NORMALS.scores).statistic)
    assert found.shifts["score"].p > 0.01 and found.shifts["score"].wasserstein < 0.3
    bright = found.shifts["brightness"]
    assert bright.ks == 1 and bright.spread == pytest.approx(0.0205, rel=0.05)
    assert bright.median - bright.normal_median == pytest.approx(0.12, abs=0.001)


def test_normals_of_one_brightness_allow_two_grey_levels() -> None:
    normals = replace(NORMALS, looks={"brightness": (0.4,) * 30})
    looks = [{"brightness": 0.402}] * 100
    shift = health_of(day_of(list(made_records(DAY, [0.5] * 100, looks=looks))), normals).shifts["brightness"]
    assert shift.ks == 1 and shift.wasserstein == pytest.approx(0.2)


def test_only_the_model_in_use_last_is_judged() -> None:
    before = list(made_records(DAY, [0.9] * 30, model="old"))
    after = [
        replace(record, id=f"{n:032x}") for n, record in enumerate(made_records(DAY, [0.2] * 20, model="new"))
    ]
    found = health_of(day_of([*before, *after]), NORMALS)
    assert (found.parts, found.other_parts, found.model) == (20, 30, "new")
    assert found.shifts["score"].median == pytest.approx(0.2)
    other_threshold = list(made_records(DAY, [0.2] * 5, threshold=0.5, model="new"))
    assert health_of(day_of([*after, *other_threshold]), NORMALS).other_parts == 20


def test_what_cannot_be_had_is_said() -> None:
    nothing = health_of(day_of([]), NORMALS)
    assert (nothing.parts, nothing.shares, nothing.shifts, nothing.seconds) == (0, {}, {}, {})
    free = health_of(day_of(list(made_records(DAY, [0.5], threshold=None))), NORMALS)
    assert free.shares == {} and "not held to a threshold" in free.missing["alarms"]
    unknown = CalibrationNormals(
        missing={"score": "no score table", "look": "gone", "alarms": "no score table"}
    )
    found = health_of(day_of(list(made_records(DAY, [0.5, 0.6]))), unknown)
    assert found.shifts == {} and found.missing == unknown.missing
    assert found.shares["rejected"].share == 0 and found.shares["rejected"].promised is None
    beyond = health_of(day_of(list(made_records(DAY, [0.5], threshold=0.001))), NORMALS)
    assert "do not reach" in beyond.missing["alarms"] and beyond.shares["rejected"].p is None
    unlooked = list(made_records(DAY, [0.5] * 3, brightness=None))
    assert set(health_of(day_of(unlooked), NORMALS).shifts) == {"score"}


def test_grouped_normals_promise_less() -> None:
    day = day_of(list(made_records(DAY, [0.5] * 10, threshold=NORMALS.scores[-1])))
    single = health_of(day, NORMALS).shares["rejected"].promised
    grouped = health_of(day, replace(NORMALS, largest_group=3)).shares["rejected"].promised
    assert single == pytest.approx(1 / 100) and grouped == pytest.approx(1 / 34)
    assert health_of(day, replace(NORMALS, largest_group=None)).shares["rejected"].promised is None


def test_seconds_warnings_and_the_worst_kept_picture() -> None:
    records = list(made_records(DAY, [0.1, 0.2, 0.3, 0.4]))
    records = [replace(record, seconds=0.1 * n) for n, record in enumerate(records, 1)]
    records[1] = replace(records[1], picture="pictures/b.png", warnings=("dark",))
    records[2] = replace(records[2], picture="pictures/c.png")
    found = health_of(day_of(records), NORMALS)
    assert found.seconds == pytest.approx({"p50": 0.25, "p95": 0.385})
    assert (found.warned, found.worst_picture) == (1, "pictures/c.png")
    assert LineHealth.model_validate_json(found.model_dump_json()) == found


def test_the_look_of_normals_has_the_columns_of_records() -> None:
    look = Look((4, 4), 8, 3, 0.25, float("nan"), 1.0, (0.1, 0.2, 0.3))
    assert dict(zip(LOOKS, look_values(look), strict=True)) == {
        "brightness": 0.25, "sharpness": None, "red": 0.1, "green": 0.2, "blue": 0.3
    }  # fmt: skip
    assert set(LOOKS) < set(LineRecord.__dataclass_fields__)
