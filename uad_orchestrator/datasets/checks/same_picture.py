"""Whether two files hold one picture, saved twice, or two pictures of parts that look alike.

On a line, two pictures of one part type differ little, hardly more than a picture and its copy. The proof of a copy is
that saving the one again makes it the other (``saving_again``). Where the way it was saved is not found: saving takes
fine detail away, and leaves what is coarse as it was, so copies are compared at a quarter of their size; and each of
two pictures has noise that the other lacks, while little is only in a copy.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from uad_orchestrator.datasets.checks.saving_again import LOSSLESS, FileKind, grey_of, share_left
from uad_orchestrator.images.decode import decode_image
from uad_orchestrator.images.reading_settings import ReadingSettings

_COARSE = 4
_COARSE_LIMIT = 0.5
_FAR = 50.0
"""Coarse differences beyond which it is not tried what saving would do: no quality that anyone uses goes so far."""
_SAVED_TWICE = 6.0
"""The same, of a step whose quality nothing tells: JPEG of quality 30 comes to 4 at most, on fine texture."""
_OWN_LIMIT = 0.3
_RESAVED_SHARE = 0.1
_DETAIL_SIGMA = 4.0
_MOST_PIXELS = 1024
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Likeness:
    """How two pictures differ, in grey values of 0..255.

    Attributes:
        error: mean of the squared difference; 0 for the same pixels.
        coarse: the same at a quarter of their size.
        resaved: the share of the error that is left once the one is saved as the other may have been; None: not tried.
        own: the smaller of the shares of the difference that is detail of the one picture alone, and of the other:
            near 0 for a copy, near 0.5 for two pictures.
    """

    error: float
    coarse: float
    own: float
    resaved: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether saving made the difference, beyond doubt."""
        return self.error == 0 or (self.resaved is not None and self.resaved <= _RESAVED_SHARE)

    @property
    def may_be_copy(self) -> bool:
        """Whether saving alone could have made the difference."""
        return self.is_copy or (self.coarse <= _COARSE_LIMIT and self.own < _OWN_LIMIT)


@dataclass(frozen=True)
class Picture:
    """A picture as it is compared.

    Attributes:
        colours: ``(H, W, 3)`` RGB, uint8 or uint16.
        kind: of its file.
    """

    colours: np.ndarray
    kind: FileKind = LOSSLESS

    @cached_property
    def grey(self) -> np.ndarray:
        """``(H, W)`` float32, grey values of 0..255."""
        return grey_of(self.colours)

    @cached_property
    def eight_bits(self) -> np.ndarray:
        """``(H, W, 3)`` uint8."""
        return self.colours if self.colours.dtype == np.uint8 else (self.colours >> 8).astype(np.uint8)


def read_picture(data: bytes, name: str, reading: ReadingSettings) -> Picture:
    """A file's picture.

    Raises:
        ImageError: as ``read_image``.
    """
    from PIL import Image, JpegImagePlugin

    colours = decode_image(data, name, reading)
    if not data.startswith(_JPEG):  # nor does Pillow open every kind of TIFF file
        return Picture(colours, FileKind(webp=data[8:12] == b"WEBP"))
    with Image.open(io.BytesIO(data)) as image:
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            return Picture(colours)
        return Picture(colours, FileKind(dict(image.quantization), JpegImagePlugin.get_sampling(image)))


def likeness(one: Picture, other: Picture) -> Likeness:
    """Compare two pictures, the larger of them brought to the size of the smaller.

    >>> plain = Picture(np.ones((8, 8, 3), np.uint8))
    >>> likeness(plain, plain).is_copy
    True
    """
    found = _difference(one.grey, other.grey)
    if not found.error or found.coarse > _FAR:
        return found
    twice = found.coarse <= _SAVED_TWICE
    shares = [
        share_left(clean.eight_bits, saved.eight_bits, saved.kind, twice=twice)
        for clean, saved in ((one, other), (other, one))
    ]
    return replace(found, resaved=min(shares))


def _difference(one: np.ndarray, other: np.ndarray) -> Likeness:
    height, width = min(one.shape, other.shape, key=lambda shape: shape[0] * shape[1])
    one, other = _resized(one, height, width), _resized(other, height, width)
    difference = one - other
    coarse = _resized(difference, max(1, height // _COARSE), max(1, width // _COARSE))
    own = _own_detail(_middle(one), _middle(other))
    return Likeness(float(np.mean(difference**2)), float(np.mean(coarse**2)), own)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    if image.shape == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _own_detail(one: np.ndarray, other: np.ndarray) -> float:
    import cv2

    difference = one - other
    energy = float(np.vdot(difference, difference))
    if not energy:
        return 0.0
    shares = (
        sign * float(np.vdot(difference, image - cv2.GaussianBlur(image, (0, 0), _DETAIL_SIGMA))) / energy
        for image, sign in ((one, 1), (other, -1))
    )
    return max(0.0, min(shares))


def _middle(image: np.ndarray) -> np.ndarray:
    """The middle of a large picture: enough to tell, and at its full sharpness."""
    top, left = (max(0, (side - _MOST_PIXELS) // 2) for side in image.shape)
    return np.ascontiguousarray(image[top : top + _MOST_PIXELS, left : left + _MOST_PIXELS])
