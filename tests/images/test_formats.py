from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.formats import ImageFormat, sources_from, to_rgb
from uad_orchestrator.images.source import ImageSource

RGB = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)

WRITTEN = {
    "rgb_u8_hwc": RGB,
    "bgr_u8_hwc": RGB[..., ::-1],
    "rgb_u16_hwc": RGB.astype(np.uint16) * 257,
    "bgr_u16_hwc": RGB[..., ::-1].astype(np.uint16) * 257,
    "rgb_f32_hwc": RGB.astype(np.float32) / 255,
    "bgr_f32_hwc": RGB[..., ::-1].astype(np.float32) / 255,
    "rgb_f32_chw": RGB.transpose(2, 0, 1).astype(np.float32) / 255,
    "bgr_f32_chw": RGB[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255,
    "gray_u8_hw": RGB[..., 0],
    "gray_u16_hw": RGB[..., 0].astype(np.uint16) * 257,
    "gray_f32_hw": RGB[..., 0].astype(np.float32) / 255,
}


def test_every_format_is_tried_here() -> None:
    assert set(WRITTEN) == {str(known) for known in ImageFormat}


@pytest.mark.parametrize("input_format", WRITTEN)
def test_every_format_gives_the_same_picture(input_format: str) -> None:
    expected = np.stack([RGB[..., 0]] * 3, 2) if input_format.startswith("gray") else RGB
    read = to_rgb(WRITTEN[input_format], input_format)
    assert read.flags.c_contiguous
    scale = 1 if "u8" in input_format else 257
    np.testing.assert_array_equal(read, expected.astype(np.uint16) * scale)
    assert read.dtype == (np.uint8 if "u8" in input_format else np.uint16)


@given(arrays(np.float32, (3, 4, 3), elements=st.floats(0, 1, width=32)))
def test_float_images_are_rounded_to_the_nearest_step(image: np.ndarray) -> None:
    error = np.abs(to_rgb(image, "rgb_f32_hwc") / 65535 - image.astype(np.float64))
    assert error.max() <= 0.5 / 65535 + 1e-12


@pytest.mark.parametrize(
    ("image", "input_format", "says"),
    [
        (RGB.astype(np.float64), "rgb_f32_hwc", "dtype float64; rgb_f32_hwc is float32"),
        (RGB, "rgb_u16_hwc", "dtype uint8; rgb_u16_hwc is uint16"),
        (RGB[..., :2], "rgb_u8_hwc", r"shape \(4, 5, 2\); rgb_u8_hwc is \(H, W, 3\)"),
        (RGB, "gray_u8_hw", r"shape \(4, 5, 3\); gray_u8_hw is \(H, W\)"),
        (RGB.astype(np.float32) / 255, "rgb_f32_chw", r"is \(3, H, W\)"),
        (RGB.astype(np.float32), "rgb_f32_hwc", "values outside 0..1"),
        (np.full((2, 2), np.nan, np.float32), "gray_f32_hw", "not finite"),
        (RGB[:0], "rgb_u8_hwc", "no pixels"),
        (RGB, "rgb", "unknown input_format 'rgb'; expected one of rgb_u8_hwc"),
    ],
)
def test_an_array_that_is_not_as_said_is_an_error(image: np.ndarray, input_format: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        to_rgb(image, input_format)


def test_sources_from_paths_arrays_and_one_array_agree(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    [by_path] = sources_from([tmp_path / "a.png"])
    [by_list] = sources_from([RGB])
    [by_batch] = sources_from(RGB[np.newaxis])
    [kept] = sources_from([by_list])
    for source in (by_path, by_list, by_batch):
        np.testing.assert_array_equal(source.read(), RGB)
    assert by_list.digest == by_batch.digest
    assert kept is by_list
    assert by_path.name == str(tmp_path / "a.png")


def test_equal_bytes_of_another_shape_have_another_digest() -> None:
    a = ImageSource.from_array(RGB, name="a")
    b = ImageSource.from_array(RGB.reshape(5, 4, 3), name="b")
    assert a.digest != b.digest


def test_a_batch_is_told_from_a_list_by_type_never_by_length() -> None:
    with pytest.raises(ValueError, match="expected 4 axes"):
        sources_from(RGB)
    assert len(sources_from(np.stack([RGB, RGB, RGB]))) == 3


def test_the_faulty_entry_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"images\[1\]: dtype float64"):
        sources_from([RGB, RGB / 255])
    with pytest.raises(TypeError, match=r"images\[0\] is a int"):
        sources_from([3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="expected a list of paths"):
        sources_from("image.png")  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"gone\.png"):
        sources_from([tmp_path / "gone.png"])
