"""Anomaly maps against torch's interpolation and scipy's Gaussian."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.postprocess.anomaly_map import anomaly_map, gaussian_blur, resize_to_image

GRID = np.random.default_rng(0).random((7, 9)).astype(np.float32)


@pytest.mark.parametrize("size", [(56, 72), (7, 9), (100, 33), (5, 4), (1, 1)])
def test_whole_region_is_torchs_bilinear(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is torch (extra: torch)")
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(GRID)[None, None], size=size, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    laid = resize_to_image(GRID, Region(0, 0, *size), size)
    assert laid.dtype == np.float32
    np.testing.assert_allclose(laid, expected, atol=1e-6)


@settings(max_examples=50)
@given(
    top=st.floats(0, 30),
    left=st.floats(0, 30),
    height=st.floats(5, 60),
    width=st.floats(5, 60),
    gh=st.integers(1, 6),
    gw=st.integers(1, 6),
)
def test_each_pixel_takes_the_value_at_its_place_in_the_region(
    top: float, left: float, height: float, width: float, gh: int, gw: int
) -> None:
    # a plane is reproduced by bilinear interpolation wherever it is not extended: an oracle for any region
    size = (95, 95)
    grid = np.add.outer(np.arange(gh), 10.0 * np.arange(gw)).astype(np.float32)
    laid = resize_to_image(grid, Region(top, left, top + height, left + width), size)
    rows = np.clip((np.arange(95) + 0.5 - top) * gh / height - 0.5, 0, gh - 1)
    columns = np.clip((np.arange(95) + 0.5 - left) * gw / width - 0.5, 0, gw - 1)
    np.testing.assert_allclose(laid, np.add.outer(rows, 10 * columns), atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 80), (20, 9)])
def test_blur_is_scipys(shape: tuple[int, int]) -> None:
    from scipy.ndimage import gaussian_filter

    scores = np.random.default_rng(1).random(shape).astype(np.float32)
    np.testing.assert_allclose(gaussian_blur(scores, 4.0), gaussian_filter(scores, 4.0), atol=2e-5)


def test_sigma_means_pixels_of_its_space() -> None:
    spike = np.zeros((16, 16), np.float32)
    spike[8, 8] = 1.0
    place = (spike, Region(0, 0, 512, 512), (512, 512), (128, 128))
    in_image = anomaly_map(*place, gaussian_sigma=4, sigma_space="image")
    in_input = anomaly_map(*place, gaussian_sigma=4, sigma_space="input")
    quadruple = anomaly_map(*place, gaussian_sigma=16, sigma_space="image")
    assert in_input.max() < 0.75 * in_image.max()
    np.testing.assert_allclose(in_input, quadruple, atol=0.02 * quadruple.max())


def test_map_of_a_non_square_image_lies_where_the_defect_is() -> None:
    grid = np.zeros((10, 10), np.float32)
    grid[5, 5] = 1.0  # of a centred square region of a wide image
    laid = anomaly_map(grid, Region(0, 100, 200, 300), (200, 400), (140, 140), gaussian_sigma=0)
    row, column = np.unravel_index(laid.argmax(), laid.shape)
    assert laid.shape == (200, 400)
    assert (row, column) == (pytest.approx(110, abs=1), pytest.approx(210, abs=1))
    stretched = np.unravel_index(
        resize_to_image(grid, Region(0, 0, 200, 400), (200, 400)).argmax(), (200, 400)
    )
    assert abs(stretched[1] - 220) <= 2  # what stretching the square over the image would say


def test_large_offset_scores_keep_their_order() -> None:
    grid = (1000 + np.random.default_rng(0).random((8, 8)) * 10).astype(np.float32)
    laid = anomaly_map(grid, Region(0, 0, 8, 8), (8, 8), (8, 8), gaussian_sigma=0)
    assert laid.dtype == np.float32
    assert np.array_equal(laid, grid)


def test_an_empty_region_is_refused() -> None:
    with pytest.raises(ValueError, match="covers nothing"):
        resize_to_image(GRID, Region(0, 5, 7, 5), (7, 9))


def test_a_value_per_pixel_stays_and_is_not_shared() -> None:
    laid = resize_to_image(GRID, Region(0.0, 0.0, 7.0, 9.0), (7, 9))
    np.testing.assert_array_equal(laid, GRID)
    assert not np.shares_memory(laid, GRID)


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    at_once=st.sampled_from([1, 64, 1 << 16]),
)
def test_rows_some_at_a_time_are_the_same_bits(
    shape: tuple[int, int], size: tuple[int, int], at_once: int
) -> None:
    grid = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def between(scores: np.ndarray, count: int, end: int) -> np.ndarray:
        at = np.clip((np.arange(end) + 0.5) * (count / end) - 0.5, 0, count - 1)
        low = np.minimum(at.astype(np.int64), max(count - 2, 0))
        lower, upper = scores[low], scores[np.minimum(low + 1, count - 1)]
        return lower + (upper - lower) * (at - low).astype(np.float32)[:, None]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys.modules[resize_to_image.__module__], "_VALUES_AT_ONCE", at_once)
        found = resize_to_image(grid, Region(0.0, 0.0, *map(float, size)), size)
    expected = grid if shape == size else between(between(grid.T, shape[1], size[1]).T, shape[0], size[0])
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous
