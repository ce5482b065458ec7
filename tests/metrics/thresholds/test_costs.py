"""False alarms, misses and their cost: against counting, scikit-learn, and every threshold tried one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from uad_orchestrator.metrics import Costs, Outcome, cheapest_threshold

TENTHS = st.integers(0, 40).map(lambda tenth: tenth / 10)
LABELLED = st.lists(st.tuples(TENTHS, st.integers(0, 1)), min_size=2, max_size=30)
COSTS = st.builds(
    Costs, false_alarm=st.floats(0.1, 10), miss=st.floats(0.1, 100), defect_rate=st.floats(0.001, 0.9)
)


@given(LABELLED, TENTHS)
def test_the_counts_are_those_of_scikit_learn(rows: list[tuple[float, int]], threshold: float) -> None:
    scores, labels = zip(*rows, strict=True)
    found = Outcome.of(scores, labels, threshold)
    (tn, fp), (fn, tp) = confusion_matrix(labels, np.array(scores) > threshold, labels=[0, 1])
    assert (found.false_alarms, found.normals, found.misses, found.defects) == (fp, tn + fp, fn, fn + tp)


def test_the_intervals_are_scipys_exact_ones() -> None:
    found = Outcome(false_alarms=2, normals=40, misses=3, defects=25)
    for interval, of in (
        (found.false_alarm_interval, binomtest(2, 40)),
        (found.miss_interval, binomtest(3, 25)),
    ):
        exact = of.proportion_ci(0.95, "exact")
        assert interval is not None and (interval.low, interval.high) == pytest.approx(
            (exact.low, exact.high)
        )


def test_what_is_not_known_is_nan_and_has_no_interval() -> None:
    only_good = Outcome.of([0.1, 0.9], [0, 0], 0.5)
    assert only_good.false_alarm_rate == 0.5
    assert math.isnan(only_good.miss_rate) and only_good.miss_interval is None
    assert math.isnan(Costs(false_alarm=1, miss=5, defect_rate=0.1).expected(0.5, only_good.miss_rate))
    assert only_good.per_thousand(0.1)[0] == 450 and math.isnan(only_good.per_thousand(0.1)[1])


def test_the_expected_cost_is_the_mean_cost_of_parts_drawn_from_a_line() -> None:
    costs, rng = Costs(false_alarm=2, miss=30, defect_rate=0.1), np.random.default_rng(0)
    defective = rng.random(400_000) < costs.defect_rate
    wrong = rng.random(defective.size) < np.where(defective, 0.2, 0.05)
    paid = np.where(wrong, np.where(defective, costs.miss, costs.false_alarm), 0)
    assert costs.expected(0.05, 0.2) == pytest.approx(paid.mean(), rel=0.02)
    per_thousand = Outcome(5, 100, 20, 100).per_thousand(costs.defect_rate)
    assert per_thousand == pytest.approx(
        (1000 * (wrong & ~defective).mean(), 1000 * (wrong & defective).mean()), rel=0.03
    )


@given(LABELLED.filter(lambda rows: len({label for _, label in rows}) == 2), COSTS)
def test_no_threshold_is_cheaper_than_the_cheapest(rows: list[tuple[float, int]], costs: Costs) -> None:
    scores, labels = zip(*rows, strict=True)

    def cost(threshold: float) -> float:
        found = Outcome.of(scores, labels, threshold)
        return costs.expected(found.false_alarm_rate, found.miss_rate)

    found = cheapest_threshold(scores, labels, costs)
    tried = [-1.0, *(tenth / 10 for tenth in range(42))]
    least = min(map(cost, tried))
    assert cost(found) == pytest.approx(least)
    misses = Outcome.of(scores, labels, found).misses
    as_cheap = [t for t in tried if cost(t) < least * (1 + 1e-12)]
    assert all(Outcome.of(scores, labels, t).misses >= misses for t in as_cheap)


def test_the_cheapest_threshold_is_a_short_number_amid_its_gap() -> None:
    costs = Costs(false_alarm=1, miss=1, defect_rate=0.5)
    found = cheapest_threshold([0.1234567, 0.2, 0.7654321, 0.9], [0, 0, 1, 1], costs)
    assert found == 0.5
    close = cheapest_threshold([1.0000001, 1.0000002], [0, 1], costs)
    assert 1.0000001 <= close < 1.0000002


def test_the_cheapest_threshold_needs_both_kinds() -> None:
    costs = Costs(false_alarm=1, miss=1, defect_rate=0.5)
    with pytest.raises(ValueError, match="2 good and 0 defective test images"):
        cheapest_threshold([0.1, 0.2], [0, 0], costs)


@pytest.mark.parametrize(
    "wrong", [{"miss": -1}, {"defect_rate": 0}, {"defect_rate": 1.5}, {"false_alarm": math.inf}]
)
def test_costs_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Costs(**{"false_alarm": 1, "miss": 50, "defect_rate": 0.002} | wrong)
