"""Was an image file cut short? Answered from its structure, without decoding, and cheaply.

Decoders differ here: some fill what is missing with grey and say nothing.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"
_TAIL = 1 << 16


def missing_end(stream: BinaryIO, image_format: str) -> str | None:
    """Why the file is incomplete, or None. ``image_format`` is Pillow's name of the format.

    PNG: the closing chunk is there. JPEG (and MPO, which begins with one): the end marker follows the last
    scan. BMP: the file is as long as its header says. TIFF files are left to their decoder, which fails on
    any missing strip.

    >>> missing_end(io.BytesIO(b"\\x89PNG..."), "PNG")
    'cut short: a PNG file ends with an IEND chunk, this one does not'
    """
    size = stream.seek(0, io.SEEK_END)
    if image_format == "PNG" and _PNG_END not in _tail(stream, size):
        return "cut short: a PNG file ends with an IEND chunk, this one does not"
    if image_format in ("JPEG", "MPO") and not _jpeg_ends(stream, size):
        return "cut short: a JPEG file ends with an end marker, this one does not"
    if image_format == "BMP":
        stream.seek(2)
        announced = struct.unpack("<I", stream.read(4))[0]
        if announced > size:
            return f"cut short: {size} bytes, its header announces {announced}"
    return None


def sound_png(data: bytes) -> bool:
    """Whether every chunk of a PNG file is as it was written, by its checksum, up to the last.

    Args:
        data: the bytes of a file that begins like a PNG.

    Returns:
        False where a chunk is damaged or missing; whether it can be read nevertheless is for a decoder to say.

    >>> sound_png(_PNG_START + _PNG_END), sound_png(_PNG_START + _PNG_END[:-1])
    (True, False)
    """
    view, at = memoryview(data), len(_PNG_START)
    while at + 12 <= len(view):
        (length,) = struct.unpack_from(">I", view, at)
        end = at + 8 + length
        if end + 4 > len(view) or struct.unpack_from(">I", view, end)[0] != zlib.crc32(view[at + 4 : end]):
            return False
        if view[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def _jpeg_ends(stream: BinaryIO, size: int) -> bool:
    """An end marker may also close an embedded thumbnail: only one behind the last scan's start counts."""
    tail = _tail(stream, size)
    end = tail.rfind(_JPEG_END)
    return end >= 0 and end > tail.rfind(_JPEG_SCAN)


def _tail(stream: BinaryIO, size: int) -> bytes:
    stream.seek(max(0, size - _TAIL))
    return stream.read(_TAIL)
