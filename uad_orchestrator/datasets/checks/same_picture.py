"""Whether two files hold one picture, saved twice, or two pictures of parts that look alike.

On a line, two pictures of one part type differ little, hardly more than a picture and its copy. Saving takes fine
detail away, and leaves what is coarse as it was: so copies are compared at a quarter of their size. And each of two
pictures has noise that the other lacks, while a copy has nothing that is only in it: what it differs by is not found
in it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from uad_orchestrator.images.decode import decode_image
from uad_orchestrator.images.reading_settings import ReadingSettings

_COARSE = 4
_COARSE_LIMIT = 0.5
_FAR = 50.0
"""Coarse differences beyond which it is not tried what saving would do: no quality that anyone uses goes so far."""
_WEBP_QUALITIES = (50, 60, 70, 75, 80, 85, 90, 95, 100)
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
        resaved: the error once the one is saved as the other is, where that is a JPEG or WebP file of the same size.
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
        return self.error == 0 or (self.resaved is not None and self.resaved <= _RESAVED_SHARE * self.error)

    @property
    def may_be_copy(self) -> bool:
        """Whether saving alone could have made the difference."""
        return self.is_copy or (self.coarse <= _COARSE_LIMIT and self.own < _OWN_LIMIT)


@dataclass(frozen=True)
class Picture:
    """A picture as it is compared.

    Attributes:
        colours: ``(H, W, 3)`` RGB, uint8 or uint16.
        tables: the quantisation tables of a JPEG file, as Pillow has them; None for other files.
        sampling: of its colours, as Pillow has it.
        webp: whether it is of a WebP file, which does not say its quality.
    """

    colours: np.ndarray
    tables: Mapping[int, list[int]] | None = None
    sampling: int = -1
    webp: bool = False

    @cached_property
    def grey(self) -> np.ndarray:
        """``(H, W)`` float32, grey values of 0..255."""
        import cv2

        white = np.float32(np.iinfo(self.colours.dtype).max)
        return cv2.cvtColor(np.ascontiguousarray(self.colours), cv2.COLOR_RGB2GRAY).astype(np.float32) * (
            255 / white
        )

    def saved_as(self, other: Picture) -> Iterator[Picture]:
        """This picture, saved as the other may have been: as JPEG with its tables, as WebP of the usual qualities."""
        if other.tables is not None:
            yield self._saved(
                "JPEG", qtables=other.tables, subsampling=other.sampling if other.sampling >= 0 else 0
            )
        elif other.webp:
            for quality in _WEBP_QUALITIES:
                yield self._saved("WEBP", quality=quality)

    def _saved(self, kind: str, **options: Any) -> Picture:
        from PIL import Image

        eight = self.colours if self.colours.dtype == np.uint8 else (self.colours >> 8).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(eight)).save(file, kind, **options)
        return Picture(np.asarray(Image.open(file).convert("RGB")))


def read_picture(data: bytes, name: str, reading: ReadingSettings) -> Picture:
    """A file's picture.

    Raises:
        ImageError: as ``read_image``.
    """
    from PIL import Image, JpegImagePlugin

    colours = decode_image(data, name, reading)
    if not data.startswith(_JPEG):  # nor does Pillow open every kind of TIFF file
        return Picture(colours, webp=data[8:12] == b"WEBP")
    with Image.open(io.BytesIO(data)) as image:
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            return Picture(colours)
        return Picture(colours, dict(image.quantization), JpegImagePlugin.get_sampling(image))


def likeness(one: Picture, other: Picture) -> Likeness:
    """Compare two pictures, the larger of them brought to the size of the smaller.

    >>> plain = Picture(np.ones((8, 8, 3), np.uint8))
    >>> likeness(plain, plain).is_copy
    True
    """
    found = _difference(one.grey, other.grey)
    if not found.error or one.grey.shape != other.grey.shape or found.coarse > _FAR:
        return found
    errors = [
        float(np.mean((again.grey - saved.grey) ** 2))
        for clean, saved in ((one, other), (other, one))
        for again in clean.saved_as(saved)
    ]
    return replace(found, resaved=min(errors, default=None))


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
