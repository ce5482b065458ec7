"""Was an image file cut short, or changed? Answered from its structure, and cheaply.

Decoders differ here: some fill what is missing with grey and say nothing.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

from uad_orchestrator.images.damage.tiff_segments import segments_of

if TYPE_CHECKING:
    from PIL.Image import Image

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"
_TAIL = 1 << 16


def missing_part(stream: BinaryIO, image_format: str, image: Image | None = None) -> str | None:
    """Why the file is incomplete, or None.

    PNG: the closing chunk is there. JPEG (and MPO, which begins with one): the end marker follows the last
    scan. BMP: the file is as long as its header says. TIFF: all strips or tiles are there.

    Args:
        stream: the file.
        image_format: Pillow's name of the format.
        image: Pillow's, of a TIFF file that it has a mode for.

    >>> missing_part(io.BytesIO(b"\\x89PNG..."), "PNG")
    'cut short: a PNG file ends with an IEND chunk, this one does not'
    """
    size = stream.seek(0, io.SEEK_END)
    if image_format == "TIFF":
        return segments_of(stream, image).missing(size)
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


def damaged_chunk(data: bytes) -> str | None:
    """Which part of a PNG file is not as it was written, by the checksums of its chunks; None: none that matters.

    Text and the like may be damaged: no decoder reads it.

    Args:
        data: the bytes of a file that begins like a PNG.

    >>> damaged_chunk(_PNG_START + _PNG_END), damaged_chunk(_PNG_START + _PNG_END[:-1])
    (None, 'damaged: no chunk can be read from byte 8 on')
    """
    view, at = memoryview(data), len(_PNG_START)
    while at + 12 <= len(view):
        (length,) = struct.unpack_from(">I", view, at)
        name, end = bytes(view[at + 4 : at + 8]), at + 8 + length
        if end + 4 > len(view):
            break
        needed = name[:1].isupper()
        if needed and struct.unpack_from(">I", view, end)[0] != zlib.crc32(view[at + 4 : end]):
            return f"damaged: the checksum of the {name.decode('latin-1')} chunk at byte {at} differs"
        if name == b"IEND":
            return None
        at = end + 4
    return f"damaged: no chunk can be read from byte {at} on"


def _jpeg_ends(stream: BinaryIO, size: int) -> bool:
    """An end marker may also close an embedded thumbnail: only one behind the last scan's start counts."""
    tail = _tail(stream, size)
    end = tail.rfind(_JPEG_END)
    return end >= 0 and end > tail.rfind(_JPEG_SCAN)


def _tail(stream: BinaryIO, size: int) -> bytes:
    stream.seek(max(0, size - _TAIL))
    return stream.read(_TAIL)
