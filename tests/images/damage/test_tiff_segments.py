"""TIFF files whose strips or tiles are missing, empty or changed; made here byte by byte, or by other writers."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from uad_orchestrator.images import tiff_bands
from uad_orchestrator.images.decode import ImageError, decode_image
from uad_orchestrator.images.file_facts import check_header
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.images.tiff_bands import TiffBands, can_read_bands

ROWS, COLUMNS = np.mgrid[0:128, 0:160]
GREY = ((ROWS * 5 + COLUMNS * 3) % 251 + 4).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(1, 256, GREY.shape, dtype=np.uint8)
STRIP = 32
IMAGE, OFFSETS, LENGTHS = 8, 273, 279
FILL_ORDER, PREDICTOR = 266, 317


def tiff(
    strips: list[bytes], compression: int = 1, *, tags: dict[int, tuple[int, list[int]]] | None = None
) -> bytes:
    """A grey TIFF of 8 bits, 160 x 128, in strips of 32 rows; ``tags`` (type, values) overrule its own."""
    offsets = [IMAGE + sum(map(len, strips[:number])) for number in range(len(strips))]
    entries: dict[int, tuple[int, list[int]]] = {
        256: (4, [GREY.shape[1]]),
        257: (4, [GREY.shape[0]]),
        258: (3, [8]),
        259: (3, [compression]),
        262: (3, [1]),
        OFFSETS: (4, offsets),
        277: (3, [1]),
        278: (4, [STRIP]),
        LENGTHS: (4, [len(strip) for strip in strips]),
    } | (tags or {})
    body = b"".join(strips)
    directory_at = IMAGE + len(body)
    arrays_at = directory_at + 2 + 12 * len(entries) + 4
    directory, arrays = struct.pack("<H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            place, arrays = struct.pack("<I", arrays_at + len(arrays)), arrays + packed
        else:
            place = packed.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, len(values)) + place
    return b"II*\0" + struct.pack("<I", directory_at) + body + directory + bytes(4) + arrays


def strips_of(image: np.ndarray, compress: Callable[[bytes], bytes] = bytes) -> list[bytes]:
    return [compress(image[top : top + STRIP].tobytes()) for top in range(0, len(image), STRIP)]


def read(data: bytes) -> np.ndarray:
    return decode_image(data, "a.tif")[..., 0]


@pytest.mark.parametrize("image", [GREY, NOISE, GREY * 0, np.where(ROWS > 50, 0, GREY)])
@pytest.mark.parametrize(("compress", "number"), [(bytes, 1), (zlib.compress, 8), (zlib.compress, 32946)])
def test_sound_files_are_read_as_they_are(image: np.ndarray, compress, number: int) -> None:
    """Black ones, too, and such that are black below."""
    assert np.array_equal(read(tiff(strips_of(image, compress), number)), image)


OFFSET_OF_A_SOUND_FILE = [IMAGE + number * STRIP * GREY.shape[1] for number in range(4)]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (
            {OFFSETS: (4, OFFSET_OF_A_SOUND_FILE[:3]), LENGTHS: (4, [5120] * 3)},
            "only 3 of 4 strips are there",
        ),
        ({OFFSETS: (4, [*OFFSET_OF_A_SOUND_FILE[:3], 0])}, "strip 4 of 4 was never written"),
        ({OFFSETS: (4, [*OFFSET_OF_A_SOUND_FILE[:3], 999_999])}, "cut short: strip 4 of 4 ends at byte"),
    ],
)
def test_strips_that_are_not_there_are_named(tmp_path: Path, tags, said: str) -> None:
    data = tiff(strips_of(GREY), tags=tags)
    with pytest.raises(ImageError, match=rf"a\.tif: .*{said}"):
        read(data)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=rf"a\.tif: .*{said}"):
        check_header(tmp_path / "a.tif")


@pytest.mark.parametrize("lengths", [[5120, 5120, 0, 5120], [5120, 5120, 5120, 10**6]])
def test_wrong_lengths_of_uncompressed_strips_take_nothing_from_the_picture(lengths: list[int]) -> None:
    """Some writers leave them wrong; no reader needs them."""
    assert np.array_equal(read(tiff(strips_of(GREY), tags={LENGTHS: (4, lengths)})), GREY)


def test_a_compressed_strip_of_no_bytes_was_never_written() -> None:
    strips = strips_of(GREY, zlib.compress)
    with pytest.raises(ImageError, match="strip 2 of 4 was never written"):
        read(tiff([strips[0], b"", *strips[2:]], 8))


def written(shape: str, **settings: object) -> bytes:
    pixels = {
        "grey": NOISE,
        "rgb": np.dstack([NOISE, GREY, NOISE]),
        "grey16": NOISE.astype(np.uint16) * 200,
        "rgb16": np.dstack([NOISE, GREY, NOISE]).astype(np.uint16) * 200,
        "float": NOISE.astype(np.float32) / 255,
    }[shape]
    stream = io.BytesIO()
    photometric = "rgb" if "rgb" in shape else "minisblack"
    tifffile.imwrite(stream, pixels, photometric=photometric, metadata=None, compression="zlib", **settings)
    return stream.getvalue()


@pytest.mark.parametrize("shape", ["grey", "rgb", "grey16", "rgb16", "float"])
@pytest.mark.parametrize(
    "layout", [{"rowsperstrip": 32}, {"tile": (64, 64)}, {"rowsperstrip": 32, "byteorder": ">"}]
)
def test_of_deflate_any_flipped_bit_is_found_by_its_checksum(shape: str, layout: dict[str, object]) -> None:
    data, reading = bytearray(written(shape, **layout)), ReadingSettings(value_range=(0, 1))
    decode_image(bytes(data), "a.tif", reading if shape == "float" else ReadingSettings())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        places = [
            start + int(length * 0.8)
            for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    for place in places:
        spoiled = bytearray(data)
        spoiled[place] ^= 8
        with pytest.raises(ImageError, match=r"a\.tif: .*damaged"):
            decode_image(bytes(spoiled), "a.tif", reading if shape == "float" else ReadingSettings())


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16])
def test_numbers_of_any_order_of_bytes(byteorder: str, compression: str | None, dtype: type) -> None:
    if compression == "lzw":
        pytest.importorskip("imagecodecs", reason="tifffile writes LZW with it alone")
    stream, values = io.BytesIO(), (NOISE.astype(np.float64) * 100).astype(dtype)
    tifffile.imwrite(
        stream, values, photometric="minisblack", metadata=None, compression=compression, byteorder=byteorder
    )
    expected = np.rint(values / 25_500 * 65_535)
    assert np.array_equal(
        decode_image(stream.getvalue(), "a", ReadingSettings(value_range=(0, 25_500)))[..., 0], expected
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", ["rgb", "rgb16"])
def test_deflate_is_turned_and_ordered_like_what_is_not_compressed(orientation: int, shape: str) -> None:
    extra = [(274, "H", 1, orientation, True)]
    stream = io.BytesIO()
    pixels = np.dstack([NOISE, GREY, NOISE[::-1]]).astype(np.uint16 if "16" in shape else np.uint8)
    tifffile.imwrite(stream, pixels, photometric="rgb", metadata=None, extratags=extra)
    for settings in ({"compression": "zlib"}, {"compression": "zlib", "planarconfig": "separate"}):
        deflated, given = io.BytesIO(), pixels
        if "planarconfig" in settings:
            given = np.moveaxis(pixels, 2, 0)
        tifffile.imwrite(deflated, given, photometric="rgb", metadata=None, extratags=extra, **settings)
        assert np.array_equal(decode_image(deflated.getvalue(), "a"), decode_image(stream.getvalue(), "b"))


def by_pillow(mode: str, compression: str, tags: dict[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.dstack([NOISE, GREY, NOISE])).convert(mode).save(
        stream, "TIFF", compression=compression, tiffinfo=tags or {}
    )
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_deflate_with_the_lowest_bit_first_is_held_to_its_checksum(mode: str) -> None:
    data = bytearray(by_pillow(mode, "tiff_adobe_deflate", {FILL_ORDER: 2}))
    usual = by_pillow(mode, "tiff_adobe_deflate")
    assert np.array_equal(decode_image(bytes(data), "a.tif"), decode_image(usual, "b.tif"))
    tags = Image.open(io.BytesIO(data)).tag_v2
    data[tags[OFFSETS][0] + int(tags[LENGTHS][0] * 0.8)] ^= 8
    with pytest.raises(ImageError, match=r"a\.tif: .*damaged: strip 1 of \d+ cannot be inflated"):
        decode_image(bytes(data), "a.tif")


def test_jpeg_of_two_channels_is_libtiffs_alone() -> None:
    assert decode_image(by_pillow("LA", "jpeg"), "a.tif").shape == (*GREY.shape, 3)


def test_deflated_differences_of_floats_are_read_whatever_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tifffile, "TiffFile", without_imagecodecs)
    reading = ReadingSettings(value_range=(0, 255))
    data = [by_pillow("F", "tiff_adobe_deflate", {PREDICTOR: 3}), by_pillow("F", "raw")]
    assert np.array_equal(*(decode_image(each, "a.tif", reading) for each in data))


def test_what_tifffile_cannot_decode_alone_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tifffile, "TiffFile", without_imagecodecs)
    with pytest.raises(ImageError, match="pip install imagecodecs") as caught:
        decode_image(by_pillow("L", "tiff_adobe_deflate"), "a.tif")
    assert "damaged" not in str(caught.value)


def without_imagecodecs(stream: io.BytesIO) -> tifffile.TiffFile:
    """Its words where the package is missing."""
    raise ValueError("<PREDICTOR.FLOATINGPOINT: 3> requires the 'imagecodecs' package")


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "CMYK", "LA"])
def test_deflate_of_kinds_that_another_decoder_reads_is_held_to_its_checksum(mode: str) -> None:
    data = bytearray(by_pillow(mode, "tiff_adobe_deflate"))
    decode_image(bytes(data), "a.tif")
    tags = Image.open(io.BytesIO(data)).tag_v2
    data[tags[OFFSETS][0] + int(tags[LENGTHS][0] * 0.8)] ^= 8
    with pytest.raises(ImageError, match=r"a\.tif: .*damaged: strip 1 of \d+ cannot be inflated"):
        decode_image(bytes(data), "a.tif")


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "jpeg"])
def test_a_sector_of_zeros_in_a_compressed_strip_is_named(compression: str) -> None:
    data = bytearray(by_pillow("RGB", compression))
    decode_image(bytes(data), "a.tif")
    tags = Image.open(io.BytesIO(data)).tag_v2
    start = tags[OFFSETS][0] + tags[LENGTHS][0] // 3
    data[start : start + 512] = bytes(512)
    with pytest.raises(ImageError, match=r"a\.tif: .*damaged: strip 1 of \d+"):
        decode_image(bytes(data), "a.tif")


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_black_picture_is_sound_however_it_is_compressed(compression: str, mode: str) -> None:
    if (mode, compression) == ("1", "jpeg"):
        return
    stream = io.BytesIO()
    Image.new(mode, (1500, 1500)).save(stream, "TIFF", compression=compression)
    assert not decode_image(stream.getvalue(), "a.tif").any()


@pytest.mark.parametrize("compression", ["zlib", None])
def test_bands_of_a_large_file_name_what_is_damaged(
    tmp_path: Path, monkeypatch, compression: str | None
) -> None:
    monkeypatch.setattr(tiff_bands, "LARGE", 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, NOISE, photometric="minisblack", metadata=None, compression=compression, rowsperstrip=STRIP
    )
    assert can_read_bands(path)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        start, length = page.dataoffsets[3], page.databytecounts[3]
    data = bytearray(path.read_bytes())
    if compression:
        data[start + length // 2] ^= 8
        path.write_bytes(data)
        bands = TiffBands(path, ReadingSettings())
        assert np.array_equal(bands.read(0, STRIP)[..., 0], NOISE[:STRIP])
        with pytest.raises(ImageError, match=r"a\.tif: .*damaged: strip 4 of 4"):
            bands.read(0, 128)
        bands.close()
    else:
        path.write_bytes(data[: start + length // 2])
        with pytest.raises(ImageError, match=r"a\.tif"):
            TiffBands(path, ReadingSettings()).read(0, 128)


def test_a_large_file_whose_first_strip_is_damaged_is_named_not_a_crash(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tiff_bands, "LARGE", 1)
    path = tmp_path / "a.tif"
    data = bytearray(written("grey", rowsperstrip=32))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        data[file.pages.first.dataoffsets[0] + 300] ^= 8
    path.write_bytes(data)
    assert not can_read_bands(path)
