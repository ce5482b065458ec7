"""The rows that have the largest products with queries, found on the CPU: in blocks, whatever library multiplies."""

from __future__ import annotations

import numpy as np

from uad_orchestrator.memory.products import Multiply

Parts = list[tuple[int, int]]
"""The rows that are searched: ``[start, stop)``, ascending."""

SPARE = 1
"""Neighbours found beyond those asked for: of two that are nearly as near, rounded products may prefer either."""

QUERIES = 512
"""Queries multiplied at once: enough for a matrix product to be fast."""

BLOCK_VALUES = 4_000_000
"""Products held at once: 16 MB."""

FEW = 5
"""So many largest values are looked for one after the other, of equal ones the first."""

FEW_COLUMNS = 256
"""Columns up to which all are looked at for the largest."""


def largest_products(
    queries: np.ndarray, rows: np.ndarray, k: int, parts: Parts, multiply: Multiply
) -> np.ndarray:
    """The rows of each query's ``k`` largest products, in no order.

    Args:
        queries: ``(m, d)`` float32, C-contiguous.
        rows: ``(n, d)`` float32, C-contiguous.
        k: at most the rows searched.
        parts: the rows searched.
        multiply: with what.

    Returns:
        ``(m, k)`` int64 row numbers.
    """
    found = np.empty((len(queries), k), np.int64)
    searched = tiles(parts, max(1, BLOCK_VALUES // QUERIES))
    room = np.empty(min(QUERIES, len(queries)) * max(stop - start for start, stop in searched), np.float32)
    for at in range(0, len(queries), QUERIES):
        found[at : at + QUERIES] = _largest_of_tiles(
            queries[at : at + QUERIES], rows, k, searched, multiply, room
        )
    return found


def with_spare(k: int, parts: Parts) -> int:
    """How many rows to find, so that the ``k`` nearest are among them."""
    return min(k + SPARE, sum(stop - start for start, stop in parts))


def _largest_of_tiles(
    queries: np.ndarray, rows: np.ndarray, k: int, searched: Parts, multiply: Multiply, room: np.ndarray
) -> np.ndarray:
    """``(m, k)`` row numbers for a few queries; ``room`` is for their products with a tile."""
    found, products = [], []
    for start, stop in searched:
        tile = room[: len(queries) * (stop - start)].reshape(len(queries), stop - start)
        multiply(queries, rows[start:stop], tile)
        columns, values = largest(tile, min(k, stop - start))
        products.append(values)
        found.append(columns + start)
    index = np.concatenate(found, axis=1)
    if index.shape[1] == k:
        return index
    return np.take_along_axis(index, largest(np.concatenate(products, axis=1), k)[0], axis=1)


def tiles(parts: Parts, width: int) -> Parts:
    """Parts of at most ``width`` rows, all but the last of each as wide.

    >>> tiles([(0, 5), (7, 9)], 2)
    [(0, 2), (2, 4), (4, 5), (7, 9)]
    """
    return [(at, min(at + width, stop)) for start, stop in parts for at in range(start, stop, width)]


def largest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of each row's ``k`` largest values, in no order, and those values.

    Args:
        values: ``(m, n)`` float32; overwritten.
        k: at most n.

    Returns:
        ``(m, k)`` int64 and float32.

    >>> columns, found = largest(np.array([[3.0, 1.0, 4.0, 1.0, 5.0, 9.0]]), k=2)
    >>> columns.tolist(), found.tolist()
    ([[5, 4]], [[9.0, 5.0]])
    """
    if k <= FEW:
        return _one_by_one(values, k)
    columns = _by_groups(values, k)
    return columns, np.take_along_axis(values, columns, axis=1)


def _one_by_one(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    columns = np.empty((len(values), k), np.int64)
    found = np.empty((len(values), k), values.dtype)
    every = np.arange(len(values))
    for i in range(k):
        columns[:, i] = values.argmax(axis=1)
        found[:, i] = values[every, columns[:, i]]
        values[every, columns[:, i]] = -np.inf
    return columns, found


def _by_groups(values: np.ndarray, k: int) -> np.ndarray:
    """They lie in the ``k`` groups of columns whose largest values are largest, or among the few columns left over:
    those alone are searched."""
    m, n = values.shape
    size = int(np.sqrt(n / k)) if n > FEW_COLUMNS else 1
    if size == 1:
        return np.argpartition(values, n - k, axis=1)[:, n - k :]
    groups = n // size  # a group is every so many columns, so that whole rows are compared
    tops = values[:, :groups].copy()
    for start in range(groups, groups * size, groups):
        np.maximum(tops, values[:, start : start + groups], out=tops)
    near = np.argpartition(tops, groups - k, axis=1)[:, groups - k :]
    columns = (near[:, :, None] + groups * np.arange(size)).reshape(m, k * size)
    left_over = np.broadcast_to(np.arange(groups * size, n), (m, n - groups * size))
    columns = np.concatenate([columns, left_over], axis=1)
    best = np.argpartition(np.take_along_axis(values, columns, axis=1), -k, axis=1)[:, -k:]
    return np.take_along_axis(columns, best, axis=1)
