"""PNG files are held to their own checksums, whoever decodes them."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from uad_orchestrator.images.decode import ImageError, decode_image

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 4), dtype=np.uint8)


def png(mode: str) -> bytes:
    if mode == "16 bits":
        return cv2.imencode(".png", NOISE[..., :3].astype(np.uint16) * 257)[1].tobytes()
    stream = io.BytesIO()
    image = Image.fromarray(NOISE)
    (image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "16 bits"])
@pytest.mark.parametrize("place", [0.5, 0.9, 0.999])
def test_a_flipped_bit_in_the_pixels_is_named(mode: str, place: float) -> None:
    data = bytearray(png(mode))
    decode_image(bytes(data), "a.png")
    data[min(int(place * len(data)), len(data) - 20)] ^= 16
    with pytest.raises(
        ImageError, match=r"a\.png: damaged: the checksum of the IDAT chunk at byte \d+ differs"
    ):
        decode_image(bytes(data), "a.png")


def test_a_damaged_comment_behind_the_pixels_takes_nothing_from_them() -> None:
    data = png("RGBA")
    text = struct.pack(">I", 3) + b"tEXt" + b"a\0b" + struct.pack(">I", zlib.crc32(b"tEXta\0c"))
    assert np.array_equal(decode_image(data[:-12] + text + data[-12:], "a.png"), decode_image(data, "a.png"))
