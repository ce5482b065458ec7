"""Maps, masks and brute-force references that the metrics' tests share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SHAPE = (12, 10)


ANY_FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.25, 2.0**-140]),
    st.floats(-1, 1, width=32),
)


@dataclass(frozen=True)
class Row:
    """A row of a score table, and where its map and mask lie in their arrays."""

    image: str
    label: int
    defect_type: str
    score: float
    index: int


@st.composite
def map_sets(draw: st.DrawFn, finite: st.SearchStrategy[float] = ANY_FLOATS) -> tuple[np.ndarray, np.ndarray]:
    """(n, 12, 10) float32 maps, any finite float included, and masks with both classes."""
    n = draw(st.integers(1, 4))
    maps = draw(hnp.arrays(np.float32, (n, *SHAPE), elements=finite))
    masks = draw(hnp.arrays(np.bool_, (n, *SHAPE)))
    masks[0, 0, 0], masks[0, 0, 1] = True, False
    return maps, masks


def smooth_maps(n: int, size: int, seed: int = 0, defect: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps of unit variance with raised rectangular defects in every second image."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    maps = np.stack([gaussian_filter(rng.normal(size=(size, size)), 3) for _ in range(n)])
    maps /= maps.std()
    masks = np.zeros(maps.shape, bool)
    for mask in masks[1::2]:
        for _ in range(int(rng.integers(1, 4))):
            top, left = rng.integers(0, size - 20, 2)
            mask[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = True
    maps += defect * np.stack([gaussian_filter(mask.astype(float), 2) for mask in masks])
    return maps.astype(np.float32), masks


def brute_force_aupro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """One threshold per distinct score, each region by itself, trapezoid to the limit."""
    from scipy.ndimage import label

    labelled = [label(mask, structure=np.ones((3, 3)))[0] for mask in masks]
    regions = [
        maps[i][regions == k] for i, regions in enumerate(labelled) for k in range(1, regions.max() + 1)
    ]
    negatives = maps[~masks]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        overlap = float(np.mean([np.mean(region >= threshold) for region in regions]))
        points.append((float(np.mean(negatives >= threshold)), overlap))
    return area_up_to(points, limit)


def brute_force_spro(
    maps: np.ndarray, channels: list[list[tuple[np.ndarray, int]]], limits: Sequence[float]
) -> dict[str, float]:
    """MVTec LOCO's curve: per threshold the mean of min(hits / saturation area, 1) over all channels of all images."""
    anywhere = np.zeros(maps.shape, bool)
    for image, own in enumerate(channels):
        for mask, _ in own:
            anywhere[image] |= mask
    negatives = maps[~anywhere]
    places = [(maps[i][mask], area) for i, own in enumerate(channels) for mask, area in own]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        spros = [min(np.count_nonzero(scores >= threshold) / area, 1.0) for scores, area in places]
        points.append((float(np.mean(negatives >= threshold)), float(np.mean(spros))))
    return {f"spro_{limit:g}": area_up_to(points, limit) for limit in limits}


def area_up_to(points: list[tuple[float, float]], limit: float) -> float:
    """Trapezoids up to the limit, interpolated there, divided by it."""
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= limit:
            break
        end = min(x1, limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0) if x1 > x0 else y1
        area += (end - x0) * (y0 + y_end) / 2
    return area / limit
