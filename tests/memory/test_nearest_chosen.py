"""The rows that points are nearest to, as the search for a coreset learns them, against all distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from tests.memory.devices import DEVICES
from tests.memory.pieces import cut_into_pieces
from uad_orchestrator.memory import greedy_search, nearest_chosen
from uad_orchestrator.memory.greedy_search import greedy_coreset, greedy_order, integer_points
from uad_orchestrator.memory.nearest_chosen import KNOWN, NONE


def scattered(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, (n, 6)).astype(np.float32)


def all_distances(points: np.ndarray, order: np.ndarray) -> np.ndarray:
    whole = integer_points(points.copy())
    return np.asarray(cdist(whole, whole[np.sort(order)], "sqeuclidean"))


GRIDS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 60), st.integers(1, 3)),
    elements=st.integers(-2, 2).map(float),  # ties and duplicates everywhere
)


@given(
    GRIDS, st.integers(1, 60), st.integers(1, 9), st.integers(1, 30), st.integers(1, 5), st.integers(1, KNOWN)
)
@settings(max_examples=150)
def test_they_are_the_nearest_of_all_rows_however_the_search_is_cut_into_pieces(
    points: np.ndarray, m: int, pool: int, more: int, piece: int, k: int
) -> None:
    m = min(m, len(points))
    with cut_into_pieces(pool, more, piece) as patched:
        patched.setattr(nearest_chosen, "BLOCK", 3 * piece)
        order, nearest = greedy_coreset(points.copy(), m, 0, known=k)
        assert np.array_equal(order, greedy_order(points.copy(), m, 0))
    squared = all_distances(points, order)
    assert nearest.shape == (len(points), min(k, m)) and nearest.dtype == np.int32
    known = nearest[:, 0] != NONE
    equally_near = (squared == squared.min(axis=1, keepdims=True)).sum(axis=1)
    assert (equally_near[~known] > k).all() and (nearest[~known] == NONE).all()
    assert np.array_equal(nearest[known, 0], squared[known].argmin(axis=1)), "of equally near ones the first"
    found = np.take_along_axis(squared[known], nearest[known].astype(int), axis=1)
    assert np.array_equal(found, np.sort(squared[known], axis=1)[:, : nearest.shape[1]])


@pytest.mark.parametrize(("piece", "expected"), [(6, [0, 1, 2]), (1, [NONE] * 3)])
def test_of_many_equally_near_rows_the_first_is_taken_or_none(
    piece: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A point in the middle of six, which are compared with it at once, or one after the other."""
    monkeypatch.setattr(greedy_search, "PICKS", piece)
    monkeypatch.setattr(greedy_search, "POOL", 1)
    points = np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))]).astype(np.float32)
    for seed in range(5):
        order, nearest = greedy_coreset(points.copy(), 6, seed)
        assert sorted(order) == list(range(6))
        assert nearest[6].tolist() == expected


@pytest.mark.parametrize("device", ["cpu", *DEVICES])
@pytest.mark.parametrize("m", [2, 300, 1500])
def test_they_are_the_same_on_every_device(device: str, m: int) -> None:
    points = scattered(1, 6000)
    order, nearest = greedy_coreset(points.copy(), m, 0, device=device)
    expected = all_distances(points, order).argsort(axis=1, kind="stable")[:, :KNOWN]
    assert np.array_equal(nearest, expected)
