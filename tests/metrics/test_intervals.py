"""Intervals solve the equations they are named after; ``test_interval_coverage`` says that they cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, t
from sklearn.metrics import roc_auc_score

from uad_orchestrator.metrics import auroc_interval, interval_of_auroc
from uad_orchestrator.metrics.intervals import (
    evenly_weighted,
    interval_of_mean_auroc,
    left_out_interval,
    mean_auroc_interval,
    rate_interval,
)

COUNTS = st.integers(1, 200)


def variance(t: float, m: float, n: float) -> float:
    """Hanley and McNeil's, with both classes as large as their mean: what Newcombe's method 5 (2006, part 2) takes."""
    each = (m + n) / 2 - 1
    two_defects, two_normals = (
        t / (2 - t),
        2 * t**2 / (1 + t),
    )  # chances that both outscore, or are outscored by, one
    return (t * (1 - t) + each * (two_defects - t**2) + each * (two_normals - t**2)) / (m * n)


@given(auroc=st.floats(0, 1), m=COUNTS, n=COUNTS, confidence=st.floats(0.5, 0.999))
def test_its_ends_lie_as_far_from_the_auroc_as_chance_takes_it(
    auroc: float, m: int, n: int, confidence: float
) -> None:
    low, high = interval_of_auroc(auroc, m, n, confidence)
    z = norm.ppf((1 + confidence) / 2)
    assert 0 <= low <= auroc <= high <= 1 and low < high
    for end in (low, high):
        if 0 < end < 1:
            assert (auroc - end) ** 2 == pytest.approx(z**2 * variance(end, m, n), rel=1e-6, abs=1e-9)
        else:
            assert end == pytest.approx(auroc, abs=1e-6)


@given(m=COUNTS, n=COUNTS, auroc=st.floats(0, 1))
def test_classes_that_change_places_mirror_it(m: int, n: int, auroc: float) -> None:
    low, high = interval_of_auroc(auroc, m, n)
    assert interval_of_auroc(1 - auroc, n, m) == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_it_takes_the_auroc_that_scikit_learn_takes_ties_too() -> None:
    rng = np.random.default_rng(1)
    normal, anomalous = rng.integers(0, 5, 30), rng.integers(2, 8, 20)
    auroc = roc_auc_score(np.repeat([0, 1], [30, 20]), np.concatenate([normal, anomalous]))
    assert auroc_interval(normal, anomalous) == pytest.approx(interval_of_auroc(auroc, 30, 20), abs=1e-9)


@pytest.mark.parametrize(
    ("normal", "anomalous", "confidence", "said"),
    [
        ([], [1.0], 0.95, "0 normal and 1 anomalous scores: an AUROC needs at least one of each"),
        ([1.0], [], 0.95, "1 normal and 0 anomalous"),
        ([np.nan], [1.0], 0.95, "needs finite scores"),
        ([0.0], [1.0], 95, "a confidence of 95: it lies between 0 and 1"),
    ],
)
def test_what_has_no_interval_is_refused(
    normal: list[float], anomalous: list[float], confidence: float, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        auroc_interval(normal, anomalous, confidence)
    for auroc, counts in ((1.1, (1, 1)), (0.5, (0, 1))):
        with pytest.raises(ValueError, match=r"lies between 0 and 1|at least one of each"):
            interval_of_auroc(auroc, *counts)


@given(auroc=st.floats(0.01, 0.99), images=st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=6))
def test_a_mean_over_categories_has_the_variance_of_a_mean(
    auroc: float, images: list[tuple[int, int]]
) -> None:
    for end in interval_of_mean_auroc(auroc, images):
        spread = sum(variance(end, m, n) for m, n in images) / len(images) ** 2
        assert (auroc - end) ** 2 == pytest.approx(norm.ppf(0.975) ** 2 * spread, rel=1e-5, abs=1e-9)


def test_of_one_category_it_is_that_of_its_auroc_and_of_none_there_is_none() -> None:
    assert interval_of_mean_auroc(0.9, [(20, 60)]) == interval_of_auroc(0.9, 20, 60)
    with pytest.raises(ValueError, match="0 normal and 0 anomalous images"):
        interval_of_mean_auroc(0.9, [])


def test_from_ten_categories_on_the_bootstrap_is_taken_unless_it_has_no_width() -> None:
    spread, none = np.linspace(0.9, 1.0, 1001), np.ones(1001)
    assert mean_auroc_interval(0.95, [(20, 20)] * 10, spread) == pytest.approx((0.9025, 0.9975))
    assert mean_auroc_interval(0.95, [(20, 20)] * 9, spread) == interval_of_mean_auroc(0.95, [(20, 20)] * 9)
    assert mean_auroc_interval(1.0, [(20, 20)] * 10, none) == interval_of_mean_auroc(1.0, [(20, 20)] * 10)
    assert mean_auroc_interval(1.0, [(20, 20)] * 10) == interval_of_mean_auroc(1.0, [(20, 20)] * 10)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=8))
def test_a_mean_over_kinds_has_the_variance_of_so_many_images_of_one(counts: list[int]) -> None:
    assert 1 / evenly_weighted(counts) == pytest.approx(np.mean([1 / n for n in counts]) / len(counts))
    assert evenly_weighted(counts) <= sum(counts) * (1 + 1e-12)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_a_rate_has_the_exact_binomial_interval(counts: tuple[int, int], confidence: float) -> None:
    expected = binomtest(*counts).proportion_ci(confidence, method="exact")
    assert rate_interval(*counts, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("above", "images"), [(0, 0), (3, 2), (-1, 4)])
def test_a_rate_is_of_some_images(above: int, images: int) -> None:
    with pytest.raises(ValueError, match=f"{above} of {images} images above a threshold"):
        rate_interval(above, images)


def test_left_out_images_give_students_interval_of_a_mean() -> None:
    """The logit of this figure is a mean of one value per image, whose interval has a name."""

    def figure(values: np.ndarray) -> float:
        return float(1 / (1 + np.exp(-values.mean())))

    values = np.random.default_rng(3).normal(1.5, 0.4, 12)
    without = np.array([figure(np.delete(values, place)) for place in range(12)])
    half = t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    expected = 1 / (1 + np.exp(-(values.mean() + half * np.array([-1, 1]))))
    assert left_out_interval(figure(values), [without]) == pytest.approx(expected, rel=1e-9)


def test_kinds_of_images_add_their_variances_with_welchs_degrees_of_freedom() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(0, 1, 8), rng.normal(0, 3, 15)
    middle = first.mean() + second.mean()
    parts = [
        1 / (1 + np.exp(-np.array([middle - one.mean() + np.delete(one, i).mean() for i in range(one.size)])))
        for one in (first, second)
    ]
    a, b = first.var(ddof=1) / 8, second.var(ddof=1) / 15
    half = t.ppf(0.975, (a + b) ** 2 / (a**2 / 7 + b**2 / 14)) * np.sqrt(a + b)
    expected = 1 / (1 + np.exp(-(middle + half * np.array([-1, 1]))))
    found = left_out_interval(float(1 / (1 + np.exp(-middle))), parts)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("figure", "left_out"),
    [
        (1.0, [[1.0, 1.0]]),
        (0.9, [[0.9, 0.9, 0.9]]),
        (0.9, [[0.8, 0.9], [0.9]]),
        (0.9, [[0.8, 1.0]]),
        (0.9, [[0.8, np.nan]]),
        (0.9, []),
    ],
)
def test_what_cannot_be_known_has_no_interval(figure: float, left_out: list[list[float]]) -> None:
    assert left_out_interval(figure, [np.array(part) for part in left_out]) is None
