"""What files do not say themselves: depth, range, alpha; formats beside PNG and JPEG; sizes that are refused."""

from __future__ import annotations

import importlib.util
import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from uad_orchestrator.images import tiff_bands
from uad_orchestrator.images.decode import decode_image, hidden_share, read_image, read_mask
from uad_orchestrator.images.file_facts import check_header, image_mode, image_size
from uad_orchestrator.images.header import ImageError, ImageTooLarge, open_header
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.images.remarks import encoded_remarks, file_remarks
from uad_orchestrator.images.source import ImageSource

SHAPE = (23, 31)


def encoded(pixels: np.ndarray, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def png16(pixels: np.ndarray) -> bytes:
    _, data = cv2.imencode(".png", pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, _swap(pixels)))
    return data.tobytes()


def _swap(pixels: np.ndarray) -> int:
    return cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA


def noise(dtype: type = np.uint8, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = SHAPE if channels == 1 else (*SHAPE, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def pnm(kind: str, pixels: np.ndarray, white: int) -> bytes:
    height, width = pixels.shape[:2]
    wide = pixels.astype(">u2" if white > 255 else np.uint8)
    return f"{kind}\n# a comment\n{width} {height}\n{white}\n".encode() + wide.tobytes()


@pytest.mark.parametrize(
    ("image_format", "options"), [("WEBP", {"lossless": True}), ("PPM", {}), ("BMP", {}), ("TIFF", {})]
)
def test_a_format_without_loss_comes_back_as_it_was(image_format: str, options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(decode_image(encoded(noise(), image_format, **options), "x"), noise())


def test_of_an_animation_the_first_picture_is_read_and_it_is_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full(SHAPE, value, np.uint8)) for value in (10, 200)]
    for suffix in ("gif", "webp", "tif", "png"):
        path = tmp_path / f"a.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        assert (read_image(path) == 10).all()
        assert [remark.kind for remark in file_remarks(path)] == ["several"], suffix
    frames[0].save(tmp_path / "one.gif")
    assert file_remarks(tmp_path / "one.gif") == ()


@given(depth=st.integers(9, 15), seed=st.integers(0, 99), colour=st.booleans())
@settings(max_examples=30)
def test_a_depth_that_is_said_becomes_the_full_range(depth: int, seed: int, colour: bool) -> None:
    white = 2**depth - 1
    pixels = (
        np.random.default_rng(seed).integers(0, white + 1, (5, 4, 3) if colour else (5, 4)).astype(np.uint16)
    )
    read = decode_image(png16(pixels), "x", ReadingSettings(bit_depth=depth))
    expected = np.floor(pixels.astype(np.float64) * 65535 / white + 0.5)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, expected if colour else np.repeat(expected[..., None], 3, 2))


@given(depth=st.integers(8, 15), above=st.integers(1, 100))
@settings(max_examples=20)
def test_a_value_above_the_depth_is_an_error_that_names_it(depth: int, above: int) -> None:
    pixels = np.full((3, 3), 2**depth - 1 + above, np.uint16)
    with pytest.raises(ImageError, match=rf"odd\.png: values up to {pixels[0, 0]}, and bit_depth: {depth}"):
        decode_image(png16(pixels), "odd.png", ReadingSettings(bit_depth=depth))


def test_upper_bits_are_the_full_range_already_and_the_error_says_so() -> None:
    pixels = (np.arange(12, dtype=np.uint16).reshape(3, 4) * 341) << 4
    with pytest.raises(ImageError, match=r"multiples of 16.*leave bit_depth out"):
        decode_image(png16(pixels), "x", ReadingSettings(bit_depth=12))
    assert (decode_image(png16(pixels), "x")[..., 0] == pixels).all()


def test_files_of_eight_bits_have_them_all_whatever_is_said_of_deeper_ones(tmp_path: Path) -> None:
    pixels = noise()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    check_header(tmp_path / "a.png", ReadingSettings(bit_depth=12))
    assert (read_image(tmp_path / "a.png", ReadingSettings(bit_depth=12)) == pixels).all()


@given(white=st.sampled_from([100, 255, 1023, 4095, 65535]), colour=st.booleans(), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_a_pgm_or_ppm_says_its_white(white: int, colour: bool, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, white + 1, (4, 5, 3) if colour else (4, 5))
    read = decode_image(pnm("P6" if colour else "P5", pixels, white), "x")
    top = 255 if white < 256 else 65535
    assert read.dtype == (np.uint8 if white < 256 else np.uint16)
    expected = pixels * (top / white)
    assert np.abs(read - (expected if colour else expected[..., None])).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("packed", [10, 12, 14])
def test_packed_bits_are_read_as_the_upper_ones(packed: int) -> None:
    pytest.importorskip("imagecodecs", reason="tifffile packs bits with it alone")
    pixels = noise(np.uint16, 1) >> (16 - packed)
    data = tiff(pixels, bitspersample=packed)
    for reading in (ReadingSettings(), ReadingSettings(bit_depth=packed)):
        assert (decode_image(data, "x", reading)[..., 0] == pixels << (16 - packed)).all()


@given(
    dtype=st.sampled_from(["f2", "f4", "f8", "i2", "i4", "u4"]),
    colour=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_any_number_is_read_by_its_range(dtype: str, colour: bool, seed: int) -> None:
    low, high = (-2.0, 3.0) if dtype[0] == "f" else (0.0, 1000.0)
    values = np.random.default_rng(seed).uniform(low, high, (9, 7, 3) if colour else (9, 7)).astype(dtype)
    data = tiff(values, photometric="rgb" if colour else "minisblack")
    read = decode_image(data, "x", ReadingSettings(value_range=(low, high)))
    expected = (values.astype(np.float64) - low) * 65535 / (high - low)
    assert read.dtype == np.uint16
    assert np.abs(read - (expected if colour else expected[..., None])).max() <= 0.5 + 1e-6
    with pytest.raises(ImageError, match=r"x\.tif: .* per channel: expected 8 or 16 bits.*value_range"):
        decode_image(data, "x.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.1, 1.1])
def test_a_value_outside_the_range_names_the_file(value: float) -> None:
    values = np.full(SHAPE, 0.5, np.float32)
    values[3, 4] = value
    with pytest.raises(ImageError, match=r"x\.tif: .*(no numbers|value_range says 0 to 1)"):
        decode_image(tiff(values), "x.tif", ReadingSettings(value_range=(0, 1)))


def test_a_header_says_a_depth_that_nobody_explains(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "f.tif", np.zeros(SHAPE, np.float32))
    assert image_mode(tmp_path / "f.tif") == "gray32f"
    with pytest.raises(ImageError, match="value_range"):
        check_header(tmp_path / "f.tif")
    assert check_header(tmp_path / "f.tif", mask=True) == SHAPE
    assert check_header(tmp_path / "f.tif", ReadingSettings(value_range=(0, 1))) == SHAPE
    assert not read_mask(tmp_path / "f.tif").any()


def with_alpha(kind: str, seed: int = 0) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A file of that kind, its colours ``(H, W, 3)`` and its opacity in 0..1."""
    alpha = np.random.default_rng(seed + 1).integers(0, 256, SHAPE).astype(np.uint8)
    if kind == "RGBA":
        return encoded(np.dstack([noise(), alpha]), "PNG"), noise(), alpha / 255
    if kind == "LA":
        grey = noise(channels=1)
        return encoded(np.dstack([grey, alpha]), "PNG"), np.repeat(grey[..., None], 3, 2), alpha / 255
    if kind == "RGBA16":
        deep, deep_alpha = noise(np.uint16), noise(np.uint16, 1, seed=5)
        return png16(np.dstack([deep, deep_alpha])), deep, deep_alpha / 65535
    if kind == "LA16 tiff":
        deep, deep_alpha = noise(np.uint16, 1), noise(np.uint16, 1, seed=5)
        data = tiff(np.dstack([deep, deep_alpha]), photometric="minisblack", extrasamples=["unassalpha"])
        return data, np.repeat(deep[..., None], 3, 2), deep_alpha / 65535
    indices = noise(channels=1) % 4
    image = Image.fromarray(indices)
    colours = np.random.default_rng(3).integers(0, 256, (4, 3)).astype(np.uint8)
    image = image.convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours.ravel().tolist())
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=bytes([0, 255, 128, 255]))
    return stream.getvalue(), colours[indices], np.array([0, 255, 128, 255])[indices] / 255


@pytest.mark.parametrize("kind", ["RGBA", "LA", "RGBA16", "LA16 tiff", "palette"])
def test_alpha_is_ignored_laid_on_white_or_blackened(kind: str) -> None:
    data, colours, opacity = with_alpha(kind)
    top = np.iinfo(colours.dtype).max
    np.testing.assert_array_equal(decode_image(data, "x"), colours)
    on_white = decode_image(data, "x", ReadingSettings(alpha="white"))
    assert on_white.dtype == colours.dtype
    expected = top - (top - colours.astype(np.float64)) * opacity[..., None]
    assert np.abs(on_white - expected).max() <= 0.5 + 1e-2
    blackened = decode_image(data, "x", ReadingSettings(alpha="mask"))
    np.testing.assert_array_equal(blackened, np.where(opacity[..., None] >= 0.5, colours, 0))
    assert hidden_share(data, "x") == pytest.approx(np.mean(opacity < 1))
    (remark,) = encoded_remarks(data, "x")
    assert remark.kind == "hidden"
    assert encoded_remarks(data, "x", ReadingSettings(alpha="white")) == ()


def test_alpha_that_hides_nothing_is_no_remark() -> None:
    shown = np.dstack([noise(), np.full(SHAPE, 255, np.uint8)])
    assert encoded_remarks(encoded(shown, "PNG"), "x") == ()


def test_a_transparent_colour_of_16_bits_hides_its_pixels() -> None:
    pixels = noise(np.uint16, 1)
    pixels[0, :5] = 777
    data = png16(pixels)
    chunk = b"tRNS" + struct.pack(">H", 777)
    at = data.index(b"IDAT") - 4
    data = data[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at:]
    white = decode_image(data, "x", ReadingSettings(alpha="white"))[..., 0]
    np.testing.assert_array_equal(white, np.where(pixels == 777, 65535, pixels))


def bomb(width: int, height: int) -> bytes:
    """A PNG file whose header says that size; its pixels would be black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "size", [(49_000_000, 1), (1, 49_000_000), (20_000, 20_000), (2_000, 10), (2**20 + 1, 2**14)]
)
def test_too_many_pixels_are_refused_before_anything_is_decoded(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    tracemalloc.start()
    for read in (read_image, image_size, check_header, read_mask):
        with pytest.raises(ImageTooLarge, match=rf"bomb\.png: {size[1]} x {size[0]} pixels"):
            read(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_the_limit_is_a_setting(tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "a.png")
    few = ReadingSettings(max_megapixels=700 / 1e6)
    with pytest.raises(ImageTooLarge, match="max_megapixels"):
        read_image(tmp_path / "a.png", few)
    assert read_image(tmp_path / "a.png", ReadingSettings(max_megapixels=713 / 1e6)).shape == (*SHAPE, 3)


def test_pillows_own_limit_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for image_format in ("PNG", "TIFF", "BMP", "PPM"):
        np.testing.assert_array_equal(decode_image(encoded(noise(), image_format), "x"), noise())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bit_depth": 17}, "between 1 and 16"),
        ({"value_range": (1, 0)}, "ascending"),
        ({"value_range": (0, float("nan"))}, "ascending"),
        ({"value_range": (0, 1), "bit_depth": 12}, "one of the two"),
        ({"alpha": "black"}, "ignore, white or mask"),
        ({"max_megapixels": 0}, "above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ReadingSettings(**given)


def test_what_changes_pixels_changes_the_digest_and_nothing_else_does(tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "a.png")

    def digest(**reading: Any) -> str:
        return ImageSource.from_path(tmp_path / "a.png", reading=ReadingSettings(**reading)).digest

    plain = digest()
    assert digest(max_megapixels=1) == plain == ImageSource.from_path(tmp_path / "a.png").digest
    others = [digest(bit_depth=12), digest(bit_depth=10), digest(value_range=(0, 1)), digest(alpha="white")]
    assert len({plain, *others}) == 5


COMPRESSIONS = [None, "zlib"]
if (
    importlib.util.find_spec("imagecodecs") is not None
):  # tifffile reads PackBits, but does not write it by itself
    COMPRESSIONS.append("packbits")


@given(
    dtype=st.sampled_from(["u1", "u2", "f4"]),
    colour=st.booleans(),
    compression=st.sampled_from(COMPRESSIONS),
    layout=st.sampled_from([{}, {"tile": (32, 48)}, {"rowsperstrip": 7}]),
    rows=st.tuples(st.integers(0, 90), st.integers(1, 120)),
)
@settings(max_examples=40, deadline=None)
def test_a_band_of_a_large_tiff_is_that_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    colour: bool,
    compression: str | None,
    layout: dict[str, Any],
    rows: tuple[int, int],
) -> None:
    path = tmp_path_factory.mktemp("bands") / "a.tif"
    white = 1 if dtype == "f4" else 250
    pixels = (np.random.default_rng(1).random((91, 101, 3) if colour else (91, 101)) * white).astype(dtype)
    photometric = "rgb" if colour else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, compression=compression, **layout)
    reading = ReadingSettings(value_range=(0, 1)) if dtype == "f4" else ReadingSettings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff_bands, "LARGE", 1)
        bands = ImageSource.from_path(path, reading=reading).bands()
    assert bands is not None
    top, bottom = rows[0], rows[0] + rows[1]
    np.testing.assert_array_equal(bands.read(top, bottom), read_image(path, reading)[top:bottom])
    bands.close()


def test_small_turned_or_hidden_tiffs_are_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "small.tif", noise(), photometric="rgb")
    assert not tiff_bands.can_read_bands(tmp_path / "small.tif")
    monkeypatch.setattr(tiff_bands, "LARGE", 1)
    assert tiff_bands.can_read_bands(tmp_path / "small.tif")
    alpha = np.dstack([noise(), noise(channels=1)])
    tifffile.imwrite(tmp_path / "alpha.tif", alpha, photometric="rgb", extrasamples=["unassalpha"])
    turned = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "turned.tif", noise(), photometric="rgb", extratags=turned)
    Image.fromarray(noise()).save(tmp_path / "png.tif", "PNG")
    for name in ("alpha.tif", "turned.tif", "png.tif"):
        assert not tiff_bands.can_read_bands(tmp_path / name), name


@pytest.mark.parametrize(
    ("channels", "options", "unread"),
    [
        (5, {"photometric": "minisblack"}, 4),
        (4, {"photometric": "rgb", "extrasamples": ["unspecified"]}, 1),
        (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, 0),
        (3, {"photometric": "rgb"}, 0),
    ],
)
def test_channels_that_are_not_read_are_said(
    tmp_path: Path, channels: int, options: dict[str, Any], unread: int
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((8, 9, channels), 255, np.uint8), planarconfig="contig", **options)
    with path.open("rb") as stream:
        assert open_header(stream)[0].unread == unread
    assert [remark.kind for remark in file_remarks(path)] == (["unread"] if unread else [])
