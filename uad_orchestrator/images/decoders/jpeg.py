"""JPEG by libjpeg-turbo, which lets other threads work meanwhile, and whose pixels are those of Pillow."""

from __future__ import annotations

import numpy as np

from uad_orchestrator.images.damage.jpeg_stream import JpegDamage, decode_strictly

_COLOURS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


def decode_jpeg(data: bytes, mode: str) -> np.ndarray | None:
    """The pixels of a JPEG file's first picture: those of Pillow, bit for bit.

    Args:
        data: the bytes of the file.
        mode: Pillow's word for its channels.

    Returns:
        ``(H, W)`` or ``(H, W, 3)`` RGB, uint8; None where this is left to Pillow: four inks, odd sampling, and what is
        damaged beyond decoding.

    Raises:
        OSError: the picture is damaged.
    """
    if mode not in _COLOURS:
        return None
    try:
        pixels = decode_strictly(data, _COLOURS[mode])
    except JpegDamage as damage:
        raise OSError(
            f"damaged: {damage}. Copy the file again from where it came; if its picture is right, save it anew"
        ) from None
    if pixels is None or mode == "CMYK":
        return None
    return pixels[..., 0] if mode == "L" else pixels
