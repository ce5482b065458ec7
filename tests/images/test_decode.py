from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from uad_orchestrator.images.damage.completeness import damaged_chunk, missing_part
from uad_orchestrator.images.decode import ImageError, decode_image, read_image, read_mask
from uad_orchestrator.images.file_facts import check_header, image_digest, image_mode, image_size

SHAPE = (23, 31)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


@pytest.fixture
def rgb16() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (*SHAPE, 3), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".tiff"])
def test_8_bit_rgb_comes_back_as_it_was(tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rgb).save(path)
    read = read_image(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, rgb)
    assert image_size(path) == check_header(path) == SHAPE


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_rgb_keeps_its_depth_and_channel_order(tmp_path: Path, rgb16: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), rgb16[..., ::-1])
    read = read_image(path)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, rgb16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_mode_is_what_the_file_stores(
    tmp_path: Path, rgb: np.ndarray, rgb16: np.ndarray, suffix: str
) -> None:
    opaque = np.full((*SHAPE, 1), 255, np.uint8)
    for mode, pixels in {
        "rgb8": rgb,
        "gray8": rgb[..., 0],
        "rgb16": rgb16,
        "gray16": rgb16[..., 0],
        "alpha": np.dstack([rgb, opaque]),
    }.items():
        path = tmp_path / f"{mode}{suffix}"
        cv2.imwrite(str(path), pixels)
        assert image_mode(path) == ("rgb8" if mode == "alpha" else mode)
    Image.fromarray(rgb).quantize(8).save(tmp_path / "palette.png")
    assert image_mode(tmp_path / "palette.png") == "rgb8"


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_tiff_of_another_writer(
    tmp_path: Path, rgb16: np.ndarray, compression: str | None, byteorder: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb16, photometric="rgb", compression=compression, byteorder=byteorder)
    np.testing.assert_array_equal(read_image(path), rgb16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_repeated(tmp_path: Path, suffix: str, dtype: type) -> None:
    grey = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, SHAPE).astype(dtype)
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), grey)
    read = read_image(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, np.stack([grey] * 3, axis=2))


def test_alpha_is_dropped_never_blended(tmp_path: Path, rgb: np.ndarray, rgb16: np.ndarray) -> None:
    alpha = np.zeros(SHAPE, np.uint8)
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "8.png")
    cv2.imwrite(str(tmp_path / "16.png"), np.dstack([rgb16[..., ::-1], alpha.astype(np.uint16)]))
    Image.fromarray(np.dstack([rgb[..., 0], alpha])).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "8.png"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "16.png"), rgb16)
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), np.stack([rgb[..., 0]] * 3, 2))


def test_palette_with_transparency_is_resolved(tmp_path: Path) -> None:
    indices = np.random.default_rng(3).integers(0, 4, SHAPE, dtype=np.uint8)
    palette = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [1, 2, 3]], np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette.tobytes())
    image.putdata(indices.ravel().tolist())
    image.save(tmp_path / "p.png", transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), palette[indices])


def test_one_bit_becomes_0_and_255(tmp_path: Path) -> None:
    bits = np.random.default_rng(4).random(SHAPE) > 0.5
    Image.fromarray(bits).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_image(tmp_path / "1.png")[..., 0], bits * np.uint8(255))
    np.testing.assert_array_equal(read_mask(tmp_path / "1.png"), bits)


def _turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels that an EXIF orientation turns into ``upright``, spelled out from the EXIF standard.

    The tag says what row 0 and column 0 of the stored pixels are in the scene.
    """
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.swapaxes(0, 1),  # left, top
        6: upright[:, ::-1].swapaxes(0, 1),  # right, top
        7: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: upright[::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png8", "png16", "tif8", "tif16", "jpg"])
def test_exif_rotation_is_applied_to_pixels_and_size(
    tmp_path: Path, rgb: np.ndarray, rgb16: np.ndarray, orientation: int, kind: str
) -> None:
    upright = rgb16 if kind.endswith("16") else rgb
    if kind == "jpg":
        upright = np.repeat(np.repeat(rgb[:2, :3], 8, axis=0), 8, axis=1)  # flat blocks survive compression
    path = tmp_path / f"a.{kind[:3]}"
    _write_turned(path, np.ascontiguousarray(_turned(upright, orientation)), orientation)
    np.testing.assert_allclose(read_image(path), upright, atol=12 if kind == "jpg" else 0)
    assert image_size(path) == check_header(path) == upright.shape[:2]


def _write_turned(path: Path, stored: np.ndarray, orientation: int) -> None:
    if path.suffix == ".tif":
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(path, stored, photometric="rgb", metadata=None, extratags=[tag])
        return
    exif = Image.Exif()
    exif[274] = orientation
    if stored.dtype == np.uint8:
        Image.fromarray(stored).save(path, exif=exif, **({"quality": 100, "subsampling": 0}))
        return
    encoded = cv2.imencode(".png", stored[..., ::-1])[1].tobytes()
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    path.write_bytes(encoded[:33] + chunk + encoded[33:])  # behind the header chunk


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read")
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99, -13, -5, -2, -1])
@pytest.mark.parametrize("name", ["8.png", "16.png", "8.jpg", "progressive.jpg", "8.bmp", "8.tif", "16.tif"])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, name: str, kept: float) -> None:
    image = np.random.default_rng(5).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    whole = tmp_path / name
    if name.startswith("16"):
        cv2.imwrite(str(whole), image.astype(np.uint16) * 257)
    else:
        Image.fromarray(image).save(whole, **({"progressive": True} if "progressive" in name else {}))
    read_image(whole)
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * kept) if kept > 0 else len(data) + int(kept)])
    with pytest.raises(ImageError, match=name):
        read_image(whole)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_the_header_check_sees_a_truncated_file(tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rgb).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImageError, match=f"a{suffix}: cut short"):
        check_header(path)


def test_a_jpeg_whose_end_is_zeros_is_cut_short_despite_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(6).integers(0, 256, (99, 99, 3), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    thumbnail = b"\xff\xda..\xff\xd9"
    path.write_bytes(thumbnail + data[: len(data) // 2] + bytes(len(data) // 2))
    with path.open("rb") as stream:
        assert missing_part(stream, "JPEG") == (
            "cut short: a JPEG file ends with an end marker, this one does not"
        )


def test_damaged_16_bit_png_is_an_error(tmp_path: Path, rgb16: np.ndarray) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), rgb16)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.png"):
        read_image(path)


@pytest.mark.parametrize(
    "content", [b"", b"not an image at all", b"\x89PNG\r\n\x1a\n", b"GIF89a\x01\x00\x01\x00"]
)
def test_what_is_not_an_image_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    for read in (read_image, read_mask, image_size, check_header):
        with pytest.raises(ImageError, match=r"odd\.png"):
            read(path)


def test_missing_files_and_folders_are_errors_that_name_them(tmp_path: Path) -> None:
    for read in (read_image, read_mask, image_size, image_digest):
        with pytest.raises(ImageError, match=r"gone\.png: no such file"):
            read(tmp_path / "gone.png")
        with pytest.raises(ImageError, match="a folder"):
            read(tmp_path)


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "f.tif", np.zeros(SHAPE, np.float32))
    with pytest.raises(ImageError, match=r"f\.tif: 32 bits of floating point per channel.*value_range"):
        read_image(tmp_path / "f.tif")


@pytest.mark.parametrize("value", [1, 7, 255])
def test_a_mask_is_whatever_is_above_0(tmp_path: Path, value: int) -> None:
    mask = np.random.default_rng(7).random(SHAPE) > 0.7
    pixels = (mask * value).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([pixels * 0, pixels, pixels * 0])).save(tmp_path / "rgb.bmp")
    Image.fromarray(np.dstack([pixels, pixels, pixels, np.full(SHAPE, 255, np.uint8)])).save(
        tmp_path / "a.png"
    )
    cv2.imwrite(str(tmp_path / "16.png"), pixels.astype(np.uint16))
    for path in tmp_path.iterdir():
        read = read_mask(path)
        assert read.dtype == np.bool_
        np.testing.assert_array_equal(read, mask, err_msg=path.name)


def test_a_digest_is_of_content(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    assert image_digest(path) == hashlib.sha256(b"before").hexdigest()
    path.write_bytes(b"behind")
    assert image_digest(path) == hashlib.sha256(b"behind").hexdigest()


def by_pillow_alone(data: bytes) -> np.ndarray | None:
    """The pixels, or None where Pillow refuses the file."""
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        image.load()
    except Exception:
        return None
    pixels = np.asarray(image)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


@pytest.mark.parametrize("writer", ["pillow", "opencv"])
@pytest.mark.parametrize("grey", [True, False])
def test_a_plain_png_is_decoded_as_pillow_decodes_it(rgb: np.ndarray, writer: str, grey: bool) -> None:
    pixels = rgb[..., 0] if grey else rgb
    if writer == "pillow":
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        data = stream.getvalue()
    else:
        data = cv2.imencode(".png", pixels if grey else rgb[..., ::-1])[1].tobytes()
    assert damaged_chunk(data) is None
    assert np.array_equal(decode_image(data, "x"), by_pillow_alone(data))


@settings(max_examples=200)
@given(st.data())
def test_of_a_damaged_png_nothing_is_shown_that_pillow_would_not_show(data: st.DataObject) -> None:
    """OpenCV gives what it has of one; only files whose checksums are right are left to it."""
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    spoiled = bytearray(stream.getvalue())
    at = data.draw(st.integers(8, len(spoiled) - 1))
    spoiled[at] ^= data.draw(st.integers(1, 255))
    expected = by_pillow_alone(bytes(spoiled))
    try:
        found = decode_image(bytes(spoiled), "x")
    except ImageError:
        return
    assert expected is not None
    assert np.array_equal(found, expected[..., :3])


def test_what_opencv_refuses_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(stream, "PNG")

    def refuses(*given: object) -> None:
        raise cv2.error("more pixels than CV_IO_MAX_IMAGE_PIXELS")

    monkeypatch.setattr(cv2, "imdecode", refuses)
    assert decode_image(stream.getvalue(), "x")[..., 0].tolist() == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
