"""Maps of tiles on one image: constants stay constant, overlaps are weighted means or maxima."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.images.tiles import TileGrid, tile_grid
from uad_orchestrator.postprocess.blending import Blend, blend_tiles

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
BLENDS = st.sampled_from(["hann", "mean", "max"])


def brute_force(maps: list[np.ndarray], grid: TileGrid, blend: Blend) -> np.ndarray:
    """Pixel by pixel, in float64."""
    window = np.hanning(grid.side + 2)[1:-1]
    blended = np.zeros(grid.size)
    for y, x in np.ndindex(*grid.size):
        values, weights = [], []
        for box, tile_map in zip(grid.boxes(), maps, strict=True):
            if box.top <= y < box.bottom and box.left <= x < box.right:
                values.append(float(tile_map[y - box.top, x - box.left]))
                weights.append(window[y - box.top] * window[x - box.left] if blend == "hann" else 1.0)
        blended[y, x] = max(values) if blend == "max" else np.average(values, weights=weights)
    return blended


@settings(max_examples=80)
@given(
    size=SIZES, side=st.integers(1, 32), overlap=st.floats(0, 0.95), blend=BLENDS, value=st.floats(0.01, 1e4)
)
def test_a_constant_map_stays_constant(
    size: tuple[int, int], side: int, overlap: float, blend: Blend, value: float
) -> None:
    grid = tile_grid(size, side, max(1, round(side * (1 - overlap))))
    blended = blend_tiles((np.full((side, side), value, np.float32) for _ in range(len(grid))), grid, blend)
    assert blended.shape == size and blended.dtype == np.float32
    np.testing.assert_allclose(blended, np.float32(value), rtol=1e-5)


@pytest.mark.parametrize("blend", ["hann", "mean", "max"])
@pytest.mark.parametrize("size", [(23, 17), (9, 30), (5, 4)])
def test_it_is_the_weighted_mean_or_the_maximum_of_the_tiles(size: tuple[int, int], blend: Blend) -> None:
    grid = tile_grid(size, 8, 5)
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(8, 8)).astype(np.float32) for _ in range(len(grid))]
    np.testing.assert_allclose(blend_tiles(maps, grid, blend), brute_force(maps, grid, blend), atol=1e-6)


@pytest.mark.parametrize("blend", ["hann", "mean", "max"])
def test_one_tile_is_taken_as_it_is(blend: Blend) -> None:
    tile_map = (1000 + np.random.default_rng(1).random((12, 12))).astype(np.float32)
    grid = tile_grid((10, 12), 12)
    assert np.array_equal(blend_tiles([tile_map], grid, blend), tile_map[:10])


def test_the_value_fades_from_tile_to_tile() -> None:
    grid = tile_grid((32, 56), 32, 24)
    maps = [np.full((32, 32), value, np.float32) for value in (0.0, 1.0)]
    steps = {b: np.abs(np.diff(blend_tiles(maps, grid, b)[0])).max() for b in ("hann", "mean", "max")}
    assert steps["hann"] < 0.25 < steps["mean"] < steps["max"]


def test_a_map_too_few_is_an_error() -> None:
    with pytest.raises(ValueError):
        blend_tiles([np.zeros((4, 4))], tile_grid((4, 7), 4))
