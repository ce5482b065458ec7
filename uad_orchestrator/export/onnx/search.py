"""Nearest neighbours in the memory bank as tensor operations, as ``memory.nearest`` finds them.

Neighbours are found by matrix products of values taken from the bank's median, some more than asked for, and their
distances are computed once more from the differences: the expanded square loses digits of long vectors that are close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.embedders.protocol import LARGEST_FLOAT16, Precision
from uad_orchestrator.memory.largest_products import with_spare
from uad_orchestrator.memory.nearest import NearestNeighbors

BLOCK_ROWS = 1 << 14
"""Bank rows that patches are multiplied with at once: 64 MB of products for 1,024 patches."""


@dataclass(frozen=True)
class Bank:
    """A memory bank, ready to be searched.

    Attributes:
        centre: ``(d,)`` float32, what rows and patches are taken from.
        rows: ``(n, d)`` float32, taken from it.
        minus_half_squares: ``(n,)`` float32, of the rows.
        count: n, as a number: the sizes of tensors are values of the graph while it is traced.
    """

    centre: Any
    rows: Any
    minus_half_squares: Any
    count: int

    @classmethod
    def of(cls, state: DetectorState) -> Bank:
        """The bank of a state."""
        import torch

        rows = np.asarray(state.arrays["bank"], np.float32)
        centre = NearestNeighbors(rows).centre
        taken = torch.from_numpy(rows - centre)
        return cls(torch.from_numpy(centre), taken, taken.square().sum(dim=1) * -0.5, len(rows))

    def nearest(self, centred: Any, k: int) -> tuple[Any, Any]:
        """The k nearest rows of each patch.

        Args:
            centred: ``(m, d)``, taken from the centre.
            k: how many; at most the rows there are.

        Returns:
            ``(m, k)`` squared distances, ascending, and row numbers.
        """
        import torch

        wanted = with_spare(k, [(0, self.count)])
        closeness, rows = [], []
        for start in range(0, self.count, BLOCK_ROWS):
            end = min(start + BLOCK_ROWS, self.count)
            products = centred @ self.rows[start:end].T + self.minus_half_squares[start:end]
            found = products.topk(min(wanted, end - start), dim=1)
            closeness.append(found.values)
            rows.append(found.indices + start)
        index = torch.cat(rows, dim=1)
        if len(rows) > 1:
            index = index.gather(1, torch.cat(closeness, dim=1).topk(wanted, dim=1).indices)
        squared = torch.stack(
            [(centred - self.rows[index[:, column]]).square().sum(dim=1) for column in range(wanted)], dim=1
        )
        nearest = squared.topk(k, dim=1, largest=False)
        return nearest.values, index.gather(1, nearest.indices)


def rounded(patches: Any, precision: Precision) -> Any:
    """Patch embeddings rounded as they are before they are compared; not those of an image that float16 cannot hold."""
    import torch

    if precision == "float32":
        return patches
    return torch.where(patches.abs().amax() < LARGEST_FLOAT16, patches.half().float(), patches)


def unit_rows(patches: Any) -> Any:
    """Rows brought to length 1; an all-zero row stays."""
    import torch

    lengths = patches.square().sum(dim=1, keepdim=True).sqrt()
    return patches / torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def reweighting(bank: Bank, patch: Any, match: Any, neighbors: int) -> Any:
    """``detectors.bank.patchcore.reweighting``: equation 7 of PatchCore.

    Args:
        bank: as searched.
        patch: ``(1, d)`` the patch with the largest score, taken from the centre.
        match: ``(1,)`` the row nearest to it.
        neighbors: rows around the match that count.

    Returns:
        ``(1,)`` the factor of the image score.
    """
    import torch

    _, around = bank.nearest(bank.rows[match], min(neighbors, bank.count))
    support = torch.cat([around[0], match])
    # the match once: of rows that are all alike it need not be among those found
    alone = (around[0] != match).float().amin(dim=0, keepdim=True)
    counted = torch.cat([torch.ones(around.shape[1]), alone])
    distances = (bank.rows[support] - patch).square().sum(dim=1).sqrt()
    largest = distances.amax()
    shares = torch.exp(distances - largest)
    return 1 - shares[-1:] / (shares * counted).sum(dim=0, keepdim=True)
