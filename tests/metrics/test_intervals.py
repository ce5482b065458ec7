"""Intervals of an image AUROC: they solve Newcombe's equation, and cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from uad_orchestrator.metrics import auroc_interval, interval_of_auroc

COUNTS = st.integers(1, 200)


def variance(t: float, m: int, n: int) -> float:
    """Newcombe 2006, part 2, method 5, as it is printed there."""
    star = (m + n) / 2 - 1
    return t * (1 - t) * (1 + star * (1 - t) / (2 - t) + star * t / (1 + t)) / (m * n)


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


@pytest.mark.parametrize("spread", [1.0, 3.0])
@pytest.mark.parametrize(
    ("m", "n", "auroc"),
    [(41, 119, 0.95), (20, 20, 0.95), (20, 60, 0.99), (8, 20, 0.97), (5, 10, 0.9), (2, 8, 0.999)],
)
def test_it_covers_as_often_as_it_says(m: int, n: int, auroc: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    apart = norm.ppf(auroc) * np.sqrt(1 + spread**2)
    draws = 1500
    inside, widths = 0, []
    for _ in range(draws):
        low, high = auroc_interval(rng.standard_normal(m), apart + spread * rng.standard_normal(n))
        inside += low <= auroc <= high
        widths.append(high - low)
    assert 0.93 <= inside / draws <= (1 if m == 2 else 0.99)
    assert min(widths) > 0


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
