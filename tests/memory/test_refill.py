"""What takes the place of rows that went, against the plain search and the draw's definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from tests.memory.devices import DEVICES
from uad_orchestrator.memory import refill
from uad_orchestrator.memory.coreset import density_draws, density_measure, density_rows
from uad_orchestrator.memory.greedy_search import greedy_coreset, greedy_order, integer_points
from uad_orchestrator.memory.refill import density_without, greedy_without

PARTS = [slice(0, 50), slice(50, 80), slice(80, 200)]


def scattered(seed: int, n: int = 200) -> np.ndarray:
    """No two points alike, some far out."""
    return (np.random.default_rng(seed).standard_t(4, (n, 5)) * 10).astype(np.float32)


def thinned(points: np.ndarray, m: int) -> np.ndarray:
    return np.sort(greedy_order(points.copy(), m, seed=0))


def test_turns_that_are_known_are_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    points = scattered(5)
    order = greedy_order(points.copy(), 60, seed=0)
    turns = np.argsort(order)
    expected = list(greedy_without(integer_points(points.copy()), order[turns], PARTS, 0))
    monkeypatch.setattr(refill, "order_of_choice", None)
    found = list(greedy_without(integer_points(points.copy()), order[turns], PARTS, 0, turns=turns))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    other = list(greedy_without(integer_points(points.copy()), order[turns], PARTS, 0, turns=turns[::-1]))
    assert not all(np.array_equal(a, b) for a, b in zip(other, expected, strict=True))


def test_nearest_rows_that_are_known_are_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    points, parts = scattered(6), [slice(at, at + 10) for at in range(0, 200, 10)]
    order, nearest = greedy_coreset(points.copy(), 60, seed=0)
    chosen = np.sort(order)

    def banks(nearest: np.ndarray | None) -> list[np.ndarray]:
        return list(greedy_without(integer_points(points.copy()), chosen, parts, 0, nearest=nearest))

    expected, some = banks(None), nearest.copy()
    some[::3] = -1
    assert all(map(np.array_equal, banks(some), expected))
    assert not all(map(np.array_equal, banks(np.where(some < 0, 59, some)), expected))
    monkeypatch.setattr(refill, "_found", None)
    assert all(map(np.array_equal, banks(nearest), expected))


@pytest.mark.parametrize("neighbours", [0, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_search_goes_on_as_the_plain_one_would(
    seed: int, neighbours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        refill, "BESIDE", len(scattered(seed))
    )  # every patch beside the hole is looked at, too
    monkeypatch.setattr(refill, "NEIGHBOURS", neighbours)
    points, chosen = scattered(seed), thinned(scattered(seed), 60)
    turn = {int(row): i for i, row in enumerate(greedy_order(points.copy(), 60, seed=0))}
    squared = cdist(whole := integer_points(points.copy()), whole, "sqeuclidean")
    for part, found in zip(
        PARTS, greedy_without(integer_points(points.copy()), chosen, PARTS, 0), strict=True
    ):
        own = np.isin(np.arange(len(points)), np.arange(part.start, part.stop))
        others = chosen[~own[chosen]]
        beside = {
            int(row)
            for at in chosen[own[chosen]]
            for row in others[squared[at, others].argsort()[:neighbours]]
            if turn[int(row)] > turn[int(at)]
        }
        if len(beside) == len(others):
            beside = set()  # some rows stay
        bank = [row for row in others if row not in beside]
        while len(bank) < len(chosen):
            distances = np.where(own, -1, squared[:, bank].min(axis=1))
            bank.append(int(distances.argmax()))
        assert sorted(bank) == found.tolist()


def test_what_was_chosen_before_a_row_of_the_image_stays() -> None:
    """And without the last row alone the coreset is to the row what the plain search finds."""
    points, last = scattered(4), 59
    order = greedy_order(points.copy(), last + 1, seed=0)
    parts = [slice(int(row), int(row) + 1) for row in order]
    for at, found in enumerate(greedy_without(integer_points(points.copy()), np.sort(order), parts, 0)):
        assert np.isin(order[:at], found).all()
    whole = integer_points(points.copy())
    distances = cdist(whole, whole[order[:last]], "sqeuclidean").min(axis=1)
    distances[order[last]] = -1
    assert found.tolist() == sorted([*order[:last], distances.argmax()])


GRIDS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(8, 60), st.integers(1, 3)),
    elements=st.integers(-3, 3).map(float),  # ties and duplicates everywhere
)


@given(GRIDS, st.integers(2, 60), st.data())
@settings(max_examples=60)
def test_only_patches_of_others_and_no_more_than_before(
    points: np.ndarray, m: int, data: st.DataObject
) -> None:
    chosen = thinned(points, min(m, len(points)))
    edges = sorted(data.draw(st.sets(st.integers(1, len(points) - 1), min_size=1, max_size=3)))
    parts = [slice(a, b) for a, b in zip([0, *edges], [*edges, len(points)], strict=True)]
    own = [(chosen >= part.start) & (chosen < part.stop) for part in parts]
    parts = [part for part, rows in zip(parts, own, strict=True) if not rows.all()]
    greedy = list(greedy_without(integer_points(points.copy()), chosen, parts, 0))
    drawn = list(density_without(points, chosen, parts, seed=0))
    for part, *found in zip(parts, greedy, drawn, strict=True):
        for rows in found:
            assert np.all(np.diff(rows) > 0)
            assert not ((rows >= part.start) & (rows < part.stop)).any()
            assert len(rows) <= len(chosen)


@pytest.mark.parametrize("device", DEVICES)
def test_the_refills_depend_neither_on_the_device_nor_on_threads(device: str) -> None:
    points, chosen = scattered(7, 3000), thinned(scattered(7, 3000), 300)
    parts = [slice(at, at + 300) for at in range(0, 3000, 300)]
    expected = None
    for threads in (1, 2):
        with threadpool_limits(threads):
            found = [
                *greedy_without(integer_points(points.copy()), chosen, parts, 0, device=device),
                *density_without(points, chosen, parts, 0, device=device),
            ]
        expected = expected or found
        assert all(map(np.array_equal, found, expected))
    here = [
        *greedy_without(integer_points(points.copy()), chosen, parts, 0),
        *density_without(points, chosen, parts, 0),
    ]
    assert all(map(np.array_equal, here, expected or []))


def test_the_draw_goes_on_with_the_measure_that_is_left() -> None:
    points, m = scattered(3), 40
    chosen, measure, draws = density_rows(points, m, 0), density_measure(200, m, 0), density_draws(200, 0)
    for part, found in zip(PARTS, density_without(points, chosen, PARTS, 0), strict=True):
        own = np.isin(np.arange(200), np.arange(part.start, part.stop))
        with np.errstate(divide="ignore"):  # from itself a row of the measure is nothing away
            keys = draws / cdist(points, points[measure[~own[measure]]], "sqeuclidean").min(axis=1)
        keys[own | np.isin(np.arange(200), chosen)] = np.inf
        drawn = np.argsort(keys)[: own[chosen].sum()]
        assert found.tolist() == sorted({*chosen[~own[chosen]], *drawn})


def test_a_measure_that_went_altogether_counts_all_patches_alike() -> None:
    points = scattered(5, 20)
    chosen = density_rows(points, 2, 0)
    (first,) = density_measure(20, 2, 0)
    part = slice(int(first), int(first) + 1)
    (found,) = density_without(points, chosen, [part], 0)
    draws = density_draws(20, 0)
    draws[chosen] = np.inf
    assert found.tolist() == sorted({int(draws.argmin()), *chosen[chosen != first]})
