"""The defects of an anomaly map: connected regions of what is above a threshold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np


class BoundingBox(NamedTuple):
    """The smallest rectangle around a region, in pixels, half-open: ``[top, bottom)``."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class DefectRegion:
    """One 8-connected region.

    Attributes:
        box: around it.
        area: in pixels.
        peak: its largest map value.
        peak_at: ``(row, column)`` of that value, the first in reading order.
        mean: of its map values.
    """

    box: BoundingBox
    area: int
    peak: float
    peak_at: tuple[int, int]
    mean: float

    def to_json(self) -> dict[str, Any]:
        """The region as JSON values.

        Returns:
            The fields by name; the box by its edges' names.
        """
        return asdict(self) | {"box": self.box._asdict(), "peak_at": list(self.peak_at)}


def find_regions(anomaly_map: np.ndarray, mask: np.ndarray) -> tuple[DefectRegion, ...]:
    """The 8-connected regions of a mask, the one with the largest map value first.

    Args:
        anomaly_map: ``(H, W)`` map values.
        mask: ``(H, W)`` bool: where they are above the pixel threshold (``metrics.thresholds.exceeds``).

    Returns:
        The regions; none where the mask is empty.

    Raises:
        ValueError: map and mask are not of one size.

    >>> scores = np.array([[9.0, 0, 0], [0, 7, 0]])
    >>> found = find_regions(scores, scores > 5)
    >>> found[0].box, found[0].area, found[0].peak, found[0].mean
    (BoundingBox(top=0, left=0, bottom=2, right=2), 2, 9.0, 8.0)
    """
    import cv2

    if anomaly_map.shape != mask.shape or mask.ndim != 2:
        raise ValueError(f"the map is {anomaly_map.shape}, the mask {mask.shape}: both are (H, W)")
    inside = np.flatnonzero(mask)
    if not inside.size:
        return ()
    cells = np.ascontiguousarray(mask, dtype=bool).view(np.uint8)
    count, labels, figures, _ = cv2.connectedComponentsWithStats(cells, connectivity=8)
    region = labels.ravel()[inside]
    values = anomaly_map.ravel()[inside].astype(np.float64)
    sums = np.bincount(region, weights=values, minlength=count)
    peaks = np.full(count, -1)
    ascending = np.lexsort(
        (-inside, values)
    )  # of equal values the first in reading order comes last, and stays
    peaks[region[ascending]] = ascending
    found = [
        _region(figures[label], values[peaks[label]], int(inside[peaks[label]]), sums[label], mask.shape[1])
        for label in range(1, count)
    ]
    return tuple(sorted(found, key=lambda each: -each.peak))


def _region(figures: np.ndarray, peak: float, peak_at: int, total: float, width: int) -> DefectRegion:
    left, top, region_width, height, area = (int(n) for n in figures)
    return DefectRegion(
        box=BoundingBox(top, left, top + height, left + region_width),
        area=area,
        peak=float(peak),
        peak_at=divmod(peak_at, width),
        mean=float(total / area),
    )
