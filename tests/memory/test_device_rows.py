"""The search on a device, against the one on the CPU and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from tests.memory.devices import DEVICES
from uad_orchestrator.memory import device as device_module
from uad_orchestrator.memory.coreset import coverage, density_rows
from uad_orchestrator.memory.device import on_device
from uad_orchestrator.memory.device_rows import DeviceRows
from uad_orchestrator.memory.nearest import NearestNeighbors


def rows(n: int, d: int, seed: int, offset: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, d)) + offset).astype(np.float32)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=40)
@given(
    n=st.integers(1, 60),
    m=st.integers(0, 40),
    d=st.integers(1, 24),
    k=st.integers(1, 5),
    hole=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    offset=st.sampled_from([0.0, 100.0]),
    block=st.integers(1, 2000),
    seed=st.integers(0, 10**6),
)
def test_the_neighbours_are_those_of_brute_force(
    device: str, n: int, m: int, d: int, k: int, hole: tuple, offset: float, block: int, seed: int
) -> None:
    bank, asked, exclude = rows(n, d, seed, offset), rows(m, d, seed + 1, offset), slice(*sorted(hole))
    keep = np.setdiff1d(np.arange(n), np.arange(n)[exclude])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device_module, "BLOCK_VALUES", block)
        patched.setattr(device_module, "LARGEST_BLOCK", block)
        search = NearestNeighbors(bank, device=device)
    if k > len(keep):
        with pytest.raises(ValueError, match="neighbours asked for"):
            search.search(asked, k, exclude)
        return
    squared, index = search.search(asked, k, exclude)
    assert (squared.dtype, index.dtype, squared.shape) == (np.float32, np.int64, (m, k))
    assert np.isin(index, keep).all()
    assert (np.diff(squared, axis=1) >= 0).all()
    expected = np.sort(cdist(asked, bank[keep], "sqeuclidean"), axis=1)[:, :k]
    np.testing.assert_allclose(squared, expected, rtol=1e-4, atol=1e-7 * offset**2 * d)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("k", [1, 9])
@pytest.mark.parametrize("exclude", [None, slice(0, 300), slice(500, 700), slice(900, 1000)])
def test_it_agrees_with_the_cpu(device: str, k: int, exclude: slice | None) -> None:
    bank, asked = rows(1000, 200, 0), rows(300, 200, 1)
    squared, index = NearestNeighbors(bank).search(asked, k, exclude)
    search = NearestNeighbors(bank, device=device)
    for queries in (asked, on_device(asked, device)):
        found, at = search.search(queries, k, exclude)
        np.testing.assert_allclose(found, squared, rtol=1e-5)
        assert np.array_equal(at, index)


@pytest.mark.parametrize("device", ["cpu", *DEVICES])
@pytest.mark.parametrize("block", [50, 10**6])
def test_images_searched_together_are_answered_as_each_alone(
    device: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "BLOCK_VALUES", block)
    monkeypatch.setattr(device_module, "LARGEST_BLOCK", block)
    bank, asked = rows(60, 8, 0), rows(37, 8, 1).astype(np.float16)
    images = [(10, slice(0, 30)), (0, None), (20, None), (7, slice(2, 60))]  # two rows are left for the last
    search = NearestNeighbors(bank, device=device)
    squared, index = search.search_each(asked, images, 2)
    start = 0
    for count, exclude in images:
        own = slice(start, start + count)
        expected, at = NearestNeighbors(bank).search(asked[own].astype(np.float32), 2, exclude)
        np.testing.assert_allclose(squared[own], expected, rtol=1e-5)
        assert np.array_equal(index[own], at)
        start += count
    with pytest.raises(ValueError, match="3 neighbours asked for, but 2 of the bank's 60 rows"):
        search.search_each(asked, images, 3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_row_is_its_own_neighbour_at_distance_zero_unless_left_out(device: str) -> None:
    bank = rows(40, 16, 0) * np.float32(1e3) + np.float32(1e4)
    search = NearestNeighbors(bank, device=device)
    squared, index = search.search(bank[10:20])
    assert np.array_equal(index[:, 0], np.arange(10, 20)) and not squared.any()
    squared, index = search.search(bank[10:20], 1, slice(10, 20))
    assert squared.all() and not np.isin(index, np.arange(10, 20)).any()


@pytest.mark.parametrize("device", DEVICES)
def test_neither_bank_nor_queries_are_changed_and_wrong_ones_are_refused(device: str) -> None:
    bank, asked = rows(30, 5, 0), rows(8, 5, 1)
    copies = bank.copy(), asked.copy()
    NearestNeighbors(bank, device=device).search(asked, 2)
    assert np.array_equal(bank, copies[0]) and np.array_equal(asked, copies[1])
    for queries in (rows(2, 4, 0), on_device(rows(2, 4, 0), device)):
        with pytest.raises(ValueError, match=r"shape \(2, 4\) do not fit a bank of dimension 5"):
            NearestNeighbors(bank, device=device).search(queries)


@pytest.mark.parametrize("device", DEVICES)
def test_a_density_coreset_is_the_same_even_where_distances_differ_in_their_last_digits(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, search = rows(3000, 20, 0), DeviceRows.search

    def inexact(self: DeviceRows, *given: Any) -> tuple[np.ndarray, np.ndarray]:
        squared, index = search(self, *given)
        return squared * np.random.default_rng(0).uniform(0.99, 1.01, squared.shape), index

    monkeypatch.setattr(DeviceRows, "search", inexact)
    assert np.array_equal(density_rows(points, 400, 3, device=device), density_rows(points, 400, 3))


@pytest.mark.parametrize("device", DEVICES)
def test_the_coverage_is_the_same(device: str) -> None:
    points = rows(3000, 20, 0)
    there, here = (coverage(points, points[::50], device=where) for where in (device, "cpu"))
    assert there == pytest.approx(here, rel=1e-5)
