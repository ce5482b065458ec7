"""Operating points: conformal, from normals alone."""

from __future__ import annotations

import json
import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.metrics import calibrate
from uad_orchestrator.metrics.cell.point_reports import point_report, with_held_out_rate
from uad_orchestrator.metrics.thresholds import at_false_positive_rate, exceeds, held_out_rate, pinned_point
from uad_orchestrator.metrics.thresholds.operating_point import OPTIMISTIC, OperatingPoint, Pin


@given(st.integers(1, 60), st.floats(0.01, 0.49), st.randoms(use_true_random=False))
def test_a_new_normal_exceeds_the_threshold_with_at_most_the_contamination(n, contamination, random) -> None:  # type: ignore[no-untyped-def]
    """Of n + 1 exchangeable normals, each left out in turn, at most a share ``contamination`` exceeds."""
    scores = random.sample(range(1000), n + 1)
    exceeding = sum(
        left_out > point.threshold
        for i, left_out in enumerate(scores)
        for point in [calibrate(scores[:i] + scores[i + 1 :], contamination, "validation")]
        if "largest of" not in point.source
    )
    assert exceeding <= contamination * (n + 1) + 1e-9


def test_measured_false_positive_rate_is_the_nominal_one() -> None:
    rng = np.random.default_rng(0)
    rates = [
        np.mean(rng.normal(size=500) > calibrate(rng.normal(size=40), 0.1, "validation").threshold)
        for _ in range(300)
    ]
    assert np.mean(rates) == pytest.approx(4 / 41, abs=0.01)


def test_too_few_normals_give_the_largest_score_and_say_so() -> None:
    point = calibrate([3.0, 2.0], 0.05, "held_out")
    assert point.threshold == 3.0
    assert point.source == (
        "held_out; largest of 2 scores, guaranteed 0.33: 19 or more are needed for contamination 0.05"
    )
    assert "largest" not in calibrate(range(19), 0.05, "held_out").source


def test_no_normals_give_nan_with_the_reason() -> None:
    point = calibrate([], 0.05, "none: one reference image and no other normals")
    assert math.isnan(point.threshold)
    assert (point.n, point.source) == (0, "none: one reference image and no other normals")
    assert (
        calibrate([], 0.05, "validation").source == "none: no normal images left to calibrate on (validation)"
    )


def test_the_origin_leaves_out_what_was_said_of_the_number() -> None:
    few = calibrate([0.1, 0.4], 0.1, "validation")
    assert few.origin == "validation" != few.source
    assert calibrate([0.3], 0.1, few.origin).source.count("largest of") == 1


@pytest.mark.parametrize("contamination", [0.0, 0.5, -0.1, 1.0, math.nan])
def test_contamination_outside_0_to_a_half_is_refused(contamination: float) -> None:
    with pytest.raises(ValueError, match=r"contamination must lie in \(0, 0.5\)"):
        calibrate([1.0], contamination, "validation")


def test_a_threshold_is_never_infinite() -> None:
    with pytest.raises(ValueError, match="1 of 2 calibration scores"):
        calibrate([1.0, math.inf], 0.1, "validation")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.floats(allow_nan=False))
def test_a_float32_map_is_compared_exactly(score: float, threshold: float) -> None:
    assert exceeds(np.array([score], np.float32), threshold)[0] == (score > threshold)
    neighbour = float(np.nextafter(score, np.inf))  # between two float32
    assert not exceeds(np.array([score], np.float32), neighbour)[0]
    assert not exceeds(np.array([score], np.float32), score)[0]


@pytest.mark.parametrize(("n", "rate", "enough"), [(30, 0.01, False), (98, 0.01, False), (99, 0.01, True)])
def test_too_few_normals_support_no_false_positive_rate(n: int, rate: float, enough: bool) -> None:
    point = at_false_positive_rate(np.arange(n), rate, "validation")
    assert point.n == n
    if enough:
        assert point == calibrate(np.arange(n), rate, "validation")
        assert point.reason == ""
    else:
        assert math.isnan(point.threshold)
        assert point.reason == (
            f"{n} normals cannot support a false-positive rate of 1 %: 99 or more are needed (validation)"
        )


@pytest.mark.parametrize("rate", [0.0, 0.5, -0.1, math.nan])
def test_a_false_positive_rate_outside_0_to_a_half_is_refused_by_its_name(rate: float) -> None:
    with pytest.raises(ValueError, match=r"^a false-positive rate of .*: it must lie in \(0, 0.5\)"):
        at_false_positive_rate([1.0], rate, "validation")


def test_operating_points_survive_json() -> None:
    for point in (calibrate([1.0, 2.0], 0.4, "validation"), calibrate([], 0.1, "none: no normals")):
        assert repr(OperatingPoint.from_json(json.loads(json.dumps(point.to_json())))) == repr(point)


ODD = [0.31, 0.36, 12.0, 0.35, 0.33, 0.4, 0.38, 0.34, 0.32, 0.37]


def test_a_normal_far_above_all_others_is_left_aside_and_named() -> None:
    names = [f"train/good/{i}.png" for i in range(10)]
    point = calibrate(ODD, 0.1, "leave_one_image_out", robust=True, names=names)
    assert (point.threshold, point.n, point.left_aside) == (0.4, 9, ("train/good/2.png",))
    assert point.source == "leave_one_image_out; left aside, far above the other 9: train/good/2.png"
    assert point.origin == "leave_one_image_out"
    assert calibrate(ODD, 0.1, "leave_one_image_out").threshold == 12.0


def test_what_is_left_aside_and_few_normals_are_both_said() -> None:
    point = calibrate(ODD, 0.01, "validation", robust=True)
    assert point.source.startswith(
        "validation; left aside, far above the other 9: normal 2; largest of 9 scores"
    )
    assert point.origin == "validation"


def test_nothing_is_guaranteed_of_normals_that_the_model_may_have_seen() -> None:
    point = calibrate(range(30), 0.1, OPTIMISTIC)
    assert math.isnan(point.guaranteed_rate) and math.isnan(point.false_positive_limit)
    assert "trained on" in point.unguaranteed
    values = point.to_json()
    assert (values["guaranteed_rate"], values["false_positive_limit"]) == (None, None)
    assert "guaranteed" not in calibrate(range(3), 0.1, OPTIMISTIC).source
    assert calibrate([], 0.1, "none: no images").unguaranteed == "no threshold: no images"


def test_points_of_earlier_versions_are_read_and_their_groups_are_not_made_up() -> None:
    earlier = {"threshold": 1.0, "source": "validation", "n": 19, "contamination": 0.05}
    assert OperatingPoint.from_json(earlier).guaranteed_rate == pytest.approx(0.05)
    grouped = OperatingPoint.from_json(earlier | {"source": "leave_one_group_out; largest of 12 scores: 19"})
    assert "not recorded" in grouped.unguaranteed and math.isnan(grouped.guaranteed_rate)
    for group in (1, 4):
        point = calibrate(range(12), 0.05, "leave_one_group_out", largest_group=group)
        assert OperatingPoint.from_json(json.loads(json.dumps(point.stored()))) == point
        assert point.guaranteed_rate == pytest.approx(group / (12 + group))
    assert calibrate(range(12), 0.05, "validation").stored().keys() == earlier.keys()


def test_remarks_of_others_stay_part_of_the_origin() -> None:
    origin = "leave_one_image_out; scaled by 0.91 to a refit of 2 of 10 folds"
    point = calibrate([*ODD, 50.0], 0.01, origin, robust=True)
    assert point.origin == origin and len(point.source) > len(origin) + 50


def test_many_left_aside_are_counted() -> None:
    scores = [*np.linspace(1, 1.2, 60), *(100.0 + i for i in range(5))]
    point = calibrate(scores, 0.05, "validation", robust=True)
    assert point.source.endswith("far above the other 60: normal 64, normal 63, normal 62 and 2 more")
    assert len(point.left_aside) == 5


def test_points_with_and_without_images_left_aside_go_through_json() -> None:
    for point in (calibrate(ODD, 0.1, "validation", robust=True), calibrate(ODD, 0.1, "validation")):
        assert OperatingPoint.from_json(json.loads(json.dumps(point.to_json()))) == point
    assert "left_aside" not in calibrate(ODD, 0.1, "validation").to_json()


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.floats(0.02, 0.45))
def test_the_held_out_rate_is_of_each_normal_against_the_threshold_of_the_others(
    values: list[int], contamination: float
) -> None:
    scores = np.array(values, float)
    above = [
        score > calibrate(np.delete(scores, i), contamination, "validation").threshold
        for i, score in enumerate(scores)
    ]
    assert held_out_rate(scores, contamination) == pytest.approx(np.mean(above))


def test_a_normal_is_held_against_those_of_other_groups() -> None:
    scores, groups = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.4]), ["a", "a", "b", "b", "b", "c"]
    above = [
        score > calibrate(scores[[g != own for g in groups]], 0.2, "leave_one_group_out").threshold
        for score, own in zip(scores, groups, strict=True)
    ]
    assert held_out_rate(scores, 0.2, groups) == np.mean(above) > held_out_rate(scores, 0.2)
    assert np.isnan(held_out_rate(scores, 0.2, ["a"] * 6))


def test_a_rate_that_people_pinned_counts_the_groups_of_the_others_too() -> None:
    rng = np.random.default_rng(0)
    scores, groups = rng.normal(size=40), [f"part {i // 4}" for i in range(40)]
    above = [
        score
        > at_false_positive_rate(
            scores[[g != own for g in groups]], 0.3, "leave_one_group_out", largest_group=4
        ).threshold
        for score, own in zip(scores, groups, strict=True)
    ]
    assert held_out_rate(scores, 0.3, groups, largest_group=4) == np.mean(above)
    assert held_out_rate(scores, 0.3, groups) > np.mean(above)

    pin = Pin(fpr=0.3, by="anna", at=date(2026, 11, 27))
    point = pinned_point(pin, OperatingPoint(2.0, "leave_one_group_out", 40, 0.05, largest_group=4), scores)
    untested = point_report(point, None, {}, "no good test images")
    found = with_held_out_rate(untested, scores.tolist(), groups, point)
    assert found.false_positive_rate == np.mean(above)


def test_one_normal_has_no_held_out_rate() -> None:
    assert np.isnan(held_out_rate([1.0], 0.1)) and np.isnan(held_out_rate([], 0.1))


def test_a_rate_is_refused_where_the_sizes_of_groups_were_not_recorded() -> None:
    point = at_false_positive_rate(range(200), 0.05, "leave_one_group_out", largest_group=None)
    assert math.isnan(point.threshold) and "not recorded" in point.reason and "refresh" in point.reason
