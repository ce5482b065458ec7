"""The step resize: sizes, means, and the sizes it says beforehand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import downscale_local_mean

from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step


def preset(**resize):
    return Preset("test", (parse_step({"resize": resize}),))


@pytest.mark.parametrize(
    ("resize", "size"),
    [
        ({"method": "scale", "factor": 0.25}, (10, 20)),
        ({"method": "shorter_edge", "pixels": 16}, (16, 32)),
        ({"method": "squash", "height": 64, "width": 8}, (64, 8)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_size_is_known_before_the_image_is(resize, size, dtype):
    image = np.full((40, 80, 3), 77, dtype)
    assert preset(**resize).size_after((40, 80)) == size
    resized = preset(**resize).apply(image)
    assert (resized.shape, resized.dtype) == ((*size, 3), dtype)
    assert np.array_equal(np.unique(resized), [77])


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 2))
def test_the_size_said_beforehand_is_the_one_that_comes(height, width, factor):
    image = np.zeros((height, width, 3), np.uint8)
    small = preset(method="scale", factor=factor)
    assert small.apply(image).shape[:2] == small.size_after((height, width))


def test_shrinking_takes_means_as_scikit_image_does():
    image = np.random.default_rng(0).integers(0, 65536, (24, 36, 3), dtype=np.uint16)
    expected = downscale_local_mean(image.astype(float), (3, 3, 1))
    assert np.abs(preset(method="squash", height=8, width=12).apply(image) - expected).max() <= 1


def test_one_edge_shrinks_while_the_other_grows():
    image = np.zeros((64, 16, 3), np.uint8)
    image[::2] = 200  # a grating that sampling without means would turn into stripes
    squashed = preset(method="squash", height=16, width=64).apply(image)
    assert set(np.unique(squashed)) == {100}


def test_steps_after_it_see_the_smaller_image():
    steps = tuple(parse_step(step) for step in ({"resize": "scale"}, {"resize": {"factor": 0.5}}, "denoise"))
    assert Preset("twice", steps).apply(np.zeros((40, 80, 3), np.uint8)).shape == (10, 20, 3)
