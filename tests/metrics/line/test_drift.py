"""Distances are SciPy's, the p-value is never smaller than the exact one, and odd input is refused or bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, wasserstein_distance

from uad_orchestrator.metrics.line.drift import FURTHEST, _chance, independent, shift_of

values = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40)


@given(parts=values, normals=values)
def test_any_two_samples_are_compared(parts: list[float], normals: list[float]) -> None:
    found = shift_of(parts, normals)
    assert found.ks == pytest.approx(ks_2samp(parts, normals, method="exact").statistic)
    assert 0 <= found.p <= 1
    assert 0 <= found.wasserstein <= 2 * FURTHEST
    assert (found.parts, found.normals) == (len(parts), len(normals))
    assert 1 <= found.independent_parts <= len(parts)


@pytest.mark.parametrize("normals", [8, 20, 60, 300])
@pytest.mark.parametrize("parts", [50, 400, 3000])
@pytest.mark.parametrize("moved", [0.3, 0.6, 1.0])
def test_the_p_value_is_that_of_the_exact_test_or_larger(normals: int, parts: int, moved: float) -> None:
    rng = np.random.default_rng(normals + parts)
    known, seen = rng.standard_normal(normals), rng.standard_normal(parts) + moved
    exact = ks_2samp(seen, known, method="exact").pvalue
    found = shift_of(seen, known)
    if exact > 1e-10:  # beyond, both are nothing
        assert exact * 0.9 <= found.p <= exact * 4 + 0.02


@pytest.mark.parametrize("normals", [1, 2, 3, 5, 8, 24])
@pytest.mark.parametrize("parts", [50, 333])
def test_of_few_normals_it_is_exact_however_far_apart_they_are(normals: int, parts: int) -> None:
    rng = np.random.default_rng(normals + parts)
    for moved in (0.0, 0.5, 1.5, 4.0, 50.0):
        known, seen = rng.standard_normal(normals), rng.permutation(np.linspace(-2, 2, parts)) + moved
        exact = ks_2samp(seen, known, method="exact").pvalue
        assert _chance(shift_of(seen, known).ks, normals, parts) == pytest.approx(exact, rel=1e-6, abs=1e-14)
    assert shift_of(seen, known).p > 0 and shift_of(seen, known).ks == 1


def test_the_distance_is_in_spreads_of_the_normals() -> None:
    rng = np.random.default_rng(0)
    known = 100 + 4 * rng.standard_normal(20_000)
    found = shift_of(known + 6, known)
    assert found.spread == pytest.approx(4, rel=0.02)
    assert found.wasserstein == pytest.approx(1.5, rel=0.02)
    clipped = np.clip((known - np.median(known)) / found.spread, -FURTHEST, FURTHEST)
    moved = np.clip((known + 6 - np.median(known)) / found.spread, -FURTHEST, FURTHEST)
    assert found.wasserstein == pytest.approx(wasserstein_distance(moved, clipped))
    assert found.median - found.normal_median == pytest.approx(6)


def test_a_few_defects_are_no_drift() -> None:
    rng = np.random.default_rng(1)
    known, seen = rng.standard_normal(100), rng.standard_normal(1000)
    seen[:20] = 1e9
    found = shift_of(seen, known)
    assert found.wasserstein < 0.5 and found.p > 0.001


def test_normals_that_are_all_alike_have_the_least_spread() -> None:
    found = shift_of([0.501] * 100, [0.5] * 30, least_spread=0.01)
    assert found.ks == 1 and found.wasserstein == pytest.approx(0.1)
    assert shift_of([0.5] * 100, [0.5] * 30).wasserstein == 0
    assert shift_of([0.6] * 100, [0.5] * 30).wasserstein == FURTHEST, (
        "without a least spread any difference counts"
    )


def test_parts_that_resemble_the_one_before_count_as_fewer() -> None:
    rng = np.random.default_rng(2)
    fresh = rng.standard_normal(4000)
    assert independent(fresh) > 0.9 * fresh.size
    slow = fresh.copy()
    for place in range(1, slow.size):
        slow[place] = 0.9 * slow[place - 1] + 0.19**0.5 * fresh[place]
    assert 0.035 < independent(slow) / slow.size < 0.09  # (1 - 0.9) / (1 + 0.9) = 0.053
    assert independent([1.0]) == 1 and independent([2.0] * 7) == 7
    rng.shuffle(slow)
    assert independent(slow) > 0.9 * slow.size


def test_what_few_normals_can_show_at_all() -> None:
    few, many = (shift_of(np.arange(1000) * 7 % 1000, np.arange(n)) for n in (5, 200))
    assert many.needed(1e-3) < few.needed(1e-3) <= 1
    rng = np.random.default_rng(3)
    parts, normals = rng.standard_normal(500), rng.standard_normal(50)
    found = shift_of(parts + 2, normals)
    assert (found.p <= 1e-3) == (found.ks >= found.needed(1e-3))


@pytest.mark.parametrize(
    ("parts", "normals"), [([], [1.0]), ([1.0], []), ([float("nan")], [1.0]), ([1.0], [float("inf")])]
)
def test_nothing_to_compare_is_an_error(parts: list[float], normals: list[float]) -> None:
    with pytest.raises(ValueError, match=r"parts and .* normals"):
        shift_of(parts, normals)
