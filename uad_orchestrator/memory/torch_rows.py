"""A memory bank's rows as torch tensors, and the search in them: on a device, or on the CPU where torch is faster."""

from __future__ import annotations

from typing import Any

import numpy as np

from uad_orchestrator.memory.device import free_values, in_blocks, to_tensor

Parts = list[tuple[int, int]]
"""The rows that are searched: ``[start, stop)``, ascending."""


class TorchRows:
    """Rows among which the nearest are found by matrix products.

    Args:
        rows: ``(n, d)`` float32 tensor, where the search is to run; taken from the centre.
        centre: ``(d,)`` float32 tensor there.
        device: where that is, as torch names it.
        block_values: products that are held at once.
    """

    def __init__(self, rows: Any, centre: Any, device: str, block_values: int) -> None:
        import torch

        self.device = device
        self.rows = rows
        self.centre = centre
        self._minus_half_squares = torch.linalg.vector_norm(rows, dim=1).square_().mul_(-0.5)
        self._block_values = block_values

    @classmethod
    def sent_to(cls, device: str, bank: np.ndarray, centre: np.ndarray) -> TorchRows:
        """A bank's rows, sent to a device and taken from its centre there.

        Raises:
            torch.OutOfMemoryError: they do not fit.
        """
        at = to_tensor(centre, device)
        return cls(to_tensor(bank, device) - at, at, device, free_values(device))

    def candidates(self, queries: Any, k: int, parts: Parts) -> Any:
        """``(m, k)`` int64 tensor: the k nearest rows, by the expanded square, in no order.

        Args:
            queries: ``(m, d)`` float32 tensor where the rows are, taken from the same centre.
            k: how many; at most the rows searched.
            parts: the rows searched.
        """
        import torch

        found = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
        minus_half_squares = self._of_parts(parts)

        def find(block: slice) -> None:
            # |q - b|^2 is least where q.b - |b|^2 / 2 is largest
            closeness = torch.addmm(minus_half_squares, queries[block], self.rows.T)
            if k == 1:
                found[block] = closeness.argmax(dim=1, keepdim=True)
            else:
                found[block] = closeness.topk(k, dim=1, sorted=False).indices

        in_blocks(len(queries), max(1, self._block_values // len(self.rows)), find)
        return found

    def search(self, queries: Any, k: int, parts: Parts) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows, their distances taken once more from the differences.

        Args:
            queries: ``(m, d)`` float32, an array or a tensor where the rows are; not taken from the centre.
            k: how many; at most the rows searched.
            parts: the rows searched.

        Returns:
            squared distances ``(m, k)`` float32, ascending, and row numbers ``(m, k)`` int64.

        Raises:
            torch.OutOfMemoryError: not even one query fits.
        """
        import torch

        queries = to_tensor(queries, self.device) if isinstance(queries, np.ndarray) else queries
        queries = queries - self.centre
        index = self.candidates(queries, k, parts)
        squared = torch.empty(index.shape, dtype=torch.float32, device=queries.device)

        def measure(block: slice) -> None:
            difference = queries[block, None] - self.rows[index[block]]
            squared[block] = difference.square_().sum(dim=2)

        in_blocks(len(queries), max(1, self._block_values // (k * self.rows.shape[1])), measure)
        squared, order = squared.sort(dim=1, stable=True)
        return squared.cpu().numpy(), index.gather(1, order).cpu().numpy()

    def _of_parts(self, parts: Parts) -> Any:
        """Minus half the squares of the rows' lengths; minus infinity where a row is not searched."""
        import torch

        if parts == [(0, len(self.rows))]:
            return self._minus_half_squares
        masked = torch.full_like(self._minus_half_squares, -torch.inf)
        for start, stop in parts:
            masked[start:stop] = self._minus_half_squares[start:stop]
        return masked
