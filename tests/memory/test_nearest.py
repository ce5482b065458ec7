"""Exact search against scikit-learn and brute force, with every backend there is."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.memory import nearest
from uad_orchestrator.memory.nearest import NearestNeighbors

BACKENDS = [
    "numpy",
    pytest.param(
        "faiss",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("faiss") is None, reason="extra faiss not installed"
        ),
    ),
]


def brute_force(bank: np.ndarray, queries: np.ndarray, k: int, keep: np.ndarray) -> np.ndarray:
    difference = queries[:, None].astype(np.float64) - bank[None, keep].astype(np.float64)
    return np.sort((difference**2).sum(axis=2), axis=1)[:, :k]


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30)
@given(
    rows=st.integers(1, 60),
    queries=st.integers(1, 40),
    d=st.integers(1, 24),
    k=st.integers(1, 5),
    hole=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    offset=st.sampled_from([0.0, 100.0, 1e4]),
    seed=st.integers(0, 10**6),
)
def test_agrees_with_brute_force(
    backend: nearest.Backend, rows: int, queries: int, d: int, k: int, hole: tuple, offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bank = (rng.standard_normal((rows, d)) + offset).astype(np.float32)
    asked = (rng.standard_normal((queries, d)) + offset).astype(np.float32)
    exclude = slice(*sorted(hole))
    keep = np.setdiff1d(np.arange(rows), np.arange(rows)[exclude])
    search = NearestNeighbors(bank, backend)
    if k > len(keep):
        with pytest.raises(ValueError, match="neighbours asked for"):
            search.search(asked, k, exclude)
        return
    squared, index = search.search(asked, k, exclude)
    assert np.isin(index, keep).all()
    # far from the origin the expanded square may take another of two neighbours that are nearly as near
    np.testing.assert_allclose(
        squared, brute_force(bank, asked, k, keep), rtol=1e-4, atol=1e-7 * offset**2 * d
    )
    assert (np.diff(squared, axis=1) >= 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_with_scikit_learn_on_several_blocks(
    backend: nearest.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.neighbors import NearestNeighbors as Reference

    monkeypatch.setattr(nearest, "BLOCK_VALUES", 5000)
    rng = np.random.default_rng(0)
    bank, asked = (rng.standard_normal((n, 33)).astype(np.float32) for n in (700, 90))
    distances, index = Reference(n_neighbors=4, algorithm="brute").fit(bank).kneighbors(asked)
    squared, found = NearestNeighbors(bank, backend).search(asked, 4)
    np.testing.assert_allclose(np.sqrt(squared), distances, rtol=1e-4)
    assert np.array_equal(found, index)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_is_its_own_neighbour_at_distance_zero_unless_left_out(backend: nearest.Backend) -> None:
    bank = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32) * 1e3 + 1e4
    search = NearestNeighbors(bank, backend)
    squared, index = search.search(bank[10:20])
    assert np.array_equal(index[:, 0], np.arange(10, 20))
    assert (squared == 0).all()
    squared, index = search.search(bank[10:20], 1, slice(10, 20))
    assert (squared > 0).all()
    assert not np.isin(index, np.arange(10, 20)).any()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="n > 0"):
        NearestNeighbors(np.ones((0, 3), np.float32))
    with pytest.raises(ValueError, match="dimension 3"):
        NearestNeighbors(np.ones((2, 3), np.float32)).search(np.ones((1, 4), np.float32))


def test_a_backend_that_is_missing_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install"):
        NearestNeighbors(np.ones((2, 3), np.float32), "faiss")
    assert NearestNeighbors(np.ones((2, 3), np.float32)).backend == "numpy"
