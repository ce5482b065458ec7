"""Pass, review, reject; thresholds that people pin."""

from __future__ import annotations

import json
import math
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest

from uad_orchestrator.metrics import OperatingPoint, Pin, calibrate, decide, pinned_point, review_from
from uad_orchestrator.metrics.cell.point_reports import review_report
from uad_orchestrator.metrics.thresholds import at_false_positive_rate
from uad_orchestrator.metrics.thresholds.conformal import scores_needed
from uad_orchestrator.metrics.thresholds.decision import in_review

AT = date(2026, 11, 27)
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_decision_agrees_with_the_label_and_with_the_order_of_scores(
    score: float, threshold: float, below: float
) -> None:
    review = threshold * below
    found = decide(score, threshold, review)
    assert (found == "reject") == (score > threshold)
    assert (found == "pass") == (score <= review)
    assert decide(score, threshold) == ("reject" if score > threshold else "pass")


def test_without_a_threshold_or_a_score_nothing_is_decided() -> None:
    assert decide(math.nan, 0.5) is decide(math.nan, 0.5, 0.3) is None
    assert decide(1.0, math.nan) is decide(1.0, math.nan, 0.5) is decide(1.0, 0.5, math.nan) is None


def test_of_new_normals_at_most_the_rate_reach_a_person_or_are_rejected() -> None:
    rng = np.random.default_rng(0)
    beyond = []
    for _ in range(400):
        normals = rng.normal(size=60)
        review = review_from(normals, 0.2, calibrate(normals, 0.05, "validation"))
        beyond.append(np.mean(rng.normal(size=300) > review.threshold))
    assert np.mean(beyond) == pytest.approx(12 / 61, abs=0.01)


@given(SCORES, st.floats(0.02, 0.49))
def test_review_begins_below_the_threshold_or_says_why_it_does_not(scores: list[float], rate: float) -> None:
    point = calibrate(scores, 0.01, "validation")
    found = review_from(scores, rate, point)
    if math.isnan(found.threshold):
        few = len(scores) < scores_needed(rate)
        assert ("cannot support" if few else "not below the image threshold") in found.reason
    else:
        assert found.threshold == at_false_positive_rate(scores, rate, "validation").threshold
        assert found.threshold < point.threshold
        decisions = [decide(score, point.threshold, found.threshold) for score in scores]
        assert in_review(scores, point.threshold, found.threshold) == decisions.count("review")


def test_the_report_counts_good_and_defective_images_in_the_grey_zone() -> None:
    threshold, begin = OperatingPoint(0.5, "validation", 99, 0.01), OperatingPoint(0.3, "validation", 99, 0.1)
    scored = [(0.2, 0), (0.4, 0), (0.5, 0), (0.6, 0), (0.45, 1), (0.9, 1)]
    rows = [
        SimpleNamespace(image=str(i), score=s, label=label, defect_type="")
        for i, (s, label) in enumerate(scored)
    ]
    found = review_report(begin, threshold, rows)
    assert (found.share_in_review, found.defects_in_review) == (0.5, 0.5)
    exact = binomtest(2, 4).proportion_ci(0.95, "exact")
    interval = found.intervals["share_in_review"]
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high))
    assert (interval.n_normal, interval.n_anomalous) == (4, 0)
    good = review_report(begin, threshold, rows[:4])
    assert good.defects_in_review is None and good.reasons == {
        "defects_in_review": "no defective test images"
    }
    few = review_report(review_from([0.1] * 12, 0.05, threshold), threshold, rows)
    assert few.threshold is few.share_in_review is None and "19 or more" in few.reasons["share_in_review"]


def test_without_an_image_threshold_there_is_no_review() -> None:
    none = calibrate([], 0.05, "none: one reference image")
    assert review_from([], 0.1, none).reason == "there is no image threshold: one reference image"


def test_a_pinned_value_takes_the_place_of_the_calibrated_one_and_promises_nothing() -> None:
    calibrated = calibrate([0.1, 0.2, 0.3, 9.0], 0.2, "validation", robust=False)
    pin = Pin(threshold=0.25, chosen_on="test labels", by="anna", at=AT, why="line audit")
    point = pinned_point(pin, calibrated)
    assert point.threshold == 0.25 and point.n == 0
    assert point.source == "pinned by anna on 2026-11-27: line audit; chosen on test labels"
    assert point.origin == calibrated.origin == "validation"
    assert math.isnan(point.guaranteed_rate) and "pinned" in point.unguaranteed


@given(SCORES, st.floats(0.01, 0.49))
def test_a_pinned_rate_is_taken_from_the_normals(scores: list[float], rate: float) -> None:
    point = pinned_point(Pin(fpr=rate, by="anna", at=AT), calibrate(scores, 0.05, "validation"), scores)
    plain = at_false_positive_rate(scores, rate, "validation")
    assert point.threshold == pytest.approx(plain.threshold, nan_ok=True)
    assert point.guaranteed_rate == pytest.approx(plain.guaranteed_rate, nan_ok=True)
    assert "pinned by anna on 2026-11-27" in point.source
    assert point.reason.startswith(plain.reason)


@pytest.mark.parametrize("pin", [Pin(threshold=0.5, by="anna", at=AT), Pin(fpr=0.3, by="b", at=AT, why="c")])
def test_a_pinned_point_is_written_and_read(pin: Pin) -> None:
    point = pinned_point(
        pin, calibrate([0.1, 0.2, 0.3, 0.4], 0.25, "leave_one_group_out", largest_group=2), [0.1] * 9
    )
    for written in (point.stored(), point.to_json()):
        assert OperatingPoint.from_json(json.loads(json.dumps(written))) == point
    assert "pinned" not in OperatingPoint(0.5, "validation", 9, 0.1).stored()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "one of"),
        ({"threshold": 0.5, "fpr": 0.1}, "one of"),
        ({"fpr": 0.6}, "less than 0.5"),
        ({"threshold": math.nan}, "finite"),
        ({"threshold": 0.5, "why": "two\nlines"}, "one line"),
        ({"threshold": 0.5, "by": ""}, "at least 1"),
        ({"threshold": 0.5, "chosen_on": "a feeling"}, "test labels"),
    ],
)
def test_a_pin_says_one_thing_and_who_said_it(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Pin(**{"by": "anna", "at": AT} | wrong)
