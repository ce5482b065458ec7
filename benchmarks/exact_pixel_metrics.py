"""The pooled pixel metrics by sorting all pixels: the exact values that counts are held against.

It needs all maps at once and the time to sort them; written without the code it checks.
"""

from __future__ import annotations

import numpy as np


def exact_pixel_metrics(
    maps: np.ndarray, masks: np.ndarray, aupro_limits: tuple[float, ...]
) -> dict[str, float]:
    """AUROC, AP, F1-max and AUPRO with one threshold per distinct score.

    Args:
        maps: (n, H, W) float32.
        masks: (n, H, W) bool.
        aupro_limits: false-positive rates.
    """
    scores, truth = maps.ravel(), masks.ravel()
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    last_of_tie = np.append(scores[1:] != scores[:-1], True)
    found = np.cumsum(truth)[last_of_tie].astype(np.float64)
    false = np.cumsum(~truth)[last_of_tie].astype(np.float64)
    overlap = np.append(0.0, np.cumsum(_region_shares(masks).ravel()[order])[last_of_tie])
    recall = np.append(0.0, found / found[-1])
    false_rate = np.append(0.0, false / false[-1])
    return {
        "pixel_auroc": float(np.trapezoid(recall, false_rate)),
        "pixel_ap": float(np.sum(np.diff(recall) * found / (found + false))),
        "pixel_f1_max": float((2 * found / (found + false + found[-1])).max()),
        **{f"aupro_{limit:g}": _area_to(false_rate, overlap, limit) for limit in aupro_limits},
    }


def _region_shares(masks: np.ndarray) -> np.ndarray:
    """Per pixel 1 / (area of its 8-connected region * number of regions); 0 outside."""
    from scipy.ndimage import label

    shares, n_regions = np.zeros(masks.shape), 0
    for share, mask in zip(shares, masks, strict=True):
        regions, count = label(mask, structure=np.ones((3, 3)))
        areas = np.bincount(regions.ravel())
        share[mask] = 1.0 / areas[regions[mask]]
        n_regions += count
    return shares / n_regions


def _area_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    inside = x < limit
    end = np.interp(limit, x, y) if limit not in x else y[x == limit].max()
    return float(np.trapezoid(np.append(y[inside], end), np.append(x[inside], limit)) / limit)
