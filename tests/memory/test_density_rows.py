"""The density coreset: drawn as its definition says, rare kinds kept, common ones thinned."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from threadpoolctl import threadpool_limits

from uad_orchestrator.memory import coreset
from uad_orchestrator.memory.coreset import coverage, density_rows, select_coreset

SIX = np.array([[0, 0], [1, 0], [0, 2], [4, 4], [-3, 1], [9, 0]], np.float32)


def exact_distribution(points: np.ndarray, m: int, measure: int) -> dict[tuple[int, ...], float]:
    """The probability of every set of ``m`` rows, enumerated.

    ``measure`` rows are drawn evenly; the others one after the other, in proportion to their squared distance to
    the nearest of these.
    """
    n = len(points)
    squared = ((points[:, None].astype(float) - points[None]) ** 2).sum(axis=2)
    firsts = list(itertools.combinations(range(n), measure))
    found: Counter[tuple[int, ...]] = Counter()
    for first in firsts:
        weights = squared[:, first].min(axis=1)
        for others in itertools.permutations(set(range(n)) - set(first), m - measure):
            probability, left = 1 / len(firsts), weights.sum()
            for row in others:
                probability *= weights[row] / left
                left -= weights[row]
            found[tuple(sorted(first + others))] += probability
    return found


@pytest.mark.parametrize(
    ("m", "references", "measure"),
    [(1, 4096, 1), (2, 4096, 1), (3, 4096, 1), (4, 4096, 2), (4, 1, 1), (5, 4096, 2)],
)
def test_every_set_of_rows_is_as_likely_as_the_definition_says(
    m: int, references: int, measure: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coreset, "REFERENCES", references)
    expected = exact_distribution(SIX, m, measure)
    assert sum(expected.values()) == pytest.approx(1)
    draws = 2000
    density_rows(SIX, m, 0)  # loads the search's library, whose threads are limited below
    with threadpool_limits(1):  # a team of threads costs more than six points
        seen = Counter(tuple(density_rows(SIX, m, seed).tolist()) for seed in range(draws))
    assert set(seen) <= set(expected)
    often = [rows for rows, probability in expected.items() if probability * draws >= 5]
    rest = draws - sum(seen[rows] for rows in often)
    counts = [*(seen[rows] for rows in often), rest]
    wanted = np.array([*(expected[rows] for rows in often), 0.0]) * draws
    wanted[-1] = draws - wanted.sum()
    if wanted[-1] < 1:  # nothing but the often ones: no cell of its own
        counts, wanted = counts[:-1], wanted[:-1] * sum(counts[:-1]) / wanted[:-1].sum()
    assert chisquare(counts, wanted).pvalue > 1e-3


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 10**6))
def test_rows_are_distinct_ascending_and_repeatable(n: int, m: int, seed: int) -> None:
    points = np.random.default_rng(seed).integers(-2, 3, (n, 2)).astype(np.float32)  # with many duplicates
    before = points.copy()
    rows = density_rows(points, m, seed)
    assert len(rows) == min(n, m)
    assert (np.diff(rows) > 0).all() and rows.min() >= 0 and rows.max() < n
    assert np.array_equal(rows, density_rows(points, m, seed))
    assert np.array_equal(points, before)
    if m >= n:
        assert np.array_equal(rows, np.arange(n))


def test_what_recurs_is_thinned_and_what_is_rare_stays() -> None:
    """A copy of a row of the measure is drawn only when nothing else is left."""
    rng = np.random.default_rng(0)
    rare = rng.standard_normal((20, 6)).astype(np.float32) * 5
    points = np.concatenate([np.repeat(np.float32([[1, 2, 3, 4, 5, 6]]), 4000, axis=0), rare])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a distance of zero is no reason to warn
        rows = select_coreset(points, 44 / len(points), "density", seed=3)
    assert len(rows) == 44
    assert np.isin(np.arange(4000, 4020), rows).all()
    assert not np.isin(
        np.arange(4000, 4020), select_coreset(points, 44 / len(points), "random", seed=3)
    ).all()


def tail_gap(embeddings: np.ndarray, rows: np.ndarray) -> float:
    return coverage(embeddings, embeddings[rows])["max"]


def test_it_covers_the_tail_better_than_an_even_draw() -> None:
    rng = np.random.default_rng(1)
    crowd, tail = rng.standard_normal((5000, 8)), rng.standard_normal((40, 8)) * 12
    embeddings = np.concatenate([crowd, tail]).astype(np.float32)
    by_density, even = (
        np.mean([tail_gap(embeddings, select_coreset(embeddings, 0.04, name, seed)) for seed in range(5)])
        for name in ("density", "random")
    )
    assert by_density < 0.75 * even


def test_distances_are_those_of_the_projection_and_another_seed_is_another_draw() -> None:
    embeddings = np.random.default_rng(2).standard_normal((300, 200)).astype(np.float32)
    projected = coreset.project(embeddings, coreset.random_projection(200, 16, 5))
    rows = select_coreset(embeddings, 0.1, "density", 5, projection_dim=16)
    assert np.array_equal(rows, density_rows(projected, 30, 5))
    assert not np.array_equal(rows, select_coreset(embeddings, 0.1, "density", 6, projection_dim=16))
