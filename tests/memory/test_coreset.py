"""Coresets against the plain greedy search, and on the data on which random choice fails."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.memory import coreset
from uad_orchestrator.memory.coreset import coverage, select_coreset
from uad_orchestrator.memory.greedy_search import greedy_order, integer_points, start_distances


def heavy_tailed(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Few dense clusters and a long tail of rare points, as patch embeddings of real images are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, d)) * 3
    sizes = rng.dirichlet(np.full(12, 0.3))
    points = centres[rng.choice(12, n, p=sizes)] + rng.standard_normal((n, d)) * 0.3
    return (points * (1 + 0.2 * rng.standard_t(3, (n, 1)))).astype(np.float32)


def plain_distances(points: np.ndarray, order: np.ndarray, start: np.ndarray) -> list[tuple[float, float]]:
    """For each choice: its distance to the bank at that moment, and the largest of all points (squared)."""
    distances, seen = start.astype(np.float64).copy(), []
    exact = points.astype(np.float64)
    for row in order:
        seen.append((distances[row], distances.max()))
        distances = np.minimum(distances, ((exact - exact[row]) ** 2).sum(axis=1))
        distances[row] = -1
    return seen


@settings(max_examples=20)
@given(n=st.integers(2, 700), d=st.integers(1, 20), seed=st.integers(0, 10**6), share=st.floats(0.02, 1))
def test_every_choice_is_the_farthest_point_of_all(n: int, d: int, seed: int, share: float) -> None:
    embeddings = heavy_tailed(n, d, seed)
    order = greedy_order(embeddings.copy(), max(1, int(n * share)), seed)
    points = integer_points(embeddings)
    start = start_distances(points, (points**2).sum(axis=1), seed, 10)
    assert len(set(order.tolist())) == len(order)
    for chosen, farthest in plain_distances(points, order, start):
        assert chosen == pytest.approx(farthest, rel=1e-6)


@pytest.mark.parametrize("method", ["batched_greedy", "random", "none"])
def test_rows_are_distinct_sorted_and_repeatable(method: coreset.Method) -> None:
    embeddings = heavy_tailed(500, 30)
    rows = select_coreset(embeddings, 0.1, method, seed=3)
    assert len(rows) == (500 if method == "none" else 50)
    assert (np.diff(rows) > 0).all()
    assert rows.min() >= 0 and rows.max() < 500
    assert np.array_equal(rows, select_coreset(embeddings, 0.1, method, seed=3))
    if method != "none":
        assert not np.array_equal(rows, select_coreset(embeddings, 0.1, method, seed=4))


def test_greedy_covers_the_tail_that_random_misses() -> None:
    embeddings = heavy_tailed(4000, 32)
    greedy = coverage(embeddings, embeddings[select_coreset(embeddings, 0.05)])
    random = coverage(embeddings, embeddings[select_coreset(embeddings, 0.05, "random")])
    assert greedy["max"] < 0.6 * random["max"]
    assert greedy["p99"] < 0.8 * random["p99"]


def test_coverage_is_as_good_as_anomalibs() -> None:
    torch = pytest.importorskip("torch", reason="the oracle is anomalib's KCenterGreedy (extra: anomalib)")
    components = pytest.importorskip("anomalib.models.components", reason="the oracle is anomalib's (extra)")
    embeddings = heavy_tailed(1500, 64)
    torch.manual_seed(0)
    theirs = components.KCenterGreedy(torch.from_numpy(embeddings), sampling_ratio=0.1).select_coreset_idxs()
    reference = coverage(embeddings, embeddings[np.array([int(i) for i in theirs])])
    ours = coverage(embeddings, embeddings[select_coreset(embeddings, 0.1)])
    assert ours["mean"] < 1.05 * reference["mean"]
    assert ours["p99"] < 1.10 * reference["p99"]
    assert ours["max"] < 1.15 * reference["max"]


def test_one_outlier_does_not_blur_the_search_for_the_others() -> None:
    embeddings = heavy_tailed(2000, 32)
    clean = coverage(embeddings, embeddings[select_coreset(embeddings, 0.1)])
    spoiled = embeddings.copy()
    spoiled[7] *= 1e5
    rows = select_coreset(spoiled, 0.1)
    assert 7 in rows
    others = np.delete(np.arange(2000), 7)
    assert coverage(spoiled[others], spoiled[rows])["mean"] < 1.1 * clean["mean"]


def test_constant_and_duplicated_embeddings() -> None:
    assert len(select_coreset(np.ones((50, 4), np.float32), 0.2)) == 10
    twice = np.repeat(heavy_tailed(60, 8), 2, axis=0)
    rows = select_coreset(twice, 0.5)
    assert coverage(twice, twice[rows])["max"] == 0.0  # no copy is taken while something new is left


def test_products_of_integer_points_are_exact() -> None:
    points = integer_points(heavy_tailed(3000, 128))
    assert np.array_equal(points, np.rint(points))
    assert (points.astype(np.float64) ** 2).sum(axis=1).max() < 2048**2
    exact = points.astype(np.int64) @ points[:50].astype(np.int64).T
    assert np.array_equal((points @ points[:50].T).astype(np.int64), exact)


def test_the_same_rows_on_any_number_of_threads() -> None:
    script = (
        "import numpy as np; from uad_orchestrator.memory import select_coreset;"
        "x = np.random.default_rng(0).standard_t(3, (6000, 200)).astype(np.float32);"
        "print(select_coreset(x, 0.1, seed=1).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n, "PATH": ""},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for n in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_embeddings_are_left_as_they_are() -> None:
    for d in (16, 200):  # unprojected and projected
        embeddings = heavy_tailed(300, d)
        before = embeddings.copy()
        select_coreset(embeddings, 0.1)
        assert np.array_equal(embeddings, before)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.1, float("nan")])
def test_ratio_has_to_be_a_share(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio"):
        select_coreset(np.ones((4, 2), np.float32), ratio)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="n > 0"):
        select_coreset(np.ones((0, 3), np.float32), 0.5)
    with pytest.raises(ValueError, match="greedy"):
        select_coreset(np.ones((4, 3), np.float32), 0.5, "gredy")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "search"), [("batched_greedy", "greedy_order"), ("density", "density_rows")]
)
def test_distances_are_taken_on_the_device_that_is_asked_for(
    method: coreset.Method, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: dict[str, str] = {}

    def recorded(name: str) -> Callable[..., Any]:
        run = getattr(coreset, name)

        def on_the_cpu(*arguments: Any, device: str) -> Any:
            devices[name] = device
            return run(*arguments, device="cpu")

        return on_the_cpu

    for name in ("project", search):
        monkeypatch.setattr(coreset, name, recorded(name))
    embeddings = heavy_tailed(300, 200)
    rows = select_coreset(embeddings, 0.1, method, device="cuda:7")
    assert devices == {"project": "cuda:7", search: "cuda:7"}
    monkeypatch.undo()
    assert np.array_equal(rows, select_coreset(embeddings, 0.1, method))


def test_size_is_that_of_the_official_code() -> None:
    assert [coreset.coreset_size(n, r) for n, r in ((51200, 0.1), (9, 0.1), (100, 0.29), (5, 1))] == [
        5120,
        1,
        29,
        5,
    ]
