"""What a conformal threshold promises holds: in simulations, against counting, and against scipy's own limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, binomtest, norm

from uad_orchestrator.metrics.thresholds import at_false_positive_rate, calibrate
from uad_orchestrator.metrics.thresholds.conformal import RateLaw, conformal_rank, scores_needed

DRAWS = 20_000
GRID = [(n, c) for n in (4, 12, 19, 30, 100, 200) for c in (0.01, 0.05, 0.1, 0.3)]


@pytest.mark.parametrize(("n", "contamination"), GRID)
def test_the_guaranteed_rate_is_met_and_the_limit_covers(n: int, contamination: float) -> None:
    """Of uniform scores a threshold's false-positive rate is what is left above it."""
    scores = np.sort(np.random.default_rng(n).random((DRAWS, n)), axis=1)
    point = calibrate(scores[0], contamination, "validation")
    assert point.threshold == scores[0, point.place - 1]
    rates = 1 - scores[:, point.place - 1]
    error = rates.std() / math.sqrt(DRAWS)
    assert rates.mean() == pytest.approx(point.guaranteed_rate, abs=4 * error)
    covered = np.mean(rates <= point.false_positive_limit)
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / DRAWS))
    assert (point.guaranteed_rate <= contamination) == (n >= scores_needed(contamination))


def test_scores_that_tie_keep_what_is_promised() -> None:
    scores = np.random.default_rng(0).integers(0, 6, (DRAWS, 30))
    point = calibrate(scores[0], 0.1, "validation")
    above = (5 - np.sort(scores, axis=1)[:, point.place - 1]) / 6
    assert above.mean() < point.guaranteed_rate
    assert np.mean(above <= point.false_positive_limit) >= 0.95


SIZES = {"pairs": [2] * 20, "fives": [5] * 12, "unlike": [1, 2, 3, 8] * 6, "three cameras": [40] * 3}


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_images_of_a_group_count_as_one(sizes: list[int], alike: float) -> None:
    """Normal scores, with the correlation ``alike`` inside groups; the rate is that of an image of a new group."""
    draws = DRAWS // 4
    rng = np.random.default_rng(len(sizes))
    of_group = np.repeat(rng.standard_normal((draws, len(sizes))), sizes, axis=1)
    own = rng.standard_normal(of_group.shape)
    scores = np.sort(math.sqrt(alike) * of_group + math.sqrt(1 - alike) * own, axis=1)
    source, largest = "leave_one_group_out", max(sizes)
    for contamination in (0.05, 0.2):
        point = calibrate(scores[0], contamination, source, largest_group=largest)
        assert point.threshold == calibrate(scores[0], contamination, source).threshold
        rates = norm.sf(scores[:, point.place - 1])
        assert rates.mean() <= point.guaranteed_rate + 4 * rates.std() / math.sqrt(draws)
        assert np.mean(rates <= point.false_positive_limit) >= 0.95 - 4 * math.sqrt(0.0475 / draws)
        asked = at_false_positive_rate(scores[0], contamination, source, largest_group=largest)
        if asked.reason:
            assert len(scores[0]) < scores_needed(contamination, largest)
            continue
        assert asked.guaranteed_rate <= contamination + 1e-9
        rates = norm.sf(scores[:, asked.place - 1])
        assert rates.mean() <= contamination + 4 * rates.std() / math.sqrt(draws)


def test_images_alike_would_break_a_promise_that_counts_them_singly() -> None:
    """Why groups are counted: twelve parts seen five times each are twelve normals, not sixty."""
    parts = np.sort(np.random.default_rng(1).random((DRAWS, 12)), axis=1)
    scores = np.repeat(parts, 5, axis=1)
    point = calibrate(scores[0], 0.05, "leave_one_group_out")
    assert np.mean(1 - scores[:, point.place - 1]) > 1.3 * point.guaranteed_rate


@given(st.integers(1, 300), st.data())
def test_the_limit_is_that_of_clopper_and_pearson(n: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, n))
    expected = binomtest(n - rank, n, alternative="less").proportion_ci(0.95, "exact").high
    assert RateLaw.of_rank(rank, n).limit() == pytest.approx(expected, abs=1e-9)


@given(st.floats(0.002, 0.49), st.integers(1, 9))
def test_so_many_scores_are_needed_and_no_fewer(rate: float, group: int) -> None:
    needed = scores_needed(rate, group)
    assert conformal_rank(needed, rate, group) <= needed
    assert conformal_rank(needed - 1, rate, group) > needed - 1


@given(st.integers(1, 200), st.floats(0.01, 0.49), st.integers(1, 9))
def test_a_rank_for_groups_promises_the_rate_that_is_asked_for(n: int, rate: float, group: int) -> None:
    rank = conformal_rank(n, rate, group)
    if rank <= n:
        assert RateLaw.of_rank(rank, n, group).mean <= rate + 1e-9
        if rank > 1:
            assert RateLaw.of_rank(rank - 1, n, group).mean > rate


@given(st.floats(0.1, 50), st.floats(0.1, 300), st.integers(0, 300))
def test_the_chances_are_scipys_to_the_last_digit(above: float, below: float, new: int) -> None:
    law, counts = RateLaw(above, below), np.arange(new + 1)
    so_few = np.minimum(np.cumsum(betabinom.pmf(counts, new, above, below)), 1)
    np.testing.assert_array_equal(law.chances(new)[0], so_few)


def test_the_chances_are_those_of_all_orders() -> None:
    """Against counting: all ways to place 3 new normals among 4 calibration scores, equally likely."""
    n, new, rank = 4, 3, 3
    placements = list(itertools.combinations(range(n + new), n))
    counts = [
        sum(place > calibration[rank - 1] for place in set(range(n + new)) - set(calibration))
        for calibration in placements
    ]
    so_few, so_many = RateLaw.of_rank(rank, n).chances(new)
    for above in range(new + 1):
        assert so_few[above] == pytest.approx(np.mean([count <= above for count in counts]))
        assert so_many[above] == pytest.approx(np.mean([count >= above for count in counts]))
