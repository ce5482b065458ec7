"""What cameras and light do to pictures between one day and the next; used to augment, and to test for drift.

Each effect takes float32 RGB ``(H, W, 3)`` in [0, 1] and returns the same, not clipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def colour_gains(unit: np.ndarray, gains: Sequence[float]) -> np.ndarray:
    """Another white balance: R, G and B each by its gain."""
    return unit * np.asarray(gains, np.float32)


def exposure(unit: np.ndarray, factor: float) -> np.ndarray:
    """More or less light: all channels by one factor; what exceeds full scale is cut, as a sensor does."""
    return np.minimum(unit * np.float32(factor), np.float32(1))


def glare(unit: np.ndarray, centre: tuple[float, float], radius: float, strength: float) -> np.ndarray:
    """A soft white reflection over the picture.

    Args:
        centre: (y, x) as fractions of height and width.
        radius: Gaussian sigma as a fraction of the shorter edge.
        strength: of full scale, added at the centre.
    """
    height, width = unit.shape[:2]
    sigma = radius * min(height, width)
    rows = np.exp(-0.5 * ((np.arange(height) + 0.5 - centre[0] * height) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(width) + 0.5 - centre[1] * width) / sigma) ** 2)
    added = (strength * np.outer(rows, columns)).astype(np.float32)
    return np.minimum(unit + added[..., None], np.float32(1))


def jpeg(unit: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG and back, at 8 bits whatever the image had.

    Args:
        quality: 1 (coarse) to 100.
    """
    import cv2

    levels = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    written, stream = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(stream, cv2.IMREAD_COLOR) if written else None
    if decoded is None:
        raise ValueError(f"an image of {unit.shape} cannot be written as JPEG")
    return decoded[..., ::-1].astype(np.float32) / np.float32(255)


def blur(unit: np.ndarray, sigma: float) -> np.ndarray:
    """Out of focus: Gaussian blur, sigma in pixels, reflected at the border."""
    import cv2

    return cv2.GaussianBlur(unit, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def noise(unit: np.ndarray, sigma: float, draws: np.random.Generator) -> np.ndarray:
    """Sensor noise: Gaussian, each channel by itself, sigma of full scale."""
    return unit + np.float32(sigma) * draws.standard_normal(unit.shape, dtype=np.float32)


def turn(image: np.ndarray, angle: float, off_centre: float = 0.0) -> np.ndarray:
    """``image`` turned by ``angle`` degrees about its centre: same canvas, bilinear, reflect-101 border.

    Args:
        image: ``(H, W)`` or ``(H, W, channels)``, of any dtype OpenCV takes.
        angle: degrees, counter-clockwise.
        off_centre: how far right of and below the centre it is turned about, in pixels.
    """
    import cv2

    height, width = image.shape[:2]
    about = (width - 1) / 2 + off_centre, (height - 1) / 2 + off_centre
    matrix = cv2.getRotationMatrix2D(about, angle, 1.0)
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def turn_mask(mask: np.ndarray, angle: float, off_centre: float = 0.0) -> np.ndarray:
    """``mask`` ``(H, W)`` bool, turned as ``turn`` turns the picture: True where most of a pixel is."""
    return turn(mask.astype(np.uint8) * 255, angle, off_centre) > 127


def draws_for(*what: object) -> np.random.Generator:
    """Random numbers that follow from what they are for, e.g. an image's digest: the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, what)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
