"""Ground-truth regions: what AUPRO averages over."""

from __future__ import annotations

import numpy as np

REGION_UNIT = 1 << 42
"""The weight of one whole region. Integers add up to the same sum in any order; a pixel's share is rounded by
at most one part in 2^43 / area."""

MAX_REGIONS = (1 << 62) // REGION_UNIT


def region_weights(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Each defect pixel's share of its region, an 8-connected component.

    Args:
        mask: (H, W) bool.

    Returns:
        (p,) int64 flat indices of the defect pixels, ascending; (p,) int64 shares, about
        ``REGION_UNIT / area``; the number of regions.
    """
    import cv2

    positive = np.flatnonzero(mask)
    if positive.size == 0:
        return positive, positive, 0
    rows, columns = np.divmod(positive, mask.shape[1])
    top, left = rows[0], columns.min()
    around = np.ascontiguousarray(
        mask[top : rows[-1] + 1, left : columns.max() + 1]
    )  # most masks are nearly empty
    n_labels, labels = cv2.connectedComponents(around.view(np.uint8), connectivity=8)
    region = labels[rows - top, columns - left]
    areas = np.bincount(region, minlength=n_labels)[1:]
    shares = (REGION_UNIT + areas // 2) // areas
    return positive, shares[region - 1], n_labels - 1


def regions_outside(mask: np.ndarray, inspected: np.ndarray) -> int:
    """How many 8-connected defect regions have no inspected pixel.

    Args:
        mask: (H, W) bool.
        inspected: (H, W) bool.
    """
    import cv2

    n_labels, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    return n_labels - 1 - int(np.count_nonzero(np.unique(labels[inspected])))
