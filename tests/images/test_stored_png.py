from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from uad_orchestrator.images.stored_png import encode_stored_png

SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
)


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_other_decoders_read_the_same_pixels(pixels: np.ndarray) -> None:
    encoded = encode_stored_png(pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), pixels)
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded if pixels.ndim == 2 else decoded[..., ::-1], pixels)


def test_several_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 250, 3), dtype=np.uint8)
    encoded = encode_stored_png(pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), pixels)


@pytest.mark.parametrize("pixels", [np.zeros((2, 2), np.uint16), np.zeros((2, 2, 4), np.uint8)])
def test_other_arrays_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode_stored_png(pixels)
