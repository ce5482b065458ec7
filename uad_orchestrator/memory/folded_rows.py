"""A bank's rows in a few dimensions, where most of them are seen to be too far away to be a query's nearest.

A row is folded: its coordinates in the few directions in which most of the bank's variance lies, and the length of what
is left of it as one coordinate more. No two folded rows lie farther apart than the rows do. So a row whose folded
distance from a query is larger than the full distance of some other cannot be the nearest; only of the few that remain
the full distances are taken. What is found is what a search in all dimensions finds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from uad_orchestrator.memory.largest_products import QUERIES, Multiply, Parts, largest, tiles

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From ``(m, d + 1)`` queries and ``(m, k)`` row numbers to squared distances, taken from the differences."""

VARIANCE = 0.9
"""Share of the bank's variance, about its centre, that the directions hold. Of patches of networks that takes a quarter
of the dimensions, and of a thousand rows one or two remain."""

SAMPLE = 2048
"""So many rows the directions are taken from, or up to twice as many."""

WIDTH = 2048
"""Rows compared with at once: their products with a block of queries stay in the cache."""

ONE_OF = 32
"""Where more than one row of so many remains, it is faster to compare the query with all rows in all dimensions."""

PAIRS = 1024
"""Queries and rows that remain for them, measured at once."""

LONGER = 2.0**-8
"""A squared distance is taken for so much longer than it is, lest folded ones be longer by rounding."""

TINY = 2.0**-110
"""And for so much: float32 has fewer digits of what the bounds are made of where they are about as small."""


class FoldedRows:
    """The exact search by way of folded rows.

    Args:
        rows: ``(n, d + 1)`` float32, the bank's taken from its centre; the last column does not matter.
        directions: ``(p, d)`` float32, orthonormal, of ``leading_directions``.
        multiply: with what.
    """

    def __init__(self, rows: np.ndarray, directions: np.ndarray, multiply: Multiply) -> None:
        self._directions = np.pad(directions, ((0, 0), (0, 1)))
        self._rows, squares = self._folded(rows, multiply)
        self._rows[:, -1] = squares / -2

    def nearest(
        self, asked: np.ndarray, k: int, parts: Parts, multiply: Multiply, measure: Measure
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each query, in no order.

        Args:
            asked: ``(m, d + 1)`` queries taken from the centre, and a 1.
            k: at most the rows searched.
            parts: the rows searched.
            multiply: with what.
            measure: takes distances in all dimensions.

        Returns:
            ``(m, k)`` int64 row numbers; and the numbers of those queries for which they are not known, since too
            many rows remain.
        """
        found, unknown = np.empty((len(asked), k), np.int64), [np.empty(0, np.int64)]
        searched = tiles(parts, WIDTH)
        room = np.empty(min(QUERIES, len(asked)) * max(stop - start for start, stop in searched), np.float32)
        for at in range(0, len(asked), QUERIES):
            queries = asked[at : at + QUERIES]
            folded, squares = self._folded(queries, multiply)
            folded[:, -1] = 1
            remaining = _Remaining(queries, squares, k, measure)
            for start, stop in searched:
                products = room[: len(folded) * (stop - start)].reshape(len(folded), stop - start)
                multiply(folded, self._rows[start:stop], products)
                remaining.look_among(products, start)
            found[at : at + QUERIES] = remaining.nearest()
            unknown.append(at + np.flatnonzero(remaining.given_up))
        return found, np.concatenate(unknown)

    @np.errstate(over="ignore", invalid="ignore")  # queries that are not finite are given up
    def _folded(self, vectors: np.ndarray, multiply: Multiply) -> tuple[np.ndarray, np.ndarray]:
        """``(m, p + 2)``: coordinates in the directions, the length of what is left, and a column to be filled.

        Also ``(m,)`` the squares, less what rounding may make of them: folded vectors, and products of them, are off by
        less than ``rounding`` times the vectors' lengths; what is left is off by more, where that is little. Of
        (a + b)^2 <= (1 + LONGER) a^2 + (1 + 1 / LONGER) b^2 the first is a distance, the second what both are off by.
        """
        count, dimension = self._directions.shape[0], self._directions.shape[1] - 1
        folded = np.empty((len(vectors), count + 2), np.float32)
        leading = np.empty((len(vectors), count), np.float32)
        multiply(vectors, self._directions, leading)
        folded[:, :count] = leading
        squares = np.einsum("md,md->m", vectors[:, :dimension], vectors[:, :dimension])
        rest = squares - np.einsum("mp,mp->m", leading, leading)
        folded[:, count] = np.sqrt(np.maximum(rest, 0))
        rounding = dimension * 2.0**-24
        off = 2 * rounding * squares
        of_rest = off * (off / np.maximum(np.maximum(rest, off), np.finfo(np.float32).tiny))
        of_all = rounding**2 * squares + of_rest
        return folded, squares - 3 * rounding * squares - 4 * (1 + 1 / LONGER) * of_all


def leading_directions(rows: np.ndarray) -> np.ndarray | None:
    """The directions in which most of a bank's variance lies.

    Args:
        rows: ``(n, d + 1)`` float32, the bank's taken from its centre, and minus half their squares.

    Returns:
        ``(p, d)`` float32, orthonormal; None where more than half of the dimensions would be needed, where no row
        differs from the centre, and where values are not finite, or too large to be squared.
    """
    if not np.isfinite(rows[:, -1]).all():
        return None
    sample = rows[:: max(1, len(rows) // SAMPLE), :-1]
    moment = sample.T @ sample
    if not np.isfinite(moment).all():
        return None
    variance, directions = np.linalg.eigh(moment.astype(np.float64))  # the largest last
    held = np.cumsum(variance[::-1])
    if held[-1] <= 0:
        return None
    count = 1 + int(np.searchsorted(held, VARIANCE * held[-1]))
    return directions[:, -count:].T.astype(np.float32) if count <= len(moment) // 2 else None


class _Remaining:
    """The rows that may still be among the nearest of a few queries.

    Args:
        asked: ``(m, d + 1)`` queries taken from the centre, and a 1.
        squares: ``(m,)`` of ``FoldedRows``.
        k: how many nearest are looked for.
        measure: takes distances in all dimensions.

    Attributes:
        given_up: ``(m,)`` bool, the queries of which too many rows remain, or that are not finite.
    """

    def __init__(self, asked: np.ndarray, squares: np.ndarray, k: int, measure: Measure) -> None:
        self._asked, self._squares, self._k, self._measure = asked, squares, k, measure
        # per rows looked among the numbers of those that were measured, and their squared distances
        self._measured: list[tuple[np.ndarray, np.ndarray]] = []
        # numbers of queries, of rows, and their products, which are to be measured
        self._others: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        # of the k least of these the largest stands last
        self._least_measured = np.full((len(asked), k), np.inf, np.float32)
        self.given_up = ~np.isfinite(squares)  # of what is not finite nothing is known

    def look_among(self, products: np.ndarray, start: int) -> None:
        """Measure the rows that seem nearest of some; keep others that may be as near as the nearest measured.

        Args:
            products: ``(m, w)`` float32 of folded queries and rows; overwritten.
            start: number of the first row.
        """
        width = products.shape[1]
        columns, _ = largest(products, min(self._k, width))
        np.put_along_axis(products, columns, np.float32(-np.inf), axis=1)
        rows = columns + start
        squared = self._measure(self._asked, rows)
        self._measured.append((rows, squared))
        known = np.concatenate([self._least_measured, squared], axis=1)
        self._least_measured = np.partition(known, self._k - 1, axis=1)[:, : self._k]
        near = products >= self._least(self._reach())[:, None]
        most = max(self._k, width // ONE_OF)
        if np.count_nonzero(near) > most * len(near):
            self.given_up |= near.sum(axis=1) > most
            near[self.given_up] = False
        flat = np.flatnonzero(near)
        self._others.append((flat // width, flat % width + start, products.ravel()[flat]))

    def nearest(self) -> np.ndarray:
        """``(m, k)`` int64, the numbers of the nearest rows, of equally near ones the first; in no order."""
        reach = self._reach()
        queries, rows, products = (np.concatenate(each) for each in zip(*self._others, strict=True))
        still = products >= self._least(reach)[queries]
        queries, rows = queries[still], rows[still]
        squared = np.empty(len(rows), np.float32)
        for some in range(0, len(rows), PAIRS):
            pairs = slice(some, some + PAIRS)
            squared[pairs] = self._measure(self._asked[queries[pairs]], rows[pairs, None])[:, 0]
        within = squared <= reach[queries]
        near, measured = (np.concatenate(each, axis=1) for each in zip(*self._measured, strict=True))
        known, place = np.nonzero(~(measured > reach[:, None]))  # with those that are no number: each has k
        queries = np.concatenate([known, queries[within]])
        rows = np.concatenate([near[known, place], rows[within]])
        squared = np.concatenate([measured[known, place], squared[within]])
        order = np.lexsort((rows, squared, queries))
        first = np.searchsorted(queries[order], np.arange(len(self._asked)))
        return rows[order][first[:, None] + np.arange(self._k)]

    def _reach(self) -> np.ndarray:
        """``(m,)`` float32, the squared distance of the k-th nearest row measured; infinite where fewer are."""
        return self._least_measured[:, -1]

    def _least(self, reach: np.ndarray) -> np.ndarray:
        """``(m,)`` float32, the least product of a folded row that may lie within reach; no product is -inf."""
        least = (self._squares - reach * (1 + 2 * LONGER) - TINY) / 2
        return np.where(self.given_up, np.float32(np.inf), np.maximum(least, np.finfo(np.float32).min))
