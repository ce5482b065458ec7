"""From an image's patch scores to its image score."""

from __future__ import annotations

from typing import Literal

import numpy as np

Aggregation = Literal["max", "mean", "topk_mean"]
"""From the scores of patches to that of an image; ``topk_mean`` is the mean of the highest share."""


def aggregate(patch_scores: np.ndarray, how: Aggregation, topk: float = 0.01) -> float:
    """The image score of an image's patch scores.

    Args:
        patch_scores: ``(n,)``.
        how: ``max``, as in PatchCore; ``mean``; or ``topk_mean``, the mean of the ``max(1, int(topk * n))`` largest,
            rounded down as AnomalyDINO's code does.
        topk: share of the patches, in (0, 1], that ``topk_mean`` averages.

    Returns:
        The score; higher is more anomalous.

    >>> aggregate(np.arange(1024.0), "topk_mean", 0.01)
    1018.5
    """
    if how == "max":
        return float(patch_scores.max())
    if how == "mean":
        return float(patch_scores.mean(dtype=np.float64))
    k = max(1, int(topk * len(patch_scores)))
    return float(np.partition(patch_scores, -k)[-k:].mean(dtype=np.float64))
