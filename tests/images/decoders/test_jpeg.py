"""JPEG by libjpeg-turbo: Pillow's pixels, and damage in the middle of a file, which Pillow and OpenCV pass over."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from uad_orchestrator.images.decode import ImageError, decode_image, read_mask_values

ROWS, COLUMNS = np.mgrid[0:203, 0:301]
PICTURE = np.stack(
    [127 + 60 * np.sin(ROWS / 9) + 60 * np.cos(COLUMNS / (5 + channel)) for channel in range(3)], axis=2
)
NOISE = np.random.default_rng(0).normal(0, 6, PICTURE.shape)
RGB = (PICTURE + NOISE).clip(0, 255).astype(np.uint8)


def jpeg(mode: str = "RGB", **settings: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(stream, "JPEG", **settings)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_pixels_are_those_of_pillow(mode: str, progressive: bool, subsampling: int) -> None:
    data = jpeg(mode, quality=87, progressive=progressive, subsampling=subsampling)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode_image(data, "a.jpg"), expected)


def zeroed(data: bytearray, at: int) -> None:
    data[at : at + 512] = bytes(512)


def overwritten(data: bytearray, at: int) -> None:
    data[at : at + 512] = b"\xff" * 512


def shortened(data: bytearray, at: int) -> None:
    del data[at : at + 700]


@pytest.mark.parametrize("spoil", [zeroed, overwritten, shortened])
@pytest.mark.parametrize("kind", ["plain", "progressive", "grey", "CMYK"])
@pytest.mark.parametrize("place", [0.3, 0.7])
def test_damage_in_the_middle_is_an_error_that_names_the_file(
    spoil: Callable[[bytearray, int], None], kind: str, place: float
) -> None:
    mode = {"grey": "L", "CMYK": "CMYK"}.get(kind, "RGB")
    data = bytearray(jpeg(mode, quality=90, progressive=kind == "progressive"))
    decode_image(bytes(data), "a.jpg")
    spoil(data, int(place * len(data)))
    with pytest.raises(ImageError, match=r"a\.jpg"):
        decode_image(bytes(data), "a.jpg")


def test_the_damage_is_told_in_the_decoders_words_with_what_to_do() -> None:
    data = bytearray(jpeg())
    zeroed(data, len(data) // 2)
    with pytest.raises(ImageError, match=r"a\.jpg: .*damaged: Corrupt JPEG data: .*\. Copy the file again"):
        decode_image(bytes(data), "a.jpg")


def test_masks_are_looked_at_as_well(tmp_path) -> None:
    data = bytearray(jpeg("L"))
    zeroed(data, len(data) // 2)
    (tmp_path / "mask.jpg").write_bytes(data)
    with pytest.raises(ImageError, match=r"mask\.jpg: .*damaged"):
        read_mask_values(tmp_path / "mask.jpg")


@pytest.mark.parametrize(
    "odd",
    [
        lambda data: data.replace(
            b"JFIF\0\1", b"JFIF\0\x09"
        ),  # a version nobody knows: a warning of another kind
        lambda data: data + bytes(300),  # behind the end
        lambda data: (
            data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x07" + data[2:]
        ),  # a transform nobody knows
    ],
    ids=["version", "behind", "transform"],
)
def test_what_takes_nothing_from_the_picture_is_no_damage(odd: Callable[[bytes], bytes]) -> None:
    data = jpeg()
    assert odd(data) != data
    assert np.array_equal(decode_image(odd(data), "a.jpg"), decode_image(data, "a.jpg"))


@pytest.mark.parametrize("zeros", [1, 2, 16, 600])
@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_zeros_before_the_end_marker_are_what_some_cameras_fill_files_up_with(
    mode: str, settings: dict[str, object], zeros: int
) -> None:
    data = jpeg(mode, **settings)
    filled_up = data[:-2] + bytes(zeros) + data[-2:]
    assert np.array_equal(decode_image(filled_up, "a.jpg"), decode_image(data, "a.jpg"))
    with pytest.raises(ImageError, match="extraneous bytes"):
        decode_image(data[:-2] + b"\x5a" * 600 + data[-2:], "a.jpg")


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_flat_pictures_are_sound(shade: int) -> None:
    """Optimised codes write them as little but zeros."""
    stream = io.BytesIO()
    Image.fromarray(np.full((900, 1200), shade, np.uint8)).save(stream, "JPEG", optimize=True)
    assert np.unique(decode_image(stream.getvalue(), "a.jpg")).tolist() == [shade]
