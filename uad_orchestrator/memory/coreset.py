"""Coresets: the few patch embeddings that stand for all of them in a memory bank."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from uad_orchestrator.memory.device import to_tensor
from uad_orchestrator.memory.greedy_search import greedy_order
from uad_orchestrator.memory.nearest import NearestNeighbors
from uad_orchestrator.memory.products import products

Method = Literal["batched_greedy", "density", "random", "none"]

BLOCK = 8192
"""Rows projected at once."""
REFERENCES = 4096
"""Random rows that ``density`` measures against; at most half of those it keeps."""


def select_coreset(
    embeddings: np.ndarray,
    ratio: float,
    method: Method = "batched_greedy",
    seed: int = 0,
    *,
    projection_dim: int = 128,
    starting_points: int = 10,
    device: str = "cpu",
) -> np.ndarray:
    """Choose the rows of a memory bank.

    ``batched_greedy`` is the greedy k-centre search of PatchCore (Roth et al., "Towards Total Recall in Industrial
    Anomaly Detection", CVPR 2022, section 3.2, with the official code's random projection and starting points), many
    points at a time. It gives the same rows on any machine and device and any number of threads.

    Args:
        embeddings: ``(n, d)`` float32.
        ratio: share of the rows that is kept, in (0, 1]; at least one row is.
        method: ``batched_greedy``, ``density`` (see ``density_rows``), ``random`` or ``none`` (all rows).
        seed: of the projection, the starting points and the random choice.
        projection_dim: dimensions of the random projection in which distances are taken.
        starting_points: random points whose mean distance the search starts from.
        device: where distances are taken: ``cpu``, or one of torch's.

    Returns:
        ``(m,)`` int64 row numbers, ascending.

    Raises:
        ValueError: no embeddings, an unknown method, or a ratio outside (0, 1].

    >>> select_coreset(np.arange(12, dtype=np.float32).reshape(6, 2), ratio=0.5, seed=0).shape
    (3,)
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or not len(embeddings):
        raise ValueError(f"embeddings are (n, d) with n > 0, not {embeddings.shape}")
    n, dimension = embeddings.shape
    m = coreset_size(n, ratio)
    if method == "none":
        return np.arange(n)
    if method == "random":
        return random_rows(n, m, seed)
    if method not in ("batched_greedy", "density"):
        raise ValueError(f"coreset method {method!r}: it is batched_greedy, density, random or none")
    projected = project(embeddings, random_projection(dimension, projection_dim, seed), device=device)
    if method == "density":
        return density_rows(projected, m, seed, device=device)
    return np.sort(greedy_order(projected, m, seed, starting_points, device=device))


def coreset_size(n: int, ratio: float) -> int:
    """How many of ``n`` rows a coreset keeps: rounded down as in the official code, at least one."""
    if not 0 < ratio <= 1:
        raise ValueError(f"coreset ratio is {ratio}: it lies in (0, 1]")
    return max(1, int(n * ratio + 1e-9))


def random_rows(n: int, m: int, seed: int) -> np.ndarray:
    """``m`` of ``n`` row numbers drawn without replacement, ascending."""
    return np.sort(np.random.default_rng(seed).choice(n, m, replace=False))


def density_rows(points: np.ndarray, m: int, seed: int, *, device: str = "cpu") -> np.ndarray:
    """``m`` row numbers, ascending, drawn the more often the fewer points lie around them.

    A first random part is the measure: the others are drawn in proportion to their squared distance to the
    nearest of it (one round of k-means||, Bahmani et al., VLDB 2012). What recurs thousands of times is thinned,
    what is rare stays; one pass over the points, so that a million of them take seconds.

    Args:
        points: ``(n, p)`` float32.
        m: how many rows, at most n.
        seed: of both draws.
        device: where the nearest are found; their distances are taken on the CPU, so that the draw is the same.
    """
    n = len(points)
    if m >= n:
        return np.arange(n)
    first = density_measure(n, m, seed)
    measure = NearestNeighbors(points[first], device=device)
    found, nearest = measure.search(points)
    if device != "cpu":
        found = measure.distances(points, nearest)
    squared = found[:, 0].astype(np.float64)
    squared[first] = 0.0  # they are in, and so not drawn again
    with np.errstate(divide="ignore"):
        keys = density_draws(n, seed) / squared
    keys[first] = -1.0
    return np.sort(np.argsort(keys, kind="stable")[:m])


def density_measure(n: int, m: int, seed: int) -> np.ndarray:
    """The random part that ``density_rows`` measures against: row numbers, ascending."""
    return random_rows(n, max(1, min(REFERENCES, m // 2)), seed)


def density_draws(n: int, seed: int) -> np.ndarray:
    """``(n,)`` exponential draws: over weights, the smallest are a weighted sample without replacement (Efraimidis,
    Spirakis)."""
    return np.random.default_rng((seed, 1)).exponential(size=n)


def random_projection(dimension: int, projection_dim: int, seed: int) -> np.ndarray | None:
    """A Gaussian projection ``(d, p)`` float64 that keeps distances in the mean; None if p is not below d."""
    if projection_dim >= dimension:
        return None
    return np.random.default_rng(seed).standard_normal((dimension, projection_dim)) / np.sqrt(projection_dim)


def sent_once(projection: Any, device: str) -> Any:
    """A projection where ``project`` multiplies with it: on CUDA a tensor there, else as it is."""
    if isinstance(projection, np.ndarray) and device.startswith("cuda"):  # CUDA only
        return to_tensor(projection, device)
    return projection


def project(embeddings: np.ndarray, projection: Any, *, device: str = "cpu") -> np.ndarray:
    """``(n, p)`` float32 projected embeddings, always a new array.

    In float64, whose last digit depends on the number of threads, and on the device, far below what float32 keeps.

    Args:
        embeddings: ``(n, d)`` float32 or float16.
        projection: from ``random_projection``, or what ``sent_once`` made of it; None: there is none.
        device: where it is done.
    """
    if projection is None:
        return np.array(embeddings, dtype=np.float32)
    if device.startswith("cuda"):  # CUDA only: other devices have no float64
        there = to_tensor(embeddings, device).double() @ sent_once(projection, device)
        return there.float().cpu().numpy()
    projected = np.empty((len(embeddings), projection.shape[1]), np.float32)
    for start in range(0, len(embeddings), BLOCK):
        block = slice(start, start + BLOCK)
        projected[block] = products(np.asarray(embeddings[block]), projection)
    return projected


def coverage(embeddings: np.ndarray, bank: np.ndarray, *, device: str = "cpu") -> dict[str, float]:
    """How far embeddings lie from their nearest bank row.

    The far tail decides what a thinned bank misses: compare max and p99, not the mean alone.

    Args:
        embeddings: ``(m, d)`` float32, a sample of what the bank stands for.
        bank: ``(n, d)`` float32.
        device: where the bank is searched.

    Returns:
        ``max``, ``p99`` and ``mean`` of the Euclidean distances.

    >>> coverage(np.array([[0.0], [2.0]], np.float32), np.array([[0.5]], np.float32))["max"]
    1.5
    """
    squared, _ = NearestNeighbors(bank, device=device).search(embeddings)
    distances = np.sqrt(squared[:, 0])
    return {
        "max": float(distances.max()),
        "p99": float(np.quantile(distances, 0.99)),
        "mean": float(distances.mean()),
    }
