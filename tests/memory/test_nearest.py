"""Exact search against scikit-learn and brute force, with every backend there is."""

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from uad_orchestrator.memory import largest_products, nearest
from uad_orchestrator.memory.nearest import NearestNeighbors

BACKENDS = [
    "numpy",
    *(
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(name) is None, reason=f"extra {name} not installed"
            ),
        )
        for name in ("torch", "faiss")
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

    monkeypatch.setattr(largest_products, "BLOCK_VALUES", 5000)
    monkeypatch.setattr(largest_products, "QUERIES", 40)
    monkeypatch.setattr(nearest, "DIFFERENCE_VALUES", 500)
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
    assert NearestNeighbors(np.ones((2, 3), np.float32)).search(np.ones((1, 3)))[0].tolist() == [[0.0]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_columns_far_apart_do_not_blur_the_search(backend: nearest.Backend) -> None:
    """Each column is taken from its own median: else the expanded square would lose the small differences."""
    rng = np.random.default_rng(4)
    offsets = np.float32([0, 3e3, -3e3, 1e4])
    bank, asked = (rng.standard_normal((n, 4)).astype(np.float32) + offsets for n in (300, 50))
    squared, index = NearestNeighbors(bank, backend).search(asked, 2)
    difference = asked[:, None].astype(np.float64) - bank[None].astype(np.float64)
    expected = (difference**2).sum(axis=2)
    assert np.array_equal(index, np.argsort(expected, axis=1)[:, :2])
    np.testing.assert_allclose(squared, np.sort(expected, axis=1)[:, :2], rtol=1e-2)


def test_whatever_comes_in_float32_and_whole_numbers_go_out() -> None:
    bank = np.asfortranarray(np.random.default_rng(0).standard_normal((9, 3)))
    search = NearestNeighbors(bank)
    assert search.bank.dtype == np.float32 and search.bank.flags.c_contiguous
    squared, index = search.search(bank[:4].tolist(), 2)  # type: ignore[arg-type]
    assert (squared.dtype, index.dtype) == (np.float32, np.int64)
    given = bank.astype(np.float32, order="C")
    assert NearestNeighbors(given).bank is given, "a bank is not copied without need"


def test_numpy_searches_where_faiss_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    monkeypatch.setitem(sys.modules, "faiss", None)  # importing it fails
    _, index = NearestNeighbors(bank, "numpy").search(bank, 1)
    assert np.array_equal(index[:, 0], np.arange(30))


def test_faiss_searches_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = pytest.importorskip("faiss", reason="extra faiss not installed")
    asked: list[int] = []
    search = faiss.knn
    monkeypatch.setattr(faiss, "knn", lambda *given: asked.append(1) or search(*given))
    bank = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    for backend, searches in (("auto", 0), ("faiss", 1), ("numpy", 1)):
        NearestNeighbors(bank, backend).search(bank)  # type: ignore[arg-type]
        assert len(asked) == searches


def test_more_neighbours_than_rows_left_says_how_many_there_are() -> None:
    search = NearestNeighbors(np.eye(8, dtype=np.float32))
    assert search.search(np.eye(8, dtype=np.float32), 3, slice(2, 7))[1].shape == (8, 3)
    for k in (0, 4, 9):
        with pytest.raises(
            ValueError, match=f"{k} neighbours asked for, but 3 of the bank's 8 rows are searched"
        ):
            search.search(np.eye(8, dtype=np.float32), k, slice(2, 7))


def test_torch_multiplies_where_it_is_loaded_and_the_search_is_not_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch", reason="extra torch not installed")
    multiplied: list[str] = []
    for name in ("torch", "numpy"):
        multiply = getattr(nearest, f"multiply_with_{name}")

        def counting(*given: np.ndarray, name: str = name, multiply: Any = multiply) -> None:
            multiplied.append(name)
            multiply(*given)

        monkeypatch.setattr(nearest, f"multiply_with_{name}", counting)
    bank = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    NearestNeighbors(bank).search(bank)
    assert multiplied == ["numpy"], "small"
    monkeypatch.setattr(nearest, "SMALL", 200 * 200 * 64 - 1)
    NearestNeighbors(bank).search(bank)
    assert multiplied == ["numpy", "torch"]
    monkeypatch.delitem(sys.modules, "torch")
    NearestNeighbors(bank).search(bank)
    assert multiplied == ["numpy", "torch", "numpy"]


def test_a_search_loads_neither_torch_nor_faiss() -> None:
    script = (
        "import sys, numpy as np; from uad_orchestrator.memory import NearestNeighbors, coverage, select_coreset;"
        "x = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32);"
        "NearestNeighbors(x).search(x, 2); coverage(x, x[select_coreset(x, 0.1)]);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'faiss')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_give_the_same_distances_to_the_last_digit(backend: nearest.Backend) -> None:
    rng = np.random.default_rng(1)
    bank, asked = (rng.standard_normal((n, 100)).astype(np.float32) for n in (2000, 600))
    expected = NearestNeighbors(bank, "numpy").search(asked, 5, slice(100, 300))
    found = NearestNeighbors(bank, backend).search(asked, 5, slice(100, 300))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@given(
    values=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 5), st.integers(1, 400)), elements=st.integers(-9, 9)
    ),
    k=st.integers(1, 12),
    few=st.integers(0, 30),
)
def test_the_largest_are_found_in_groups(values: np.ndarray, k: int, few: int) -> None:
    k = min(k, values.shape[1])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(largest_products, "FEW_COLUMNS", few)
        columns, found = largest_products.largest(values.copy(), k)
    assert columns.shape == (len(values), k)
    assert all(len(set(row)) == k for row in columns.tolist())
    assert np.array_equal(np.take_along_axis(values, columns, axis=1), found)
    assert np.array_equal(np.sort(found, axis=1)[:, ::-1], np.sort(values, axis=1)[:, ::-1][:, :k])


def searching(bank: np.ndarray, how: Any) -> NearestNeighbors:
    if how != "a device":
        return NearestNeighbors(bank, how)
    pytest.importorskip("torch", reason="extra torch not installed")
    return NearestNeighbors(bank, device="cpu:0")


@pytest.mark.parametrize("how", [*BACKENDS, "a device"])
@pytest.mark.parametrize("k", [1, 6])
def test_of_rows_equally_near_the_first_is_taken(how: Any, k: int) -> None:
    """Whatever multiplies, and wherever the second lies."""
    bank = np.random.default_rng(2).standard_normal((400, 30)).astype(np.float32)
    bank[200:] = bank[:200]
    search, asked = searching(bank, how), bank[:200] + np.float32(0.01)
    squared, index = search.search(asked, k)
    assert np.array_equal(index[:, 0], np.arange(200))
    ties = squared[:, 1:] == squared[:, :-1]
    assert ties.any() == (k > 1) and (index[:, 1:] > index[:, :-1])[ties].all()
    assert np.array_equal(search.search(asked, 1, slice(0, 50))[1][:50, 0], np.arange(200, 250))


@pytest.mark.parametrize("how", [*BACKENDS, "a device"])
def test_rounded_products_do_not_decide_between_two(how: Any) -> None:
    """Each row has a twin 1e-3 away, and squares of 10,000 are rounded to as much."""
    bank = np.random.default_rng(3).standard_normal((300, 20)).astype(np.float32) * 25
    bank = np.concatenate([bank, bank + np.float32(2e-4)])
    squared, index = searching(bank, how).search(bank)
    assert np.array_equal(index[:, 0], np.arange(600)) and not squared.any()


def test_of_many_rows_equally_near_the_first_are_named() -> None:
    """Up to four: then no row more than those asked for, and a spare one, is looked for in another way."""
    bank = np.ones((1000, 8), np.float32)
    for k in (1, 3, 4):
        squared, index = NearestNeighbors(bank).search(bank[:3], k)
        assert not squared.any() and (index == np.arange(k)).all()
