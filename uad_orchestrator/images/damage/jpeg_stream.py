"""JPEG by libjpeg-turbo, whose warnings are errors here: it goes on from damage in the middle of a file and only warns.

Neither Pillow nor OpenCV hands these warnings on.
"""

from __future__ import annotations

import re

import numpy as np

_DAMAGE = ("Corrupt JPEG data", "Premature end")
"""How its warnings of damage begin; others are about versions and markers, and take nothing from the picture."""
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_END = b"\xff\xd9"


class JpegDamage(ValueError):
    """What libjpeg-turbo says of damage."""


def decode_strictly(data: bytes, colours: str) -> np.ndarray | None:
    """The pixels of a JPEG file's first picture, where nothing is wrong with it.

    Zeros between the last pixels and the end marker are no damage: some cameras fill their files up with them.

    Args:
        data: the bytes of the file.
        colours: simplejpeg's word for the channels, such as ``GRAY``.

    Returns:
        ``(H, W, channels)`` uint8; None where it is not for libjpeg-turbo to decode it, or it warns of something else.

    Raises:
        JpegDamage: the picture is damaged.
    """
    import simplejpeg

    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colours, strict=True))
    except ValueError as error:
        said = str(error)
    if not said.startswith(_DAMAGE):
        return None
    if left_over := _LEFT_OVER.search(said):
        before, padded, behind = data.partition(bytes(int(left_over[1])) + _END)
        if padded:
            return decode_strictly(before + _END + behind, colours)
    raise JpegDamage(said)
