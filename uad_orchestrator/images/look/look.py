"""How an image looks in a few numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource

WINDOW = 2048
"""Of larger images the middle is looked at: its side in pixels."""


class Look(NamedTuple):
    """An image in a few numbers.

    Attributes:
        size: ``(H, W)``.
        bits: 8 or 16 per channel.
        channels: 1 for grey, however it is stored, or 3.
        brightness: mean of all channels, 0 black to 1 white.
        sharpness: standard deviation of the Laplacian over that of the image: lower where it is blurred, higher where
            it is noisy; NaN where all pixels are equal.
        largest: the largest value, 0 to 1 as the brightness.
        colour: mean of each of the three channels, 0 to 1.
    """

    size: tuple[int, int]
    bits: int
    channels: int
    brightness: float
    sharpness: float
    largest: float
    colour: tuple[float, float, float]

    @classmethod
    def of(cls, pixels: RgbImage, size: tuple[int, int] | None = None) -> Look:
        """Look at an image.

        Args:
            pixels: ``(H, W, 3)`` RGB, uint8 or uint16.
            size: of the whole image, where only its middle is at hand.

        Returns:
            Its look; some 2 ms for a megapixel.

        Raises:
            ValueError: the array is of another shape.

        >>> Look.of(np.full((8, 8, 3), 51, np.uint8)).brightness
        0.2
        """
        import cv2

        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"an array of shape {pixels.shape}; expected an RGB image (H, W, 3)")
        height, width = pixels.shape[:2]
        top, left = max(0, (height - WINDOW) // 2), max(0, (width - WINDOW) // 2)
        middle = pixels[top : top + WINDOW, left : left + WINDOW]
        grey_only = is_grey(middle)
        grey = np.ascontiguousarray(middle[..., 0]) if grey_only else cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY)
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey))
        edges = float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0])
        bits = 8 * pixels.dtype.itemsize
        white = 2**bits - 1
        red, green, blue = [mean] * 3 if grey_only else cv2.mean(middle)[:3]
        return cls(
            size=size or (height, width),
            bits=bits,
            channels=1 if grey_only else 3,
            brightness=round(mean / white, 6),
            sharpness=round(edges / deviation, 6) if deviation else math.nan,
            largest=round(int(middle[..., 0].max() if grey_only else middle.max()) / white, 6),
            colour=(round(red / white, 6), round(green / white, 6), round(blue / white, 6)),
        )


def look_at(image: ImageSource) -> Look:
    """Look at an image that is read for it: of a large TIFF file the middle rows alone.

    Raises:
        ImageError: it cannot be read.
    """
    return look_at_bands(image) or Look.of(image.read())


def look_at_bands(image: ImageSource) -> Look | None:
    """Look at the middle rows of a large TIFF file; None for every other image.

    Raises:
        ImageError: it cannot be read.
    """
    bands = image.bands() if image.bands is not None else None
    if bands is None:
        return None
    try:
        height, width = bands.size
        top = max(0, (height - WINDOW) // 2)
        return Look.of(bands.read(top, top + WINDOW), (height, width))
    finally:
        bands.close()


def is_grey(pixels: RgbImage) -> bool:
    """Whether its channels are one and the same; a part of the rows says no at once where they are not."""
    if pixels.strides[2] == 0:
        return True

    def equal(part: np.ndarray) -> bool:
        return bool((part[..., 0] == part[..., 1]).all() and (part[..., 1] == part[..., 2]).all())

    return equal(pixels[::16]) and equal(pixels)
