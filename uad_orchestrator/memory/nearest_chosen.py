"""Which rows of a coreset points are nearest to, learnt on the way of the search, which compares them all anyway.

The search compares points with a batch of new rows at a time and takes the least distance of each. The batches of a
point's least distances hold its nearest rows: these alone are looked for in them at the end.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from uad_orchestrator.memory.largest_products import largest
from uad_orchestrator.memory.products import products

KNOWN = 3
"""Nearest rows of each point at most: where one of them goes, the next is known."""

BLOCK = 2048
"""Points whose distances to a batch are held at once."""

NONE = -1
"""Stands for a row that is not known."""


class NearestChosen:
    """The batches in which the least distances of points lie.

    Args:
        points: ``(n, p)`` float32 whole numbers, of ``integer_points``.
        squares: ``(n,)`` of these.
        k: nearest rows of each that will be told.
    """

    def __init__(self, points: np.ndarray, squares: np.ndarray, k: int = KNOWN) -> None:
        self._points, self._squares, self._k = points, squares, k
        self._batches: list[np.ndarray] = []
        self._least = np.full((k, len(points)), np.inf, np.float32)
        self._batch_of = np.full((k, len(points)), NONE, np.int32)
        # in a batch that was passed over lies a row as near as the nearest of all
        self._tied = np.zeros(len(points), bool)

    def begin(self, picks: np.ndarray) -> int:
        """The number of a new batch: ``(c,)`` numbers of points that came into the coreset."""
        self._batches.append(picks)
        return len(self._batches) - 1

    def learn(self, batch: int, block: slice, squared: np.ndarray) -> None:
        """Take the least distances of a block of points from a batch's rows.

        Args:
            batch: of ``begin``.
            block: points.
            squared: ``(b,)`` float32.
        """
        farthest = self._least[-1, block]
        self._tied[block] |= (squared == farthest) & (squared == self._least[0, block])
        numbers = np.flatnonzero(squared < farthest)
        squared, numbers = squared[numbers], numbers + block.start
        self._tied[numbers] = False
        of = np.full(len(numbers), batch, np.int32)
        for least, batch_of in zip(self._least, self._batch_of, strict=True):
            known, known_of = least[numbers], batch_of[numbers]
            nearer = squared < known
            least[numbers], squared = np.where(nearer, squared, known), np.where(nearer, known, squared)
            batch_of[numbers], of = np.where(nearer, of, known_of), np.where(nearer, known_of, of)

    def rows(self) -> np.ndarray | None:
        """The nearest rows of each point; of those equally near the first.

        Returns:
            ``(n, k)`` int32 positions in the ascending coreset, the nearest first; ``NONE`` for points of which it
            cannot be told which is the first of equally near ones. None: nothing was compared.
        """
        if not self._batches:
            return None
        order = np.concatenate(self._batches)
        position = np.empty(len(order), np.int32)
        position[np.argsort(order)] = np.arange(len(order))
        positions = np.split(position, np.cumsum([len(picks) for picks in self._batches])[:-1])
        found = [self._nearest_in_batches(batch_of, positions) for batch_of in self._batch_of]
        rows, distances = (np.concatenate(each, axis=1) for each in zip(*found, strict=True))
        nearest = np.lexsort((rows, distances), axis=1)[:, : min(self._k, len(order))]
        rows = np.take_along_axis(rows, nearest, axis=1)
        rows[self._tied] = NONE
        return rows

    def _nearest_in_batches(
        self, batch_of: np.ndarray, positions: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """``(n, k)`` positions of the nearest rows in each point's batch, in no order, and how far they are."""
        rows = np.full((len(batch_of), self._k), NONE, np.int32)
        squared = np.full((len(batch_of), self._k), np.inf, np.float32)
        by_batch = np.argsort(batch_of, kind="stable")
        edges = np.searchsorted(batch_of[by_batch], np.arange(len(positions) + 1))
        for number, (start, stop) in enumerate(pairwise(edges)):
            ascending = np.argsort(positions[number])  # the first of equally near ones is found
            picks, place = self._batches[number][ascending], positions[number][ascending]
            half, k = self._squares[picks] / 2, min(self._k, len(picks))
            for at in range(start, stop, BLOCK):
                some = by_batch[at : min(at + BLOCK, stop)]
                columns, nearness = largest(products(self._points[some], self._points[picks].T) - half, k)
                rows[some, :k] = place[columns]
                squared[some, :k] = self._squares[some, None] - 2 * nearness
        return rows, squared
