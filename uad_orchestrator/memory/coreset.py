"""Coresets: the few patch embeddings that stand for all of them in a memory bank."""

from __future__ import annotations

from typing import Literal

import numpy as np

from uad_orchestrator.memory.nearest import NearestNeighbors

Method = Literal["batched_greedy", "density", "random", "none"]

POOL = 256
"""Farthest points looked at together; the greedy choice is made among them."""
PICKS = 64
"""New rows that all points are compared with in one matrix product."""
BLOCK = 8192
"""Points whose distances to the new picks are held at once."""
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
) -> np.ndarray:
    """Choose the rows of a memory bank.

    ``batched_greedy`` is the greedy k-centre search of PatchCore (Roth et al., "Towards Total Recall in Industrial
    Anomaly Detection", CVPR 2022, section 3.2, with the official code's random projection and starting points), many
    points at a time. It gives the same rows on any machine and any number of threads.

    Args:
        embeddings: ``(n, d)`` float32.
        ratio: share of the rows that is kept, in (0, 1]; at least one row is.
        method: ``batched_greedy``, ``density`` (see ``density_rows``), ``random`` or ``none`` (all rows).
        seed: of the projection, the starting points and the random choice.
        projection_dim: dimensions of the random projection in which distances are taken.
        starting_points: random points whose mean distance the search starts from.

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
    projected = project(embeddings, random_projection(dimension, projection_dim, seed))
    if method == "density":
        return density_rows(projected, m, seed)
    return np.sort(greedy_order(projected, m, seed, starting_points))


def coreset_size(n: int, ratio: float) -> int:
    """How many of ``n`` rows a coreset keeps: rounded down as in the official code, at least one."""
    if not 0 < ratio <= 1:
        raise ValueError(f"coreset ratio is {ratio}: it lies in (0, 1]")
    return max(1, int(n * ratio + 1e-9))


def random_rows(n: int, m: int, seed: int) -> np.ndarray:
    """``m`` of ``n`` row numbers drawn without replacement, ascending."""
    return np.sort(np.random.default_rng(seed).choice(n, m, replace=False))


def density_rows(points: np.ndarray, m: int, seed: int) -> np.ndarray:
    """``m`` row numbers, ascending, drawn the more often the fewer points lie around them.

    A first random part is the measure: the others are drawn in proportion to their squared distance to the
    nearest of it (one round of k-means||, Bahmani et al., VLDB 2012). What recurs thousands of times is thinned,
    what is rare stays; one pass over the points, so that a million of them take seconds.

    Args:
        points: ``(n, p)`` float32.
        m: how many rows, at most n.
        seed: of both draws.
    """
    n = len(points)
    if m >= n:
        return np.arange(n)
    first = random_rows(n, max(1, min(REFERENCES, m // 2)), seed)
    squared = NearestNeighbors(points[first]).search(points)[0][:, 0].astype(np.float64)
    squared[first] = 0.0  # they are in, and so not drawn again
    draws = np.random.default_rng((seed, 1)).exponential(size=n)
    # exponential draws over weights: the smallest are a weighted sample without replacement (Efraimidis, Spirakis)
    with np.errstate(divide="ignore"):
        keys = draws / squared
    keys[first] = -1.0
    return np.sort(np.argsort(keys, kind="stable")[:m])


def random_projection(dimension: int, projection_dim: int, seed: int) -> np.ndarray | None:
    """A Gaussian projection ``(d, p)`` float64 that keeps distances in the mean; None if p is not below d."""
    if projection_dim >= dimension:
        return None
    return np.random.default_rng(seed).standard_normal((dimension, projection_dim)) / np.sqrt(projection_dim)


def project(embeddings: np.ndarray, projection: np.ndarray | None) -> np.ndarray:
    """``(n, p)`` float32 projected embeddings, always a new array.

    In float64, whose last digit depends on the number of threads far below what float32 keeps.
    """
    if projection is None:
        return np.array(embeddings, dtype=np.float32)
    return np.asarray(np.asarray(embeddings, dtype=np.float64) @ projection, dtype=np.float32)


def greedy_order(projected: np.ndarray, m: int, seed: int, starting_points: int = 10) -> np.ndarray:
    """Greedy k-centre over projected embeddings: ``(m,)`` row numbers in the order of their choice.

    Again and again: take the pool of points farthest from the bank and choose the farthest of it, as long as it is
    farther out than every point outside the pool can be; then compare all points with the new rows in matrix
    products. Each choice is that of the plain search, which goes over all points for every single one.

    Args:
        projected: ``(n, p)`` float32; overwritten, since it may be as large as memory allows.
    """
    points = integer_points(projected)
    squares = np.einsum("np,np->n", points, points)
    distances = _start_distances(points, squares, seed, starting_points)
    order: list[np.ndarray] = []
    missing = m
    while missing:
        pool = _farthest(distances, POOL)
        picks = pool[_choose(points[pool], distances[pool], missing)]
        for start in range(0, len(picks), PICKS):
            _compare(distances, points, squares, picks[start : start + PICKS])
        distances[picks] = -1.0  # never chosen again; a duplicate of one only when nothing else is left
        order.append(picks)
        missing -= len(picks)
    return np.concatenate(order)


def integer_points(projected: np.ndarray) -> np.ndarray:
    """Projected embeddings, centred and rounded to a grid so fine that it does not matter; in place.

    Whole numbers of norm below 2048 have products and sums that float32 holds exactly, in whatever order a
    matrix product adds them up: the search then takes the same turns on every machine. Points more than four
    times farther out than 99 % are drawn in (they stay the farthest), lest one outlier coarsen the grid for
    all.
    """
    points = projected
    points -= points.mean(axis=0, dtype=np.float64).astype(np.float32)
    norms = np.sqrt(np.einsum("np,np->n", points, points, dtype=np.float64))
    limit = min(norms.max(), 4 * np.quantile(norms, 0.99)) or norms.max() or 1.0
    largest = 2047 - np.sqrt(points.shape[1])  # rounding lengthens a point by at most sqrt(p) / 2
    points *= (largest / np.maximum(norms, limit)).astype(np.float32)[:, None]
    return np.rint(points, out=points)


def _start_distances(points: np.ndarray, squares: np.ndarray, seed: int, count: int) -> np.ndarray:
    starts = np.random.default_rng(seed).choice(len(points), min(count, len(points)), replace=False)
    squared = squares + squares[starts, None] - 2 * (points[starts] @ points.T)
    return np.sqrt(squared).mean(axis=0) ** 2


def _farthest(distances: np.ndarray, size: int) -> np.ndarray:
    if size >= len(distances):
        return np.arange(len(distances))
    least = np.partition(distances, -size)[-size]
    beyond = np.flatnonzero(distances > least)
    ties = np.flatnonzero(distances == least)
    return np.concatenate([beyond, ties[: size - len(beyond)]])


def _choose(points: np.ndarray, distances: np.ndarray, most: int) -> list[int]:
    squares = np.einsum("np,np->n", points, points)
    between = squares + squares[:, None] - 2 * (points @ points.T)
    outside = distances.min()  # no point outside the pool is farther from the bank
    picks = [int(distances.argmax())]
    while len(picks) < min(most, len(points)):
        distances = np.minimum(distances, between[picks[-1]])
        distances[picks] = -1.0
        farthest = int(distances.argmax())
        if distances[farthest] < outside:
            break
        picks.append(farthest)
    return picks


def _compare(distances: np.ndarray, points: np.ndarray, squares: np.ndarray, picks: np.ndarray) -> None:
    half = squares[picks, None] / 2
    for start in range(0, len(points), BLOCK):
        block = slice(start, start + BLOCK)
        nearest = (half - points[picks] @ points[block].T).min(axis=0)
        np.minimum(distances[block], squares[block] + 2 * nearest, out=distances[block])


def coverage(embeddings: np.ndarray, bank: np.ndarray) -> dict[str, float]:
    """How far embeddings lie from their nearest bank row.

    The far tail decides what a thinned bank misses: compare max and p99, not the mean alone.

    Args:
        embeddings: ``(m, d)`` float32, a sample of what the bank stands for.
        bank: ``(n, d)`` float32.

    Returns:
        ``max``, ``p99`` and ``mean`` of the Euclidean distances.

    >>> coverage(np.array([[0.0], [2.0]], np.float32), np.array([[0.5]], np.float32))["max"]
    1.5
    """
    squared, _ = NearestNeighbors(bank).search(embeddings)
    distances = np.sqrt(squared[:, 0])
    return {
        "max": float(distances.max()),
        "p99": float(np.quantile(distances, 0.99)),
        "mean": float(distances.mean()),
    }
