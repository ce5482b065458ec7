"""A memory bank's rows on a device, and the search in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from uad_orchestrator.memory.device import free_values, in_blocks, to_tensor
from uad_orchestrator.memory.largest_products import FEW, with_spare

PassedOver = list[tuple[slice, slice]]
"""Queries, and the rows that these do not search."""


class DeviceRows:
    """Rows among which the nearest are found by matrix products, with torch.

    Args:
        bank: ``(n, d)`` float32.
        centre: ``(d,)`` float32, from which rows and queries are taken.
        device: one of torch's.

    Raises:
        torch.OutOfMemoryError: they do not fit.
    """

    def __init__(self, bank: np.ndarray, centre: np.ndarray, device: str) -> None:
        import torch

        self.device = device
        self._centre = to_tensor(centre, device)
        self._rows = to_tensor(bank, device) - self._centre
        self._minus_half_squares = torch.linalg.vector_norm(self._rows, dim=1).square_().mul_(-0.5)
        self._block_values = free_values(device)

    def search(self, queries: Any, k: int, passed_over: PassedOver) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows, their distances taken once more from the differences.

        Args:
            queries: ``(m, d)`` float32 or float16, an array or a tensor where the rows are; not taken from the centre.
            k: how many; at most the rows that each query searches.
            passed_over: rows that some of the queries do not search.

        Returns:
            squared distances ``(m, k)`` float32, ascending, and row numbers ``(m, k)`` int64.

        Raises:
            torch.OutOfMemoryError: not even one query fits.
        """
        import torch

        queries = to_tensor(queries, self.device) if isinstance(queries, np.ndarray) else queries
        queries = queries.float() - self._centre
        candidates = with_spare(k, [(0, len(self._rows))])
        index = self._candidates(queries, candidates, passed_over).sort(dim=1).values
        squared = torch.empty(index.shape, dtype=torch.float32, device=queries.device)

        def measure(block: slice) -> None:
            difference = queries[block, None] - self._rows[index[block]]
            squared[block] = difference.square_().sum(dim=2)

        in_blocks(len(queries), max(1, self._block_values // (index.shape[1] * self._rows.shape[1])), measure)
        for own, rows in passed_over:
            # where hardly any others are left, they are found, or one of the others twice
            found = index[own]
            beside = (found >= rows.start) & (found < rows.stop)
            beside[:, 1:] |= found[:, 1:] == found[:, :-1]
            squared[own] = squared[own].masked_fill_(beside, torch.inf)
        squared, order = squared.sort(dim=1, stable=True)
        return squared[:, :k].cpu().numpy(), index.gather(1, order[:, :k]).cpu().numpy()

    def _candidates(self, queries: Any, k: int, passed_over: PassedOver) -> Any:
        """``(m, k)`` int64 tensor: the k nearest rows of centred queries, by the expanded square, in no order."""
        import torch

        found = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)

        def find(block: slice) -> None:
            # |q - b|^2 is least where q.b - |b|^2 / 2 is largest
            closeness = torch.addmm(self._minus_half_squares, queries[block], self._rows.T)
            for own, rows in passed_over:
                first, end = max(own.start, block.start), min(own.stop, block.stop)
                if first < end:
                    closeness[first - block.start : end - block.start, rows] = -torch.inf
            if k > FEW:
                found[block] = closeness.topk(k, dim=1, sorted=False).indices
                return
            for column in range(k):  # faster than topk, which sorts
                row = closeness.argmax(dim=1, keepdim=True)
                found[block, column] = row[:, 0]
                closeness.scatter_(1, row, -torch.inf)

        in_blocks(len(queries), max(1, self._block_values // len(self._rows)), find)
        return found
