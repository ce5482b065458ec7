"""Are all strips or tiles of a TIFF file there, and are they what was written?

A strip that was never written, or that lies beyond the end of a file cut short, is black to some decoders.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from uad_orchestrator.images.damage.jpeg_stream import JpegDamage, decode_strictly

if TYPE_CHECKING:
    from PIL.Image import Image

UNCOMPRESSED = 1
DEFLATE = (8, 32946)
"""Two numbers for one compression."""
_OLD_JPEG, _JPEG = 6, 7
_NO_ZEROS = (5, 32773)
"""LZW and PackBits: what they write holds no long run of zeros, and has no checksum."""
_SECTOR = bytes(512)
_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _ROWS_PER_STRIP, _PLANES = 256, 257, 259, 277, 278, 284
_FILL_ORDER, _LOWEST_FIRST = 266, 2
_TURNED_ROUND = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its lowest bit first."""
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_TILE_WIDTH, _TILE_HEIGHT, _JPEG_TABLES = 322, 323, 347

COPY_AGAIN = "Copy the file again from where it came"


@dataclass(frozen=True)
class Segments:
    """The strips or tiles of a file's first picture.

    Attributes:
        word: ``strip`` or ``tile``.
        expected: how many the picture's size asks for.
        offsets: where they begin in the file, in bytes.
        lengths: of them, in bytes; 0 where the file does not say.
        compression: TIFF's number of it.
        tables: what JPEG segments share.
        lowest_first: each byte's lowest bit stands first, in all but JPEG segments.
    """

    word: str
    expected: int
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    compression: int
    tables: bytes = b""
    lowest_first: bool = False

    def missing(self, size: int) -> str | None:
        """Why the picture is incomplete in a file of so many bytes; None where it is not."""
        if self.compression == _OLD_JPEG:  # its one stream stands elsewhere
            return None
        if len(self.offsets) < self.expected:
            there = f"{len(self.offsets)} of {self.expected} {self.word}s"
            return f"incomplete: only {there} are there. {COPY_AGAIN}"
        for number, (offset, length) in enumerate(zip(self.offsets, self.lengths, strict=True)):
            if offset == 0 or (length == 0 and self.compression != UNCOMPRESSED):
                return f"incomplete: {self.name(number)} was never written. {COPY_AGAIN}"
            # Lengths of uncompressed ones are often wrong, and nobody reads them.
            end = offset + (1 if self.compression == UNCOMPRESSED else length)
            if end > size:
                return f"cut short: {self.name(number)} ends at byte {end}, the file at {size}. {COPY_AGAIN}"
        return None

    def damaged(self, data: bytes) -> str | None:
        """What is wrong inside the segments of a file, as far as their compression tells; None where nothing is."""
        if self.compression not in (*DEFLATE, *_NO_ZEROS, _JPEG):
            return None
        for number, (offset, length) in enumerate(zip(self.offsets, self.lengths, strict=True)):
            segment = data[offset : offset + length]
            if reason := self.fault(segment, inflate=True):
                return f"damaged: {self.name(number)} {reason}. {COPY_AGAIN}"
        return None

    def name(self, number: int) -> str:
        """What messages call a segment, counted from 0."""
        return f"{self.word} {number + 1} of {len(self.offsets)}"

    def fault(self, segment: bytes, *, inflate: bool = False) -> str | None:
        """What is wrong with the bytes of one segment; its checksum is taken where ``inflate`` says so."""
        if self.compression in _NO_ZEROS and _SECTOR in segment:
            return f"has {len(_SECTOR)} zeros in a row, which its compression never writes"
        if inflate and self.compression in DEFLATE:
            try:
                zlib.decompress(segment.translate(_TURNED_ROUND) if self.lowest_first else segment)
            except zlib.error as error:
                return f"cannot be inflated ({error})"
        if self.compression == _JPEG:
            return _jpeg_fault(self.tables[:-2] + segment[2:] if self.tables else segment)
        return None


def segments_of(stream: BinaryIO, image: Image | None) -> Segments:
    """The segments of a TIFF file.

    Args:
        stream: the file.
        image: Pillow's, where it has a mode for the file.

    Raises:
        OSError: its tags make no sense.
    """
    tags = image.tag_v2 if image is not None else _tags_of(stream)  # type: ignore[attr-defined]
    try:
        return _segments(tags)
    except (TypeError, OverflowError) as error:
        raise OSError(f"damaged: its tags cannot be read ({error}). {COPY_AGAIN}") from error


def _segments(tags: Mapping[int, Any]) -> Segments:
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    if _TILES in tags:
        word, offsets, lengths = "tile", tags[_TILES], tags.get(_TILE_BYTES, ())
        columns, rows = int(tags[_TILE_WIDTH]), int(tags[_TILE_HEIGHT])
    else:
        word, offsets, lengths = "strip", tags.get(_STRIPS, ()), tags.get(_STRIP_BYTES, ())
        columns, rows = width, int(tags.get(_ROWS_PER_STRIP, height))
    planes = int(tags.get(_SAMPLES, 1)) if int(tags.get(_PLANES, 1)) == 2 else 1
    expected = -(-width // max(1, columns)) * -(-height // max(1, rows)) * planes
    offsets, lengths = _numbers(offsets), _numbers(lengths)
    known = (*lengths, *(0 for _ in offsets[len(lengths) :]))[: len(offsets)]
    tables = tags.get(_JPEG_TABLES, b"")
    compression = int(tags.get(_COMPRESSION, UNCOMPRESSED))
    lowest_first = int(tags.get(_FILL_ORDER, 1)) == _LOWEST_FIRST
    return Segments(word, expected, offsets, known, compression, bytes(tables), lowest_first)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else (int(value),)


def _tags_of(stream: BinaryIO) -> Mapping[int, Any]:
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page: Any = file.pages.first
        return {tag.code: tag.value for tag in page.tags}


def _jpeg_fault(segment: bytes) -> str | None:
    try:
        decode_strictly(segment, "GRAY")
    except JpegDamage as damage:
        return f"is a damaged JPEG ({damage})"
    return None
