"""The chance of so many alarms is the beta-binomial one, and with defects that of a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from uad_orchestrator.metrics.line.alarms import chance_of_so_many, expected_share, promised
from uad_orchestrator.metrics.thresholds import calibrate
from uad_orchestrator.metrics.thresholds.conformal import RateLaw


@given(n=st.integers(1, 300), above=st.integers(0, 20), parts=st.integers(1, 3000), data=st.data())
def test_without_defects_it_is_the_beta_binomial_law(
    n: int, above: int, parts: int, data: st.DataObject
) -> None:
    law = RateLaw(above + 1, max(n - above, 1))
    alarms = data.draw(st.integers(0, min(parts, 200)))
    exact = betabinom.pmf(np.arange(alarms, parts + 1), parts, law.above, law.below).sum()
    assert chance_of_so_many(alarms, parts, law) == pytest.approx(exact, rel=1e-5, abs=1e-12)


def test_far_out_in_the_tail_it_still_is() -> None:
    law = RateLaw(1, 300)
    exact = betabinom.pmf(
        np.arange(150, 2001), 2000, 1, 300
    ).sum()  # its `sf` is 1 - something, and wrong out there
    assert 1e-12 < exact < 1e-9
    assert chance_of_so_many(150, 2000, law) == pytest.approx(exact, rel=1e-5)


def test_with_defects_it_is_what_a_simulation_gives() -> None:
    law, parts, rate = RateLaw(2, 99), 400, 0.01
    rng = np.random.default_rng(0)
    shares = rng.beta(law.above, law.below, 200_000)
    counts = rng.binomial(parts, rate + (1 - rate) * shares)
    for alarms in (5, 15, 25, 40):
        assert chance_of_so_many(alarms, parts, law, rate) == pytest.approx(
            (counts >= alarms).mean(), rel=0.05, abs=1e-3
        )
    assert expected_share(law, rate) == pytest.approx(counts.mean() / parts, rel=0.01)


def test_what_is_promised_is_what_the_operating_point_says() -> None:
    scores = np.random.default_rng(1).random(57)
    for contamination in (0.01, 0.05, 0.2):
        point = calibrate(scores, contamination, "validation")
        law = promised(scores, point.threshold)
        assert law is not None
        assert law.mean == pytest.approx(point.guaranteed_rate)
        assert law.limit() == pytest.approx(point.false_positive_limit)


def test_a_threshold_between_two_scores_is_taken_as_the_lower_one() -> None:
    assert promised([1.0, 2.0, 3.0], 2.5) == promised([1.0, 2.0, 3.0], 2.0) == RateLaw(2, 2)
    assert promised([1.0, 2.0, 3.0], 0.5) is None
    assert promised([], 0.5) is None


@pytest.mark.parametrize("wrong", [(3, 2, 0.0), (0, 0, 0.0), (-1, 5, 0.0), (1, 5, 1.0)])
def test_impossible_counts_are_errors(wrong: tuple[int, int, float]) -> None:
    alarms, parts, rate = wrong
    with pytest.raises(ValueError, match="alarms of"):
        chance_of_so_many(alarms, parts, RateLaw(1, 99), rate)
