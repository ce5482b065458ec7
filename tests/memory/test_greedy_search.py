"""The greedy search and the whole numbers it runs on, against the plain search and exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from tests.memory.devices import DEVICES
from tests.memory.pieces import cut_into_pieces
from uad_orchestrator.memory import device as device_module
from uad_orchestrator.memory import greedy_search
from uad_orchestrator.memory.coreset import project, random_projection, select_coreset
from uad_orchestrator.memory.greedy_search import greedy_order, integer_points, order_of_choice


def farthest_choices(points: np.ndarray, order: np.ndarray) -> list[tuple[float, float]]:
    """For each choice its squared distance to the bank, and the largest of all rows that are not in it.

    Before the first choice the distance of a row is its mean distance to all rows.
    """
    squared = cdist(points, points, "sqeuclidean")
    distances, left, seen = np.sqrt(squared).mean(axis=1) ** 2, np.ones(len(points), bool), []
    for row in order:
        seen.append((distances[row], distances[left].max()))
        distances = np.minimum(distances, squared[row])
        left[row] = False
    return seen


GRIDS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 60), st.integers(1, 3)),
    elements=st.integers(-3, 3).map(float),  # ties and duplicates everywhere
)


@given(GRIDS, st.integers(1, 60), st.integers(1, 9), st.integers(1, 30), st.integers(1, 5))
@settings(max_examples=60)
def test_the_order_is_that_of_the_plain_search_however_it_is_cut_into_pieces(
    embeddings: np.ndarray, m: int, pool: int, more: int, piece: int
) -> None:
    m = min(m, len(embeddings))
    with cut_into_pieces(pool, more, piece):
        order = greedy_order(embeddings.copy(), m, seed=0, starting_points=len(embeddings))
    assert order.shape == (m,) and len(set(order.tolist())) == m, "a row is chosen once, duplicates included"
    for chosen, farthest in farthest_choices(integer_points(embeddings.copy()), order):
        assert chosen == pytest.approx(farthest, rel=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_choice_is_found_again_from_the_rows(seed: int, device: str) -> None:
    points = np.random.default_rng(seed).standard_t(4, (3000, 6)).astype(np.float32)
    order = greedy_order(points.copy(), 400, seed, starting_points=5)
    chosen = np.sort(order)
    found = order_of_choice(integer_points(points), chosen, seed, starting_points=5, device=device)
    assert np.array_equal(chosen[found], order)


@pytest.mark.parametrize("device", DEVICES)
@given(
    GRIDS, st.integers(1, 60), st.integers(1, 9), st.integers(1, 30), st.integers(1, 60), st.integers(0, 99)
)
@settings(max_examples=100)
def test_the_rows_depend_neither_on_the_device_nor_on_the_field(
    device: str, embeddings: np.ndarray, m: int, pool: int, more: int, block: int, seed: int
) -> None:
    """One row, all rows, duplicates, constant points: the same order to the last."""
    m = min(m, len(embeddings))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(greedy_search, "POOL", pool)
        expected = greedy_order(embeddings.copy(), m, seed)  # all points in one field
        patched.setattr(greedy_search, "FIELD", pool + more)
        assert np.array_equal(greedy_order(embeddings.copy(), m, seed), expected)
        patched.setattr(device_module, "BLOCK_VALUES", block)
        patched.setattr(device_module, "LARGEST_BLOCK", block)
        assert np.array_equal(greedy_order(embeddings.copy(), m, seed, device=device), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0])
def test_a_coreset_is_the_same_on_every_device(device: str, ratio: float) -> None:
    rng = np.random.default_rng(1)
    embeddings = rng.standard_t(3, (5000, 150)).astype(np.float32)
    embeddings[::7] = embeddings[3]  # duplicates
    embeddings[11] *= 1e4  # an outlier
    rows = select_coreset(embeddings, ratio, seed=2)
    assert np.array_equal(select_coreset(embeddings, ratio, seed=2, device=device), rows)


def test_a_random_few_start_the_search_and_others_for_another_seed() -> None:
    embeddings = np.random.default_rng(0).standard_normal((400, 6)).astype(np.float32)
    few, same, other = (greedy_order(embeddings.copy(), 40, seed, 2) for seed in (0, 0, 1))
    assert np.array_equal(few, same)
    assert not np.array_equal(few, other)
    assert not np.array_equal(few, greedy_order(embeddings.copy(), 40, 0, 400))


@given(
    n=st.integers(1, 400),
    p=st.integers(1, 40),
    offset=st.sampled_from([0.0, 1e3, -1e5]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 10**6),
)
def test_integer_points_are_the_centred_points_on_one_grid(
    n: int, p: int, offset: float, scale: float, seed: int
) -> None:
    """No outliers: every point is scaled alike, up to rounding, and the farthest uses what there is of the range."""
    given = ((np.random.default_rng(seed).uniform(-1, 1, (n, p)) + offset) * scale).astype(np.float32)
    exact = given.astype(np.float64) - given.mean(axis=0, dtype=np.float64).astype(np.float32)
    points = integer_points(given)
    assert points is given, "in place: the projected embeddings may fill the memory"
    assert np.array_equal(points, np.rint(points))
    norms = np.linalg.norm(exact, axis=1)
    if norms.max() > 4 * np.quantile(norms, 0.99) or not norms.max():
        return
    factor = (2047 - np.sqrt(p)) / norms.max()
    np.testing.assert_allclose(points, exact * factor, atol=0.5 + 2e-3)
    assert np.linalg.norm(points, axis=1).max() < 2048


@pytest.mark.parametrize("p", [1, 3, 30])
@pytest.mark.parametrize("far", [4.5, 20.0, 1e6])
def test_points_beyond_four_times_the_bulk_are_drawn_in_along_their_direction(p: int, far: float) -> None:
    rng = np.random.default_rng(p)
    given = rng.uniform(-1, 1, (1000, p)).astype(np.float32)
    outliers = [3, 500, 999]
    given[outliers] *= (far / np.linalg.norm(given[outliers], axis=1, keepdims=True)).astype(np.float32)
    given[outliers] *= np.float32([[1.0], [1.1], [1.2]]) * np.quantile(np.linalg.norm(given, axis=1), 0.99)
    exact = given.astype(np.float64) - given.mean(axis=0, dtype=np.float64).astype(np.float32)
    norms = np.linalg.norm(exact, axis=1)
    limit = 4 * np.quantile(norms, 0.99)
    beyond = norms > limit
    assert beyond.any() and not beyond.all()

    points = integer_points(given)
    largest = 2047 - np.sqrt(p)
    np.testing.assert_allclose(points[~beyond], exact[~beyond] * (largest / limit), atol=0.51)
    # the others lie on the sphere, where they pointed to, and so stay farther out than all the rest
    np.testing.assert_allclose(points[beyond], exact[beyond] / norms[beyond, None] * largest, atol=0.51)
    squares = (points**2).sum(axis=1)
    assert squares[beyond].min() >= squares[~beyond].max()


def test_a_few_points_beside_many_equal_ones_are_told_apart_however_near_they_lie() -> None:
    """99 of 100 lie on the centre: there is no bulk to measure outliers by."""
    given = np.zeros((2000, 2), np.float32)
    given[:4] = np.float32([[1, 0], [-1, 0], [2, 0], [-2, 0]]) * np.float32(1e-3)
    points = integer_points(given)
    assert len(np.unique(points[:4], axis=0)) == 4 and points[:4].any(axis=1).all()
    assert not points[4:].any()
    assert not integer_points(np.full((5, 3), 7, np.float32)).any()


def test_a_projection_keeps_distances_in_the_mean_and_is_left_out_where_it_saves_nothing() -> None:
    assert random_projection(12, 12, 0) is None and random_projection(12, 20, 0) is None
    embeddings = np.random.default_rng(1).standard_normal((40, 300))
    ratios = []
    for seed in range(20):
        projection = random_projection(300, 100, seed)
        assert projection is not None and projection.shape == (300, 100)
        projected = project(embeddings, projection)
        assert projected.dtype == np.float32
        pairs = np.triu_indices(40, 1)
        ratios.append((cdist(projected, projected) ** 2)[pairs] / (cdist(embeddings, embeddings) ** 2)[pairs])
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)
    assert np.array_equal(random_projection(300, 100, 3), random_projection(300, 100, 3))


def test_unprojected_embeddings_are_a_copy_in_float32() -> None:
    embeddings = np.arange(6, dtype=np.float64).reshape(3, 2)
    copy = project(embeddings, None)
    assert copy.dtype == np.float32 and not np.shares_memory(copy, embeddings)
    single = embeddings.astype(np.float32)
    assert not np.shares_memory(project(single, None), single), "the search writes over it"


def test_the_settings_that_are_left_out_are_the_papers() -> None:
    embeddings = np.random.default_rng(3).standard_normal((300, 200)).astype(np.float32)
    rows = select_coreset(embeddings, 0.1)
    named = select_coreset(embeddings, 0.1, "batched_greedy", 0, projection_dim=128, starting_points=10)
    assert np.array_equal(rows, named)
    for other in ({"projection_dim": 64}, {"starting_points": 1}, {"seed": 1}):
        assert not np.array_equal(rows, select_coreset(embeddings, 0.1, **other))  # type: ignore[arg-type]


def test_the_search_runs_in_the_projection_of_its_seed() -> None:
    embeddings = np.random.default_rng(4).standard_normal((300, 200)).astype(np.float32)
    projected = project(embeddings, random_projection(200, 8, 7))
    rows = select_coreset(embeddings, 0.1, seed=7, projection_dim=8, starting_points=3)
    assert np.array_equal(rows, select_coreset(projected, 0.1, seed=7, projection_dim=8, starting_points=3))
