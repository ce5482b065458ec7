"""JPEG by libjpeg-turbo, whose warnings are errors here: it goes on from damage in the middle of a file and only warns.

Neither Pillow nor OpenCV hands these warnings on.
"""

from __future__ import annotations

import numpy as np

_COLOURS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_DAMAGE = ("Corrupt JPEG data", "Premature end")
"""How its warnings of damage begin; others are about versions and markers, and take nothing from the picture."""


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
    import simplejpeg

    if mode not in _COLOURS:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, _COLOURS[mode], strict=True)
    except ValueError as error:
        if str(error).startswith(_DAMAGE):
            raise OSError(
                f"damaged: {error}. Copy the file again from where it came; if its picture is right, save it anew"
            ) from None
        return None
    if mode == "CMYK":
        return None
    return pixels[..., 0] if mode == "L" else pixels
