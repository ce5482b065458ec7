"""PatchCore's neighbourhood and channel pooling as one convolution per layer (arXiv 2106.08265, section 3.1).

The official code takes each location's 3 x 3 neighbourhood (zero padding), pools its C * 9 values to
``dimension`` with ``adaptive_avg_pool1d``, stacks the layers and pools the stack to ``dimension`` again. All
of it is linear in the features, so it folds into one 3 x 3 kernel per layer; the result is the same up to
rounding, and the unfolded neighbourhoods, nine times the features, never exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

NEIGHBORHOOD = 3


@dataclass(frozen=True)
class FoldedKernel:
    """One layer's part of the embedding: rows ``[first, first + len(weight))``.

    Attributes:
        first: the first row of the embedding that the layer contributes to.
        weight: ``(rows, C / groups, 3, 3)`` float32, as ``conv2d`` takes it.
        groups: channels and rows fall into this many independent blocks.
    """

    first: int
    weight: np.ndarray
    groups: int


def adaptive_pool_matrix(n_in: int, n_out: int) -> Any:
    """``adaptive_avg_pool1d`` from ``n_in`` to ``n_out`` values as a sparse ``(n_out, n_in)`` float64 matrix.

    Example:
        >>> adaptive_pool_matrix(3, 2).toarray()
        array([[0.5, 0.5, 0. ],
               [0. , 0.5, 0.5]])
    """
    from scipy.sparse import csr_array

    starts = np.arange(n_out) * n_in // n_out
    ends = -(-(np.arange(1, n_out + 1) * n_in) // n_out)
    widths = ends - starts
    columns = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    return csr_array(
        (np.repeat(1 / widths, widths), columns, np.concatenate([[0], np.cumsum(widths)])),
        shape=(n_out, n_in),
    )


def fold_patch_pooling(channels: Sequence[int], dimension: int) -> list[FoldedKernel]:
    """The kernels that turn layers of ``channels`` features into ``dimension`` values per location."""
    across_layers = adaptive_pool_matrix(len(channels) * dimension, dimension).tocsc()
    return [
        _fold_layer(across_layers[:, i * dimension : (i + 1) * dimension], count, dimension)
        for i, count in enumerate(channels)
    ]


def _fold_layer(across_layers: Any, channels: int, dimension: int) -> FoldedKernel:
    per_layer = adaptive_pool_matrix(channels * NEIGHBORHOOD**2, dimension)
    matrix = (across_layers @ per_layer).tocoo()
    first, last = int(matrix.row.min()), int(matrix.row.max())
    rows, count = matrix.row - first, last - first + 1
    channel, position = np.divmod(matrix.col, NEIGHBORHOOD**2)
    groups = _independent_groups(rows, channel, count, channels)
    weight = np.zeros((count, channels // groups, NEIGHBORHOOD**2), np.float32)
    weight[rows, channel % (channels // groups), position] = matrix.data
    return FoldedKernel(first, weight.reshape(count, -1, NEIGHBORHOOD, NEIGHBORHOOD), groups)


def _independent_groups(rows: np.ndarray, channel: np.ndarray, count: int, channels: int) -> int:
    """The largest number of equal blocks, in order, between which the matrix has no entry."""
    common = gcd(count, channels)
    for groups in range(common, 1, -1):
        if common % groups == 0 and np.array_equal(
            rows // (count // groups), channel // (channels // groups)
        ):
            return groups
    return 1
