"""One map out of the maps of overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from uad_orchestrator.images.tiles import TileGrid

Blend = Literal["hann", "max", "mean"]


def blend_tiles(tile_maps: Iterable[np.ndarray], grid: TileGrid, blend: Blend = "hann") -> np.ndarray:
    """Lay the maps of tiles on their image; where tiles overlap they are blended.

    One tile's map is held at a time. A constant map stays constant to float32's rounding (below 1e-6
    relative), and a single tile's map is taken as it is.

    Args:
        tile_maps: ``(side, side)`` float32 each, in the grid's order; what reaches beyond the image is left
            out.
        grid: where the tiles lie.
        blend: ``hann``: the mean weighted by a Hann window over each tile, so that the value fades from tile
            to tile; ``mean``: the plain mean; ``max``: the largest value.

    Returns:
        ``(H, W)`` float32.

    >>> grid = TileGrid(tops=(0,), lefts=(0, 1), side=2, size=(2, 3))
    >>> blend_tiles([np.zeros((2, 2)), np.ones((2, 2))], grid, "mean")[0].tolist()
    [0.0, 0.5, 1.0]
    """
    height, width = grid.size
    blended = np.full(grid.size, -np.inf if blend == "max" else 0.0, np.float32)
    rows = _weights(grid.tops, grid.side, height, blend)
    columns = _weights(grid.lefts, grid.side, width, blend)
    for box, tile_map in zip(grid.boxes(), tile_maps, strict=True):
        place = blended[box.top : box.bottom, box.left : box.right]
        inside = np.asarray(tile_map, np.float32)[: place.shape[0], : place.shape[1]]
        if blend == "max":
            np.maximum(place, inside, out=place)
        else:
            place += inside * rows[box.top][:, None] * columns[box.left]
    return blended


def _weights(starts: tuple[int, ...], side: int, length: int, blend: Blend) -> dict[int, np.ndarray]:
    """Each tile's share along one edge, by where it begins; the shares of a pixel add up to 1.

    A grid has every row with every column, so the share of a pixel is the product of both edges' shares.
    """
    window = np.hanning(side + 2)[1:-1] if blend == "hann" else np.ones(side)  # never 0: edges count too
    total = np.zeros(length)
    for start in starts:
        total[start : start + side] += window[: length - start]
    return {
        start: (window[: length - start] / total[start : start + side]).astype(np.float32) for start in starts
    }
