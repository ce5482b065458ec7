"""Odd calibration scores: found where one lies far above all others, and not taken for odd in an honest heavy tail."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.metrics import calibrate, odd_scores
from uad_orchestrator.metrics.thresholds.outliers import LEVEL

Draw = Callable[[np.random.Generator, int], np.ndarray]

HONEST: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(1, 0.1, n),
    "log-normal": lambda rng, n: rng.lognormal(0, 1, n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "gamma": lambda rng, n: rng.gamma(0.5, 1, n),
    "Gumbel": lambda rng, n: rng.gumbel(5, 0.5, n),
    "Student, 3": lambda rng, n: abs(rng.standard_t(3, n)),
    "Cauchy": lambda rng, n: abs(rng.standard_cauchy(n)),
    "Pareto, 3": lambda rng, n: 1 + rng.pareto(3, n),
    "Pareto, 1": lambda rng, n: 1 + rng.pareto(1, n),
    "below zero": lambda rng, n: -rng.exponential(1, n),
}


@pytest.mark.parametrize("n", [4, 6, 12, 40, 150])
@pytest.mark.parametrize("name", HONEST)
def test_honest_scores_are_seldom_odd(name: str, n: int) -> None:
    """Of 500 tables at most so many as the level allows with a probability of 1 to 10,000."""
    from scipy.stats import binom

    rng = np.random.default_rng([n, *name.encode()])
    found = sum(odd_scores(HONEST[name](rng, n)).size > 0 for _ in range(500))
    assert found <= binom.isf(1e-4, 500, LEVEL)


def test_of_a_pareto_tail_the_level_is_exact() -> None:
    """One so heavy that no gap is as narrow as the least that counts."""
    rng = np.random.default_rng(0)
    found = np.mean([odd_scores(1 + rng.pareto(0.05, 10)).size > 0 for _ in range(20_000)])
    assert found == pytest.approx(LEVEL, rel=0.15)


@pytest.mark.parametrize("name", ["log-normal", "Pareto, 3", "Cauchy", "normal"])
@pytest.mark.parametrize("n", [12, 50])
def test_the_false_positive_rate_stays_as_promised(name: str, n: int) -> None:
    rng, rates = np.random.default_rng(1), []
    for _ in range(1500):
        point = calibrate(HONEST[name](rng, n), 0.1, "validation", robust=True)
        rates.append(np.mean(HONEST[name](rng, 40) > point.threshold))
    assert np.mean(rates) < 0.1 + 0.004


@pytest.mark.parametrize(("n", "rise"), [(6, 0.009), (20, 0.003)])
def test_what_leaving_honest_scores_aside_costs_of_a_heavy_tail(n: int, rise: float) -> None:
    """Of a Pareto tail of index 1 the rate above a score is its inverse."""
    rng, found = np.random.default_rng(3), []
    for _ in range(3000):
        scores = 1 / (1 - rng.random(n))
        counted, robust = (calibrate(scores, 0.05, "x", robust=robust).threshold for robust in (False, True))
        found.append(1 / robust - 1 / counted)
    assert rise - 0.002 < np.mean(found) < rise + 0.002


@given(st.lists(st.floats(0.9, 1.1), min_size=12, max_size=60), st.floats(20, 1e6), st.data())
def test_one_score_far_above_is_odd_whatever_its_place_and_unit(scores, factor, data) -> None:  # type: ignore[no-untyped-def]
    place = data.draw(st.integers(0, len(scores)))
    unit = data.draw(st.sampled_from([1e-6, 1.0, 1e6]))
    mixed = unit * np.insert(scores, place, factor)
    assert odd_scores(mixed).tolist() == [place]


@given(st.lists(st.floats(0.9, 1.1), min_size=20, max_size=60), st.floats(8, 50))
def test_two_odd_scores_do_not_hide_each_other(scores: list[float], factor: float) -> None:
    assert odd_scores([factor, *scores, 1.1 * factor]).tolist() == [len(scores) + 1, 0]


@given(st.lists(st.floats(-1e9, 1e9), max_size=80))
def test_never_more_than_a_tenth_and_always_the_largest(scores: list[float]) -> None:
    odd = odd_scores(scores)
    assert odd.size <= math.ceil(len(scores) / 10)
    kept = np.delete(scores, odd)
    assert all(scores[i] > kept.max() for i in odd)


@pytest.mark.parametrize(
    "scores",
    [
        [],
        [1.0],
        [1.0, 50.0],
        [1.0, 1.1, 50.0],
        [0.3] * 30,
        [0.3] * 30 + [0.31],
        [0.1] * 9 + [0.2],
        [0.0] * 12,
    ],
)
def test_ties_and_few_scores_prove_nothing(scores: list[float]) -> None:
    assert odd_scores(scores).size == 0


def test_a_second_kind_of_image_is_no_odd_one() -> None:
    rng = np.random.default_rng(2)
    assert odd_scores([*rng.normal(1, 0.1, 24), *rng.normal(9, 0.5, 6)]).size == 0


def test_copies_that_score_zero_hide_nothing() -> None:
    assert odd_scores([0.0, 0.0, 0.0, *np.linspace(0.9, 1.1, 9), 40.0]).tolist() == [12]
