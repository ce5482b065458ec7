"""The search by way of fewer dimensions against the distances to all rows, to the last digit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uad_orchestrator.memory import folded_rows, nearest
from uad_orchestrator.memory.nearest import NearestNeighbors


@pytest.fixture(autouse=True)
def _folded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "WORTH_FOLDING", 0)
    monkeypatch.setattr(nearest, "DIRECTIONS", 0)
    monkeypatch.setattr(nearest, "FEW_NEIGHBOURS", 2**40)


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many queries of each search were left to the search in all dimensions."""
    counts: list[int] = []
    search = folded_rows.FoldedRows.nearest

    def counting(self: folded_rows.FoldedRows, *given: object) -> tuple[np.ndarray, np.ndarray]:
        found = search(self, *given)  # type: ignore[arg-type]
        counts.append(len(found[1]))
        return found

    monkeypatch.setattr(folded_rows.FoldedRows, "nearest", counting)
    yield counts


def rows_like_those_of_networks(n: int, d: int, rng: np.random.Generator, decay: float = 0.7) -> np.ndarray:
    """Of which few directions hold most of the variance, turned by chance."""
    turned, _ = np.linalg.qr(rng.standard_normal((d, d)))
    return ((rng.standard_normal((n, d)) * decay ** np.arange(d)) @ turned).astype(np.float32)


def by_all_distances(
    search: NearestNeighbors, asked: np.ndarray, k: int, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return search.nearest_of(asked, np.broadcast_to(keep, (len(asked), len(keep))), k)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(40, 120),
    d=st.integers(12, 24),
    k=st.integers(1, 6),
    hole=st.tuples(st.integers(0, 120), st.integers(0, 120)),
    kind=st.sampled_from(["plain", "whole", "twins", "clusters", "flat", "outlier"]),
    width=st.sampled_from([7, 50, 2048]),
    one_of=st.sampled_from([1, 8, 32, 1000]),
    seed=st.integers(0, 10**6),
)
def test_the_same_rows_are_found_as_by_all_distances(
    rows: int, d: int, k: int, hole: tuple[int, int], kind: str, width: int, one_of: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = rows_like_those_of_networks(rows + 30, d, rng)
    if kind == "whole":  # many equally near
        points = np.rint(points * 2)
    if kind == "twins":
        points[rows // 2 : rows] = points[: rows - rows // 2]
    if kind == "clusters":  # far apart, and so close in each that products lose the differences
        points = points * np.float32(1e-3) + np.float32(100) * rng.integers(0, 3, (len(points), 1))
    if kind == "flat":  # nothing is left beside the directions
        points[:, d // 3 :] = 0
    if kind == "outlier":
        points[rng.integers(rows)] *= 1e4
    bank, asked = points[:rows], points[rows:]
    exclude = slice(*sorted(hole))
    keep = np.setdiff1d(np.arange(rows), np.arange(rows)[exclude])
    if k > len(keep):
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folded_rows, "WIDTH", width)
        patched.setattr(folded_rows, "QUERIES", 11)
        patched.setattr(folded_rows, "ONE_OF", one_of)
        patched.setattr(folded_rows, "PAIRS", 5)
        search = NearestNeighbors(bank)
        squared, index = search.search(asked, k, exclude)
        assert search._folded is not None or kind in ("whole", "outlier", "clusters")
        patched.setattr(nearest, "WORTH_FOLDING", 2**40)
        plain, _ = NearestNeighbors(bank).search(asked, k, exclude)
    expected, first = by_all_distances(search, asked, k, keep)
    assert (expected <= squared).all() and (squared <= plain).all()
    assert np.array_equal(squared, expected) or kind == "clusters", "products do not tell such rows apart"
    if (
        one_of == 1000
    ):  # what rounded products of many equally near rows prefer is only seen where too many remain
        return
    assert np.array_equal(index, first) or kind in ("whole", "twins", "clusters")


def test_where_products_do_not_tell_rows_apart_the_search_in_all_dimensions_is_asked(
    unknown: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clusters of long rows; in each the nearest is nearer than products of their lengths are rounded to."""
    rng = np.random.default_rng(0)
    bank = rows_like_those_of_networks(600, 64, rng) * np.float32(0.01)
    bank[::2] += np.float32(30)
    bank[1::2] -= np.float32(30)
    asked = bank[rng.permutation(600)[:200]] + np.float32(1e-4) * rng.standard_normal((200, 64)).astype("f4")
    search = NearestNeighbors(bank)
    squared, index = search.search(asked, 1)
    assert unknown == [200], "all are left to the search in all dimensions"
    monkeypatch.setattr(nearest, "WORTH_FOLDING", 2**40)
    plain = NearestNeighbors(bank).search(asked, 1)
    assert np.array_equal(squared, plain[0]) and np.array_equal(index, plain[1])


def test_patches_far_from_all_rows_are_compared_with_all(unknown: list[int]) -> None:
    rng = np.random.default_rng(1)
    points = rows_like_those_of_networks(2200, 64, rng, decay=0.95)
    bank, asked = points[:2000], points[2000:]
    asked[50:70] = 20 * rng.standard_normal((20, 64))  # most of it beside the directions
    search = NearestNeighbors(bank)
    found = search.search(asked, 1)
    assert 10 <= unknown[0] <= 30
    squared, index = by_all_distances(search, asked, 1, np.arange(2000))
    assert np.array_equal(found[0], squared) and np.array_equal(found[1], index)


def test_few_rows_are_measured_in_all_dimensions(unknown: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    points = rows_like_those_of_networks(3200, 96, np.random.default_rng(2), decay=0.9)
    search = NearestNeighbors(points[:3000])
    measured: list[int] = []
    measure = search._squared

    def counting(asked: np.ndarray, index: np.ndarray) -> np.ndarray:
        measured.append(index.size)
        return measure(asked, index)

    monkeypatch.setattr(search, "_squared", counting)
    search.search(points[3000:])
    assert unknown == [0]
    assert sum(measured) < 0.02 * 3000 * 200


def test_what_cannot_be_folded_is_searched_as_it_is() -> None:
    rng = np.random.default_rng(3)
    alike, missing = rng.standard_normal((300, 24)).astype(np.float32), rng.standard_normal((300, 24))
    missing[7, 3] = np.nan
    for bank in (alike, missing.astype(np.float32), np.zeros((300, 24), np.float32)):
        search = NearestNeighbors(bank)
        search.search(alike)
        assert search._folded is None
    search = NearestNeighbors(alike)
    assert np.array_equal(search.search(alike)[1][:, 0], np.arange(300))


def plain_search(search: NearestNeighbors) -> NearestNeighbors:
    plain = NearestNeighbors(search.bank)
    plain._tried_to_fold = True
    return plain


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 1.5e19])
@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.parametrize("place", [0, -1])
def test_queries_that_have_no_distances_are_answered_as_without_folding(
    place: int, k: int, value: float
) -> None:
    points = rows_like_those_of_networks(330, 24, np.random.default_rng(5))
    bank, asked = points[:300], points[300:]
    asked[place, 3] = value
    search = NearestNeighbors(bank)
    squared, index = search.search(asked, k)
    assert search._folded is not None
    expected, first = plain_search(search).search(asked, k)
    if value == 1.5e19:
        assert (expected[place] == expected[place, 0]).all(), "to float32 all rows are equally far"
        first[place] = np.arange(k)
    assert np.array_equal(squared, expected, equal_nan=True) and np.array_equal(index, first)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_a_bank_with_a_row_that_has_no_distances_is_not_folded(value: float) -> None:
    points = rows_like_those_of_networks(4230, 24, np.random.default_rng(6))
    points[1, 3] = value  # of every second row the directions are taken
    search = NearestNeighbors(points[:4200])
    squared, _ = search.search(points[4200:])
    assert search._folded is None and np.isfinite(squared).all()


def test_no_queries_have_no_neighbours() -> None:
    points = rows_like_those_of_networks(300, 24, np.random.default_rng(7))
    search = NearestNeighbors(points)
    assert search.search(points[:20])[1].shape == (20, 1) and search._folded is not None
    assert search.search(points[:0], 2)[1].shape == (0, 2)
    assert search.search_each(points[:5], [(5, None), (0, slice(0, 3))], 2)[1].shape == (5, 2)


def test_distances_of_which_float32_has_few_digits_are_compared_in_all_dimensions() -> None:
    for seed in range(20):
        points = rows_like_those_of_networks(330, 24, np.random.default_rng(seed)) * np.float32(1e-22)
        search = NearestNeighbors(points[:300])
        squared, _ = search.search(points[300:], 2)
        assert search._folded is not None
        assert (squared <= plain_search(search).search(points[300:], 2)[0]).all()


def test_a_bank_is_folded_once_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = rows_like_those_of_networks(400, 24, np.random.default_rng(4))
    monkeypatch.setattr(nearest, "DIRECTIONS", 5)
    search = NearestNeighbors(bank)
    pays = (5 * 24**3 + 400 * 24 * 12) // (400 * 24)
    for queries, folded in ((pays - 10, False), (8, False), (8, True), (1, True)):
        search.search(bank[:queries])
        assert (search._folded is not None) is folded
    monkeypatch.setattr(nearest, "FEW_NEIGHBOURS", 2)
    many = NearestNeighbors(bank)
    many.search(bank, 3)
    assert many._folded is None
    many.search(bank, 2)
    assert many._folded is not None
    monkeypatch.setattr(nearest, "WORTH_FOLDING", 400 * 24 + 1)
    small = NearestNeighbors(bank)
    small.search(bank)
    assert small._folded is None
