"""What a picture becomes when it is saved again as another was: scaled, through JPEG or WebP, and as that one's file.

An encoder does the same to the same pixels each time. So a picture that was saved with loss is met again, to the last
digit, by saving its original with the same settings; another picture of a like part is not. The settings are tried:
a JPEG file says its own, WebP and a step before the file do not: every quality of JPEG from 20, the usual ones of WebP.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_WEBP_QUALITIES = (*range(50, 100, 5), 100)
"""The usual ones: each costs as much as saving the picture, and those between them are not met by their neighbours."""
_JPEG_QUALITIES = range(20, 101)
_SAMPLINGS = (2, 0, 1)
"""Of JPEG's colours, as Pillow numbers them; 4:2:0 first, which is the commonest."""
_CROP = 64
"""Side of the part on which JPEG's quality is looked for; its blocks of 8 do not depend on each other."""
_WEBP_PIXELS = 1 << 21
"""Of larger pictures WebP is not tried as a step before the file: each try takes half a second."""
_EXACT = 0.01
"""Share of the difference that ends the search: it will not get better."""
_NEAR = 0.4
"""Share of the difference that is left by settings worth a closer look."""


@dataclass(frozen=True)
class FileKind:
    """How a file keeps its picture.

    Attributes:
        tables: the quantisation tables of a JPEG file, as Pillow has them; None for other files.
        sampling: of its colours, as Pillow has it.
        webp: whether it is a WebP file, which does not say its quality.
    """

    tables: Mapping[int, list[int]] | None = None
    sampling: int = -1
    webp: bool = False


LOSSLESS = FileKind()
"""PNG, BMP, TIFF, and others that give back what was saved."""


def share_left(colours: np.ndarray, saved: np.ndarray, kind: FileKind, *, twice: bool) -> float:
    """How much of the difference of two pictures is left when the one is saved as the other may have been.

    Args:
        colours: ``(H, W, 3)`` uint8 RGB, the picture that may be the original.
        saved: ``(h, w, 3)`` uint8, the one that may be its copy.
        kind: of the file of ``saved``.
        twice: whether to look for a step of unknown quality before that file, too: a tenth of a second for 256 x 256.

    Returns:
        0 where saving makes the one the other, about 1 where it explains nothing.
    """
    least = 1.0
    for share in _shares(colours, saved, kind, twice=twice):
        least = min(least, share)
        if least <= _EXACT:
            break
    return least


def _shares(colours: np.ndarray, saved: np.ndarray, kind: FileKind, *, twice: bool) -> Iterator[float]:
    target = grey_of(saved)

    def error(picture: np.ndarray) -> float:
        return float(np.mean((grey_of(picture) - target) ** 2))

    finish = _as_file(kind)
    starts = list(_scaled(colours, saved.shape[:2]))
    finished = [error(finish(start)) for start in starts]
    start = starts[int(np.argmin(finished))]
    before = min(error(start) for start in starts)
    if not before:
        yield 0.0
        return
    yield from (left / before for left in finished)
    if kind.webp:
        yield from (left / before for left in _through_webp(start, error, lambda picture: picture))
    if twice and not kind.webp:
        for quality in _jpeg_qualities(start, saved, kind):
            for sampling in _SAMPLINGS:
                again = saved_again(start, "JPEG", quality=quality, subsampling=sampling)
                yield error(finish(again)) / before
        if target.size <= _WEBP_PIXELS:
            yield from (left / before for left in _through_webp(start, error, finish))


def grey_of(colours: np.ndarray) -> np.ndarray:
    """``(H, W)`` float32, grey values of 0..255, of ``(H, W, 3)`` uint8 or uint16."""
    import cv2

    white = np.float32(np.iinfo(colours.dtype).max)
    return cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2GRAY).astype(np.float32) * (255 / white)


def saved_again(picture: np.ndarray, kind: str, **options: Any) -> np.ndarray:
    """A picture, ``(H, W, 3)`` or ``(H, W)`` uint8, as it comes out of a file in the same shape."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(file, kind, **options)
    return np.asarray(Image.open(file).convert(image.mode))


def _scaled(colours: np.ndarray, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """The picture at another size, as the usual filters make it."""
    from PIL import Image

    if colours.shape[:2] == shape:
        yield colours
        return
    image = Image.fromarray(np.ascontiguousarray(colours))
    filters = Image.Resampling
    for kind in (filters.LANCZOS, filters.BICUBIC, filters.BILINEAR, filters.BOX, filters.NEAREST):
        yield np.asarray(image.resize(shape[::-1], kind))


def _as_file(kind: FileKind) -> Callable[[np.ndarray], np.ndarray]:
    """Saves a picture, or its grey values, as the file is; lossless files change nothing."""

    def finish(picture: np.ndarray) -> np.ndarray:
        if kind.tables is None:
            return picture
        if picture.ndim == 2:
            return saved_again(picture, "JPEG", qtables={0: kind.tables[0]})
        return saved_again(picture, "JPEG", qtables=kind.tables, subsampling=max(kind.sampling, 0))

    return finish


def _through_webp(
    picture: np.ndarray,
    error: Callable[[np.ndarray], float],
    finish: Callable[[np.ndarray], np.ndarray],
) -> Iterator[float]:
    """What is left after WebP at the usual qualities."""

    for quality in _WEBP_QUALITIES:
        yield error(finish(saved_again(picture, "WEBP", quality=quality)))


def _jpeg_qualities(picture: np.ndarray, saved: np.ndarray, kind: FileKind) -> list[int]:
    """The qualities, two at most, at which JPEG brings a part of a picture near to what was saved."""
    finish = _as_file(kind)
    one, other = grey_of(picture), grey_of(saved)
    part = _most_different(one, other)
    one, other = np.rint(one[part]).astype(np.uint8), other[part]

    def error(found: np.ndarray) -> float:
        return float(np.mean((found - other) ** 2))

    left = {quality: error(finish(saved_again(one, "JPEG", quality=quality))) for quality in _JPEG_QUALITIES}
    best = sorted(left, key=lambda quality: left[quality])[:2]
    return [quality for quality in best if left[quality] <= _NEAR * error(one)]


def _most_different(one: np.ndarray, other: np.ndarray) -> tuple[slice, slice]:
    """Where two pictures differ most: a part of them, cut between JPEG's blocks."""
    squared = (one - other) ** 2
    corners = [(top, left) for top in range(0, one.shape[0], _CROP) for left in range(0, one.shape[1], _CROP)]
    top, left = max(corners, key=lambda at: squared[at[0] : at[0] + _CROP, at[1] : at[1] + _CROP].sum())
    return slice(top, top + _CROP), slice(left, left + _CROP)
