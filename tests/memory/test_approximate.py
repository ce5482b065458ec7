"""The approximate search: the same neighbours where it may be used, and refused where it may not."""

import sys

import numpy as np
import pytest

from uad_orchestrator.memory import approximate
from uad_orchestrator.memory.approximate import ApproximateNeighbors, choose_index, train_cells
from uad_orchestrator.memory.nearest import NearestNeighbors

pytest.importorskip("faiss", reason="extra faiss not installed")


def clusters(seed: int, n: int = 1200) -> np.ndarray:
    """Rows of 30 separate kinds, some kinds spread wider than others."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((30, 6)) * 20 + 100
    kind = rng.integers(0, 30, n)
    return (centres[kind] + rng.standard_normal((n, 6)) * (0.2 + kind[:, None] / 20)).astype(np.float32)


def test_it_finds_the_neighbours_of_clustered_rows_and_their_exact_distances() -> None:
    bank, asked = clusters(0), clusters(1, 200)
    exact, search = NearestNeighbors(bank), ApproximateNeighbors(bank, train_cells(bank, 0))
    (squared, index), (found, at) = exact.search(asked, 3), search.search(asked, 3)
    same = (index == at).all(axis=1)
    assert same.mean() > 0.95
    np.testing.assert_allclose(found[same], squared[same], rtol=1e-6)
    difference = asked[:, None] - bank[at]
    np.testing.assert_allclose(found, (difference**2).sum(axis=2), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hole", [slice(0, 700), slice(300, 900), slice(800, 1200), slice(5, 5)])
def test_rows_left_out_are_never_found(hole: slice) -> None:
    bank = clusters(0)
    search = ApproximateNeighbors(bank, train_cells(bank, 0))
    squared, at = search.search(bank[hole.start : hole.start + 50], 2, hole)
    assert not np.isin(at, np.arange(len(bank))[hole]).any()
    exact, _ = NearestNeighbors(bank).search(bank[hole.start : hole.start + 50], 2, hole)
    assert (squared >= exact * (1 - 1e-4)).all()


def test_where_the_cells_hold_too_few_rows_all_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "PROBES", 1)
    bank = clusters(0, 300)
    search = ApproximateNeighbors(bank, train_cells(bank, 0))
    asked = clusters(1, 20)
    squared, _ = search.search(asked, 250)
    np.testing.assert_allclose(squared, NearestNeighbors(bank).search(asked, 250)[0], rtol=1e-4)


def test_the_same_cells_again_and_after_loading() -> None:
    bank = clusters(0)
    cells = train_cells(bank, 3)
    assert np.array_equal(cells, train_cells(bank, 3))
    assert not np.array_equal(cells, train_cells(bank, 4))
    one, two = (ApproximateNeighbors(bank, cells.copy()).search(clusters(1, 50), 2) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def held_out(bank: np.ndarray, min_rows: int = 100) -> tuple[np.ndarray | None, dict]:
    starts = np.linspace(0, len(bank), 11).astype(int)
    own = np.repeat(np.arange(10), np.diff(starts))
    return choose_index(bank, starts, bank[::5], own[::5], min_rows, 0)


def test_it_is_taken_only_above_the_rows_and_with_the_correlation_measured() -> None:
    bank = clusters(0)
    cells, facts = held_out(bank)
    assert cells is not None and facts["used"] == "ivf"
    assert facts["correlation"] > 0.999 and facts["measured_on"] == 240
    cells, facts = held_out(bank, min_rows=len(bank))
    assert cells is None and facts["used"] == "flat" and "min_rows" in facts["reason"]


def test_an_index_whose_scores_are_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "PROBES", 1)
    bank = np.random.default_rng(0).standard_normal((1200, 32)).astype(np.float32)  # no cells to speak of
    cells, facts = held_out(bank)
    assert cells is None and facts["used"] == "flat"
    assert facts["correlation"] < 0.999 and f"{facts['correlation']:.5f}" in facts["reason"]


def test_nothing_to_measure_on() -> None:
    bank = clusters(0)
    cells, facts = choose_index(bank, np.array([0, len(bank)]), bank[:50], np.zeros(50, int), 10, 0)
    assert cells is None and "no patches" in facts["reason"]


def test_two_patches_are_enough_to_measure_on_and_one_is_not() -> None:
    bank = clusters(0)
    starts, own = np.array([0, 600, len(bank)]), np.array([0, 1])
    _, facts = choose_index(bank, starts, bank[[0, 600]], own, 10, 0)
    assert facts["measured_on"] == 2 and abs(facts["correlation"]) == pytest.approx(1)
    _, facts = choose_index(bank, starts, bank[:1], own[:1], 10, 0)
    assert "no patches" in facts["reason"]


def test_a_query_is_compared_with_a_few_rows_only() -> None:
    import faiss

    bank = clusters(0, 4000)
    cells = train_cells(bank, 0)
    assert 0.7 < len(cells) / np.sqrt(len(bank)) < 1.42 and cells.dtype == np.float32
    search = ApproximateNeighbors(bank, cells)
    faiss.cvar.indexIVF_stats.reset()
    search.search(clusters(1, 500), 1)
    compared = faiss.cvar.indexIVF_stats.ndis / 500
    assert approximate.PROBES <= compared < len(bank) * 2 * approximate.PROBES / len(cells)


def test_too_few_rows_around_a_hole_are_searched_on_both_sides_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "PROBES", 1)
    bank, hole = clusters(0, 300), slice(120, 180)
    search = ApproximateNeighbors(bank, train_cells(bank, 0))
    asked = clusters(1, 20)
    squared, at = search.search(asked, 200, hole)
    expected, where = NearestNeighbors(bank).search(asked, 200, hole)
    np.testing.assert_allclose(squared, expected, rtol=1e-4)
    assert not ((at >= 120) & (at < 180)).any()
    assert (np.sort(at, axis=1) == np.sort(where, axis=1)).mean() > 0.99


def test_the_correlation_is_that_of_both_searches_without_the_image_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(approximate, "PROBES", 1)
    monkeypatch.setattr(approximate, "HELD_OUT", 40)
    bank = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
    starts = np.array([0, 100, 350, 600])
    own = np.repeat(np.arange(3), np.diff(starts))
    cells, facts = choose_index(bank, starts, bank, own, 10, 0)
    asked = np.arange(0, 600, 600 // 40)
    exact, near = [], []
    search = ApproximateNeighbors(bank, train_cells(bank, 0))
    for row in asked:
        image = slice(starts[own[row]], starts[own[row] + 1])
        others = np.delete(np.arange(600), np.arange(600)[image])
        exact.append(((bank[others].astype(float) - bank[row]) ** 2).sum(axis=1).min())
        near.append(search.search(bank[row : row + 1], 1, image)[0][0, 0])
    assert cells is None
    assert facts["correlation"] == pytest.approx(np.corrcoef(exact, near)[0, 1], abs=1e-5)
    assert {name: facts[name] for name in ("used", "cells", "probes", "measured_on")} == {
        "used": "flat", "cells": len(train_cells(bank, 0)), "probes": 1, "measured_on": len(asked),
    }  # fmt: skip


def test_where_nothing_can_be_measured_the_facts_say_why() -> None:
    bank = clusters(0)
    starts, nothing = np.array([0, len(bank)]), np.zeros(50, int)
    assert choose_index(bank, starts, bank[:50], nothing, 10, 0)[1] == {
        "used": "flat",
        "reason": "no patches outside the bank to measure the index on",
    }


def test_without_faiss_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ImportError, match=r"^index ivf needs faiss: pip install 'uad_orchestrator\[faiss\]'$"
    ):
        train_cells(clusters(0), 0)
