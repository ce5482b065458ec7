"""Exact nearest neighbours in a memory bank, by squared Euclidean distance."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from uad_orchestrator.memory.device import on_device_or_cpu
from uad_orchestrator.memory.device_rows import DeviceRows
from uad_orchestrator.memory.folded_rows import FoldedRows, leading_directions
from uad_orchestrator.memory.largest_products import Parts, largest_products, with_spare
from uad_orchestrator.memory.products import (
    Multiply,
    multiply_with_numpy,
    multiply_with_torch,
    torch_multiplies,
)

Backend = Literal["auto", "numpy", "torch", "faiss"]


class WrongDimension(ValueError):
    """Queries that are of another dimension than the bank."""


DIFFERENCE_VALUES = 32_768
"""Differences held at once on the CPU: 128 kB, in a core's cache."""


SMALL = 10_000_000
"""Multiplications up to which a search is too short for threads."""

WORTH_FOLDING = 350_000
"""Values of a bank, rows times dimension, from which on folded rows save more than their bookkeeping takes."""

FEW_NEIGHBOURS = 5
"""Neighbours up to which folded rows are faster; of more, too many rows remain to be measured."""

DIRECTIONS = 16
"""Multiplications that it takes to find a bank's directions, of its dimension to the third power."""


def choose_backend(rows: int, queries: int, dimension: int, k: int) -> Backend:
    """What searches fastest on the CPU: torch where it is loaded, but for small searches, else NumPy.

    Of one core, NumPy and torch take the same time (27 to 1,536 dimensions, 50 to 50,000 rows, k 1 to 9: torch .7 to
    1.2 of NumPy's, in small searches 1.3), faiss 1.5 to 6 times that. But where torch is loaded it has just run the
    network, and its threads wait busily for more: of 1,024 queries in 1,000 x 27, 1 ms alone, NumPy then took 8 and
    delayed the next convolution from 24 to 41 ms. ``python -m benchmarks search`` prints the table.

    Args:
        rows: of the bank.
        queries: asked at once.
        dimension: of the embeddings.
        k: neighbours; they are found alike whatever multiplies.

    Returns:
        ``numpy``, or ``torch``, to be taken where it is loaded anyway; never ``faiss``.

    >>> choose_backend(50, 1024, 27, 1), choose_backend(10_000, 1024, 384, 1)
    ('numpy', 'torch')
    """
    return "numpy" if rows * queries * dimension <= SMALL else "torch"


class NearestNeighbors:
    """Exact search in a bank.

    Neighbours are found by matrix products, in blocks. The expanded square loses digits where vectors are long and
    close: bank and queries are therefore taken from the bank's median, one neighbour more than asked for is found, and
    the distances returned are computed once more from the differences. So all backends and devices agree, and a row's
    distance to itself is 0. Of rows equally near the first is taken.

    On the CPU a large bank is folded once so much was asked for that it pays (``folded_rows``): from then on most rows
    are passed over by a few of their coordinates, and the same neighbours are found in a third to a half of the time.

    On a device the rows are sent there once, and all of a search runs there, in float32; where its memory does not
    suffice, the search goes on on the CPU, and a warning says so.

    Args:
        bank: ``(n, d)`` float32, C-contiguous (else copied); never changed.
        backend: what finds the neighbours on the CPU: ``numpy``, ``torch``, ``faiss``, or ``auto``, the fastest by
            ``choose_backend``; torch only where it is loaded already.
        device: ``cpu``, or one of torch's.

    >>> bank = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], np.float32)
    >>> squared, index = NearestNeighbors(bank).search(np.zeros((1, 2), np.float32), k=2)
    >>> squared.tolist(), index.tolist()
    ([[0.0, 25.0]], [[0, 1]])
    """

    def __init__(self, bank: np.ndarray, backend: Backend = "auto", device: str = "cpu") -> None:
        self.bank = np.ascontiguousarray(bank, dtype=np.float32)
        if self.bank.ndim != 2 or not len(self.bank):
            raise ValueError(f"a bank is (n, d) with n > 0, not {self.bank.shape}")
        if backend == "faiss" and importlib.util.find_spec("faiss") is None:
            raise ImportError("faiss is not installed: pip install 'uad_orchestrator[faiss]'")
        self.backend = backend
        self._folded: FoldedRows | None = None
        self._tried_to_fold, self._multiplied = False, 0
        # the median of some rows will do, and a far outlier does not move it
        self.centre = np.median(self.bank[:: max(1, len(self.bank) // 1000)], axis=0).astype(np.float32)
        self._there: DeviceRows | None = on_device_or_cpu(
            device,
            "a memory bank",
            lambda: DeviceRows(self.bank, self.centre, device),
            lambda: None,
        )

    @property
    def device(self) -> str:
        """Where it searches: ``cpu`` also after a device has run out of memory."""
        return "cpu" if self._there is None else self._there.device

    def search(self, queries: Any, k: int = 1, exclude: slice | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest bank rows of each query.

        Args:
            queries: ``(m, d)`` float32 array, or what ``on_device`` made of one.
            k: how many; at most the rows searched.
            exclude: bank rows ``[start, stop)`` that are passed over: those of the image being scored.

        Returns:
            squared distances ``(m, k)`` float32, ascending, and bank row numbers ``(m, k)`` int64.

        Raises:
            ValueError: another dimension than the bank's, or fewer than k rows left to search.
        """
        return self.search_each(queries, [(len(queries), exclude)], k)

    def search_each(
        self, queries: Any, images: Sequence[tuple[int, slice | None]], k: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """``search`` for the patches of several images, each passing over rows of its own; on a device all at once.

        Args:
            queries: ``(m, d)`` float32 or float16 array, or what ``on_device`` made of one: image by image.
            images: of each how many of the queries are its own, and the bank rows that they pass over.
            k: how many neighbours; at most the rows that each image searches.

        Returns:
            As ``search``, for all of the queries.

        Raises:
            ValueError: as ``search``.
        """
        if isinstance(queries, (list, np.ndarray)):
            queries = np.asarray(queries)
        if queries.ndim != 2 or queries.shape[1] != self.bank.shape[1]:
            raise WrongDimension(
                f"queries of shape {tuple(queries.shape)} do not fit a bank of dimension {self.bank.shape[1]}"
            )
        parts = [self._searched(exclude) for _, exclude in images]
        for searched in parts:
            left = sum(stop - start for start, stop in searched)
            if not 1 <= k <= left:
                raise ValueError(
                    f"{k} neighbours asked for, but {left} of the bank's {len(self.bank)} rows are searched"
                )
        ends = np.cumsum([count for count, _ in images]).tolist()
        own = [slice(end - count, end) for (count, _), end in zip(images, ends, strict=True)]
        there = self._there
        if there is None:
            return self._search_on_cpu(queries, own, k, parts)
        passed_over = [
            (rows, slice(*exclude.indices(len(self.bank))[:2]))
            for rows, (_, exclude) in zip(own, images, strict=True)
            if exclude is not None
        ]
        return on_device_or_cpu(
            self.device,
            "search in a memory bank",
            lambda: there.search(queries, k, passed_over),
            lambda: self._search_on_cpu_from_now_on(queries, own, k, parts),
        )

    def distances(self, queries: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Squared distances taken on the CPU, wherever the search runs: the same to the last digit.

        Args:
            queries: ``(m, d)`` float32.
            index: ``(m, k)`` bank row numbers, as ``search`` gave them.

        Returns:
            ``(m, k)`` float32.
        """
        return self._squared(self._centred(np.asarray(queries, np.float32)), index)

    def nearest_of(self, queries: np.ndarray, index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of some rows for each query; searched on the CPU.

        Args:
            queries: ``(m, d)`` float32.
            index: ``(m, k or more)`` numbers of those rows.
            k: how many.

        Returns:
            As ``search``.
        """
        return self._nearest(self._centred(queries), index, k)

    def _searched(self, exclude: slice | None) -> Parts:
        if exclude is None:
            return [(0, len(self.bank))]
        start, stop, _ = exclude.indices(len(self.bank))
        return [(a, b) for a, b in ((0, start), (max(start, stop), len(self.bank))) if a < b]

    def _search_on_cpu_from_now_on(
        self, queries: Any, own: list[slice], k: int, parts: list[Parts]
    ) -> tuple[np.ndarray, np.ndarray]:
        self._there = None
        return self._search_on_cpu(queries, own, k, parts)

    def _search_on_cpu(
        self, queries: Any, own: list[slice], k: int, parts: list[Parts]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image by image: what lies between two steps stays small."""
        asked = self._centred(queries if isinstance(queries, np.ndarray) else queries.cpu().numpy())
        found = [
            self._nearest(asked[rows], self._candidates(asked[rows], k, searched), k)
            for rows, searched in zip(own, parts, strict=True)
        ]
        if len(found) == 1:
            return found[0]
        squared, index = zip(*found, strict=True)
        return np.concatenate(squared), np.concatenate(index)

    def _centred(self, queries: np.ndarray) -> np.ndarray:
        """``(m, d + 1)`` queries taken from the centre, and a 1."""
        count, dimension = queries.shape
        asked = np.empty((count, dimension + 1), np.float32)
        np.subtract(queries, self.centre, out=asked[:, :dimension], casting="same_kind")
        asked[:, dimension] = 1
        return asked

    @cached_property
    def _rows(self) -> np.ndarray:
        """``(n, d + 1)`` the rows taken from the centre, and minus half their squares.

        The product with a query and a 1 is largest where the query is nearest: |q - b|^2 = |q|^2 - 2 (q.b - |b|^2 / 2).
        """
        count, dimension = self.bank.shape
        rows = np.empty((count, dimension + 1), np.float32)
        centred = np.subtract(self.bank, self.centre, out=rows[:, :dimension])
        np.einsum("nd,nd->n", centred, centred, out=rows[:, dimension])
        rows[:, dimension] *= -0.5
        return rows

    def _candidates(self, asked: np.ndarray, k: int, parts: Parts) -> np.ndarray:
        """``(m, k or more)`` numbers of rows, the k nearest among them, in no order.

        Args:
            asked: ``(m, d + 1)`` queries taken from the centre, and a 1.
        """
        backend = self.backend
        if backend == "auto":
            backend = choose_backend(len(self.bank), len(asked), asked.shape[1] - 1, k)
            backend = backend if torch_multiplies() else "numpy"
        wanted = with_spare(k, parts)
        if backend == "faiss":
            near = [self._find_faiss(asked, min(wanted, stop - start), start, stop) for start, stop in parts]
            return np.concatenate(near, axis=1)
        multiply = multiply_with_torch if backend == "torch" else multiply_with_numpy
        folded = self._folded_rows(len(asked), k, multiply)
        if folded is None:
            return largest_products(asked, self._rows, wanted, parts, multiply)
        found, unknown = folded.nearest(asked, k, parts, multiply, self._squared)
        if len(unknown):
            every = largest_products(asked[unknown], self._rows, wanted, parts, multiply)
            found[unknown] = self._nearest(asked[unknown], every, k)[1]
        return found

    def _folded_rows(self, queries: int, k: int, multiply: Multiply) -> FoldedRows | None:
        """The rows folded, once so much is asked for that it pays; None before, and where it never does."""
        if self.bank.size < WORTH_FOLDING or k > FEW_NEIGHBOURS:
            return None
        if not self._tried_to_fold:
            dimension = self.bank.shape[1]
            self._multiplied += queries * self.bank.size
            if self._multiplied < DIRECTIONS * dimension**3 + self.bank.size * dimension // 2:
                return None
            directions = leading_directions(self._rows)
            if directions is not None:
                self._folded = FoldedRows(self._rows, directions, multiply)
            self._tried_to_fold = True
        return self._folded

    def _find_faiss(self, asked: np.ndarray, k: int, start: int, stop: int) -> np.ndarray:
        import faiss

        _, index = faiss.knn(asked[:, :-1], self._rows[start:stop, :-1], k)
        return index + start

    def _nearest(self, asked: np.ndarray, index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of the candidates ``index``, by their differences from ``asked``."""
        index = np.sort(index, axis=1)  # of rows equally near the first
        squared = self._squared(asked, index)
        order = np.argsort(squared, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(squared, order, axis=1), np.take_along_axis(index, order, axis=1)

    def _squared(self, asked: np.ndarray, index: np.ndarray) -> np.ndarray:
        squared = np.empty(index.shape, np.float32)
        height = max(1, DIFFERENCE_VALUES // asked.shape[1])
        for start in range(0, len(asked), height):
            block = slice(start, start + height)
            for column in range(index.shape[1]):
                difference = self._rows[index[block, column]]
                np.subtract(asked[block], difference, out=difference)
                difference = difference[:, :-1]
                np.einsum("md,md->m", difference, difference, out=squared[block, column])
        return squared
