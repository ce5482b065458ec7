"""A bank's rows in a few dimensions, where most of them are seen to be too far away to be a query's nearest.

A row is folded: its coordinates in the few directions in which most of the bank's variance lies, and the length of what
is left of it as one coordinate more. No two folded rows lie farther apart than the rows do. So a row whose folded
distance from a query is larger than the full distance of some other cannot be the nearest. All rows are folded into few
dimensions and compared with the query by matrix products; those that remain are compared in some more dimensions, one
by one; and of the few that still remain the full distances are taken. What is found is what a search in all dimensions
finds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from uad_orchestrator.memory.largest_products import QUERIES, Parts, largest, tiles
from uad_orchestrator.memory.products import Multiply

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From ``(m, d + 1)`` queries and ``(m, k)`` row numbers to squared distances, taken from the differences."""

NARROW, WIDE = 0.85, 0.95
"""Shares of the bank's variance, about its centre, that the first directions hold, and all of them. Of patches of
networks that takes a sixth and a third of the dimensions; of a thousand rows five remain, and then not one."""

FEWEST = 8
"""First directions that there are at least: products of fewer take as long."""

SAMPLE = 2048
"""So many rows the directions are taken from, or up to twice as many."""

WIDTH = 2048
"""Rows compared with at once: their products with a block of queries stay in the cache."""

ONE_OF = 16
"""Where more than one row of so many remains, it is faster to compare the query with all rows in all dimensions."""

PAIRS = 1024
"""Queries and rows that remain for them, measured at once."""

LONGER = 2.0**-8
"""A squared distance is taken for so much longer than it is, lest folded ones be longer by rounding."""

TINY = 2.0**-110
"""And for so much: float32 has fewer digits of what the bounds are made of where they are about as small."""


class Directions(NamedTuple):
    """The directions that vectors are folded in.

    Attributes:
        all: ``(w, d)`` float32, orthonormal, those of most variance first.
        first: how many of them the narrow folds have.
    """

    all: np.ndarray
    first: int


class _Folded(NamedTuple):
    """Vectors in few dimensions, and in some more.

    Attributes:
        narrow: ``(m, first + 2)`` float32: coordinates, the length of what is left, and a column to be filled.
        squares: ``(m,)`` float32 of the vectors, less what rounding may make of them and of their narrow folds.
        wide: ``(m, w + 1)`` float32: coordinates in all directions, the length of what is left.
        off: ``(m,)`` float32, what rounding may make of a squared distance between wide folds.
    """

    narrow: np.ndarray
    squares: np.ndarray
    wide: np.ndarray
    off: np.ndarray


class FoldedRows:
    """The exact search by way of folded rows.

    Args:
        rows: ``(n, d + 1)`` float32, the bank's taken from its centre; the last column does not matter.
        directions: of ``leading_directions``.
        multiply: with what.
    """

    def __init__(self, rows: np.ndarray, directions: Directions, multiply: Multiply) -> None:
        self._directions, self._first = np.pad(directions.all, ((0, 0), (0, 1))), directions.first
        self._rows = self._fold(rows, multiply)
        self._rows.narrow[:, -1] = self._rows.squares / -2

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
            folded = self._fold(queries, multiply)
            folded.narrow[:, -1] = 1
            remaining = _Remaining(queries, folded, self._rows, k, measure)
            for start, stop in searched:
                products = room[: len(queries) * (stop - start)].reshape(len(queries), stop - start)
                multiply(folded.narrow, self._rows.narrow[start:stop], products)
                remaining.look_among(products, start)
            found[at : at + QUERIES] = remaining.nearest()
            unknown.append(at + np.flatnonzero(remaining.given_up))
        return found, np.concatenate(unknown)

    @np.errstate(over="ignore", invalid="ignore")  # queries that are not finite are given up
    def _fold(self, vectors: np.ndarray, multiply: Multiply) -> _Folded:
        count, dimension = len(self._directions), self._directions.shape[1] - 1
        wide = np.empty((len(vectors), count + 1), np.float32)
        leading = np.empty((len(vectors), count), np.float32)
        multiply(vectors, self._directions, leading)
        wide[:, :count] = leading
        narrow = np.empty((len(vectors), self._first + 2), np.float32)
        narrow[:, : self._first] = leading[:, : self._first]
        squares = np.einsum("md,md->m", vectors[:, :dimension], vectors[:, :dimension])
        off = []
        for folded, held in ((narrow, self._first), (wide, count)):
            rest = squares - np.einsum("mp,mp->m", leading[:, :held], leading[:, :held])
            folded[:, held] = np.sqrt(np.maximum(rest, 0))
            off.append(_off(squares, rest, dimension))
        return _Folded(narrow, squares - off[0], wide, off[1])


def _off(squares: np.ndarray, rest: np.ndarray, dimension: int) -> np.ndarray:
    """``(m,)`` what rounding may make of squared distances of folded vectors: each vector's part.

    Folded vectors, and products of them, are off by less than ``rounding`` times the vectors' lengths; what is left is
    off by more, where that is little. Of (a + b)^2 <= (1 + LONGER) a^2 + (1 + 1 / LONGER) b^2 the first is a distance,
    the second what both are off by.
    """
    rounding = dimension * 2.0**-24
    off = 2 * rounding * squares
    of_rest = off * (off / np.maximum(np.maximum(rest, off), np.finfo(np.float32).tiny))
    of_all = rounding**2 * squares + of_rest
    return np.asarray(3 * rounding * squares + 4 * (1 + 1 / LONGER) * of_all)


def leading_directions(rows: np.ndarray) -> Directions | None:
    """The directions in which most of a bank's variance lies.

    Args:
        rows: ``(n, d + 1)`` float32, the bank's taken from its centre, and minus half their squares.

    Returns:
        The directions; None where more than half of the dimensions would be compared by products, where no row differs
        from the centre, and where values are not finite, or too large to be squared.
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
    first, count = (1 + int(np.searchsorted(held, share * held[-1])) for share in (NARROW, WIDE))
    half = len(moment) // 2
    if first > half:
        return None
    first = min(max(first, FEWEST), half)
    count = min(max(count, 2 * first), len(moment))
    return Directions(directions[:, : -count - 1 : -1].T.astype(np.float32), first)


class _Remaining:
    """The rows that may still be among the nearest of a few queries.

    Args:
        asked: ``(m, d + 1)`` queries taken from the centre, and a 1.
        folded: these.
        bank: the folded rows.
        k: how many nearest are looked for.
        measure: takes distances in all dimensions.

    Attributes:
        given_up: ``(m,)`` bool, the queries of which too many rows remain, or that are not finite.
    """

    def __init__(self, asked: np.ndarray, folded: _Folded, bank: _Folded, k: int, measure: Measure) -> None:
        self._asked, self._folded, self._bank, self._k, self._measure = asked, folded, bank, k, measure
        # per rows looked among the numbers of those that were measured, and their squared distances
        self._measured: list[tuple[np.ndarray, np.ndarray]] = []
        # numbers of queries, of rows, and their products, which are to be measured
        self._others: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        # of the k least of these the largest stands last
        self._least_measured = np.full((len(asked), k), np.inf, np.float32)
        self.given_up = ~np.isfinite(folded.squares)  # of what is not finite nothing is known

    def look_among(self, products: np.ndarray, start: int) -> None:
        """Measure the rows that seem nearest of some, if they may be nearer; keep others that may be, too.

        Args:
            products: ``(m, w)`` float32 of folded queries and rows; overwritten.
            start: number of the first row.
        """
        width, k = products.shape[1], min(self._k, products.shape[1])
        columns, found = largest(products, k)
        np.put_along_axis(products, columns, np.float32(-np.inf), axis=1)
        rows, squared = columns + start, np.full(columns.shape, np.inf, np.float32)
        nearer = np.flatnonzero(found.max(axis=1) >= self._least(self._reach()))
        squared[nearer] = self._measure(self._asked[nearer], rows[nearer])
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
        queries, rows = self._near_in_more_dimensions(queries[still], rows[still], reach)
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

    def _near_in_more_dimensions(
        self, queries: np.ndarray, rows: np.ndarray, reach: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Those pairs of queries and rows that may still lie within reach."""
        squared = np.empty(len(rows), np.float32)
        for some in range(0, len(rows), PAIRS):
            pairs = slice(some, some + PAIRS)
            difference = self._bank.wide[rows[pairs]]
            np.subtract(self._folded.wide[queries[pairs]], difference, out=difference)
            np.einsum("mp,mp->m", difference, difference, out=squared[pairs])
        off = self._folded.off[queries] + self._bank.off[rows]
        near = squared - off <= (reach * (1 + 2 * LONGER) + TINY)[queries]
        return queries[near], rows[near]

    def _reach(self) -> np.ndarray:
        """``(m,)`` float32, the squared distance of the k-th nearest row measured; infinite where fewer are."""
        return self._least_measured[:, -1]

    def _least(self, reach: np.ndarray) -> np.ndarray:
        """``(m,)`` float32, the least product of a folded row that may lie within reach; no product is -inf."""
        least = (self._folded.squares - reach * (1 + 2 * LONGER) - TINY) / 2
        return np.where(self.given_up, np.float32(np.inf), np.maximum(least, np.finfo(np.float32).min))
