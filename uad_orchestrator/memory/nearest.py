"""Exact nearest neighbours in a memory bank, by squared Euclidean distance."""

from __future__ import annotations

import importlib.util
from typing import Literal

import numpy as np

Backend = Literal["auto", "faiss", "numpy"]

BLOCK_VALUES = 8_000_000
"""Distances held at once by the numpy search: 32 MB, however large the bank."""


class NearestNeighbors:
    """Exact search in a bank.

    faiss where it is installed, else matrix products in blocks. Both find the neighbours by the expanded
    square, which loses digits where vectors are long and close: bank and queries are therefore taken from the
    bank's median, and the distances returned are computed once more from the differences. So both agree, and a
    row's distance to itself is 0.

    Args:
        bank: ``(n, d)`` float32, C-contiguous (else copied); never changed.
        backend: ``auto``, ``faiss`` or ``numpy``.

    >>> bank = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], np.float32)
    >>> squared, index = NearestNeighbors(bank).search(np.zeros((1, 2), np.float32), k=2)
    >>> squared.tolist(), index.tolist()
    ([[0.0, 25.0]], [[0, 1]])
    """

    def __init__(self, bank: np.ndarray, backend: Backend = "auto") -> None:
        self.bank = np.ascontiguousarray(bank, dtype=np.float32)
        if self.bank.ndim != 2 or not len(self.bank):
            raise ValueError(f"a bank is (n, d) with n > 0, not {self.bank.shape}")
        has_faiss = importlib.util.find_spec("faiss") is not None
        if backend == "faiss" and not has_faiss:
            raise ImportError("faiss is not installed: pip install 'uad_orchestrator[faiss]'")
        self.backend = ("faiss" if has_faiss else "numpy") if backend == "auto" else backend
        # the median of some rows will do, and a far outlier does not move it
        self._centre = np.median(self.bank[:: max(1, len(self.bank) // 1000)], axis=0).astype(np.float32)
        self._rows = self.bank - self._centre
        self._half_norms = np.einsum("nd,nd->n", self._rows, self._rows) / 2

    def search(
        self, queries: np.ndarray, k: int = 1, exclude: slice | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest bank rows of each query.

        Args:
            queries: ``(m, d)`` float32.
            k: how many; at most the rows searched.
            exclude: bank rows ``[start, stop)`` that are passed over: those of the image being scored.

        Returns:
            squared distances ``(m, k)`` float32, ascending, and bank row numbers ``(m, k)`` int64.

        Raises:
            ValueError: another dimension than the bank's, or fewer than k rows left to search.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.bank.shape[1]:
            raise ValueError(
                f"queries of shape {queries.shape} do not fit a bank of dimension {self.bank.shape[1]}"
            )
        parts = self._searched(exclude)
        left = sum(stop - start for start, stop in parts)
        if not 1 <= k <= left:
            raise ValueError(
                f"{k} neighbours asked for, but {left} of the bank's {len(self.bank)} rows are searched"
            )
        queries = queries - self._centre
        return self._nearest(queries, self._candidates(queries, k, parts), k)

    def _candidates(self, queries: np.ndarray, k: int, parts: list[tuple[int, int]]) -> np.ndarray:
        """``(m, k or more)`` numbers of rows among which the k nearest are."""
        find = self._find_faiss if self.backend == "faiss" else self._find_numpy
        found = [find(queries, min(k, stop - start), start, stop) for start, stop in parts]
        return np.concatenate(found, axis=1)

    def _searched(self, exclude: slice | None) -> list[tuple[int, int]]:
        if exclude is None:
            return [(0, len(self.bank))]
        start, stop, _ = exclude.indices(len(self.bank))
        return [(a, b) for a, b in ((0, start), (max(start, stop), len(self.bank))) if a < b]

    def _find_faiss(self, queries: np.ndarray, k: int, start: int, stop: int) -> np.ndarray:
        import faiss

        _, index = faiss.knn(queries, self._rows[start:stop], k)
        return index + start

    def _find_numpy(self, queries: np.ndarray, k: int, start: int, stop: int) -> np.ndarray:
        found = np.empty((len(queries), k), np.int64)
        rows = max(1, BLOCK_VALUES // (stop - start))
        for at in range(0, len(queries), rows):
            # |q - b|^2 = |q|^2 + 2 (|b|^2 / 2 - q.b); |q|^2 is the same for every b
            block = queries[at : at + rows] @ self._rows[start:stop].T
            np.subtract(self._half_norms[start:stop], block, out=block)
            if k == 1:
                found[at : at + rows, 0] = block.argmin(axis=1)
            else:
                found[at : at + rows] = np.argpartition(block, k - 1, axis=1)[:, :k]
        return found + start

    def _nearest(self, queries: np.ndarray, index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        squared = np.empty(index.shape, np.float32)
        for column in range(index.shape[1]):
            difference = queries - self._rows[index[:, column]]
            squared[:, column] = np.einsum("md,md->m", difference, difference)
        order = np.argsort(squared, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(squared, order, axis=1), np.take_along_axis(index, order, axis=1)
