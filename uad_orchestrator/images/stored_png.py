"""PNG files that are the same to the last byte on every machine.

Encoders hand the pixels to whatever zlib they were built with, and those compress differently; here the
pixels are stored uncompressed, which leaves nothing to choose.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_BLOCK = 65535  # the longest a stored block of deflate can be


def encode_stored_png(pixels: np.ndarray) -> bytes:
    """A PNG file of ``(H, W)`` or ``(H, W, 3)`` uint8 pixels, uncompressed.

    Raises:
        ValueError: another shape or dtype.
    """
    if pixels.dtype != np.uint8 or (pixels.ndim != 2 and pixels.shape[2:] != (3,)):
        raise ValueError(f"{pixels.shape} {pixels.dtype}; expected (H, W) or (H, W, 3) uint8")
    height, width = pixels.shape[:2]
    colour = _GREY if pixels.ndim == 2 else _RGB
    lines = pixels.reshape(height, -1)
    unfiltered = np.hstack([np.zeros((height, 1), np.uint8), lines]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"".join(
        [_SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", _stored(unfiltered)), _chunk(b"IEND", b"")]
    )


def _stored(data: bytes) -> bytes:
    """A zlib stream (RFC 1950) of stored blocks (RFC 1951, section 3.2.4)."""
    blocks = []
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        blocks.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(data))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
