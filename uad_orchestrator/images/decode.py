"""From an image file to pixels: 8 and 16 bit, floating point; grey, RGB, RGBA, palette, one bit.

Which decoder reads which file stands in ``decoders``, what is looked at before in ``damage``. EXIF rotation is applied
everywhere, sizes included.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uad_orchestrator.images.damage.completeness import damaged_chunk, missing_part
from uad_orchestrator.images.decoders.pixels import decode_pixels, turn
from uad_orchestrator.images.depth import to_full_range
from uad_orchestrator.images.header import (
    IMAGE_SUFFIXES,
    Header,
    ImageError,
    Refused,
    errors_name,
    open_header,
    refuse_depth,
    refuse_size,
)
from uad_orchestrator.images.mask_meaning import mask_values
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.storage.regular_file import read_regular

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["IMAGE_SUFFIXES", "ImageError"]

RgbImage = np.ndarray
"""``(H, W, 3)`` RGB, ``uint8`` in 0..255 or ``uint16`` in 0..65535: what decoding gives and presets keep."""


def read_image(path: Path | str, reading: ReadingSettings = PLAIN_READING) -> RgbImage:
    """Decode an image to ``(H, W, 3)`` RGB: uint8 in 0..255, or uint16 in 0..65535 for files of more bits.

    Grey shows its one channel three times, as a view that cannot be written to; alpha is dropped unless the settings
    say otherwise, a palette is resolved, EXIF rotation is applied. Of a file with several pictures the first is read.

    Args:
        path: a PNG, JPEG, BMP, TIFF, WebP, GIF, PGM or PPM file.
        reading: what the file does not say itself: depth, range, what alpha means; the limit of pixels.

    Returns:
        The pixels, row 0 at the scene's top.

    Raises:
        ImageError: the file is missing, not an image, damaged or cut short, too large, or of a depth that the
            settings do not explain.
    """
    return decode_image(read_bytes(Path(path)), str(path), reading)


def decode_image(data: bytes, name: str, reading: ReadingSettings = PLAIN_READING) -> RgbImage:
    """``read_image`` of a file's bytes.

    Args:
        data: the bytes of an image file.
        name: what messages call them.
        reading: as for ``read_image``.

    Returns:
        ``(H, W, 3)`` RGB, uint8 or uint16.

    Raises:
        ImageError: as ``read_image``.
    """
    with errors_name(name):
        header, image = _checked(data, reading)
        refuse_depth(header, reading)
        shows_alpha = header.alpha and reading.alpha != "ignore"
        pixels = decode_pixels(data, header, image, with_alpha=shows_alpha)
        colours = pixels[..., :-1] if shows_alpha else pixels
        if colours.ndim == 3 and colours.shape[2] == 1:
            colours = colours[..., 0]
        colours = to_full_range(colours, header, reading)
        if shows_alpha:
            colours = _under_alpha(colours, opacity(pixels), white=reading.alpha == "white")
    if colours.ndim == 2:
        return np.broadcast_to(colours[..., np.newaxis], (*colours.shape, 3))
    return np.ascontiguousarray(colours)


def hidden_share(data: bytes, name: str, reading: ReadingSettings = PLAIN_READING) -> float:
    """The share of a file's pixels that its alpha hides at least in part.

    Args:
        data: the bytes of an image file.
        name: what messages call them.
        reading: the limit of pixels is taken from it.

    Returns:
        0 where there is no alpha; then nothing is decoded.

    Raises:
        ImageError: as ``read_image``.
    """
    with errors_name(name):
        header, image = _checked(data, reading)
        if not header.alpha:
            return 0.0
        return float(np.mean(opacity(decode_pixels(data, header, image, with_alpha=True)) < 1))


def read_mask(path: Path | str, reading: ReadingSettings = PLAIN_READING) -> np.ndarray:
    """Decode a ground-truth mask to ``(H, W)`` bool: True where it shows a defect, in whatever channels that stands.

    Values may be 0/1, 0/255 or one bit, in any depth; of palettes and alpha see ``mask_meaning``.

    Args:
        path: the mask's file.
        reading: the limit of pixels is taken from it.

    Returns:
        The mask.

    Raises:
        ImageError: as ``read_image``.
    """
    return np.greater(read_mask_values(path, reading), 0)


def read_mask_values(path: Path | str, reading: ReadingSettings = PLAIN_READING) -> np.ndarray:
    """Decode a ground-truth mask to ``(H, W)`` as its values stand in the file, the largest of its colours.

    One bit per pixel is read as 0 and 255; of palettes and alpha see ``mask_meaning``.

    Raises:
        ImageError: as ``read_image``, or the mask holds NaN.
    """
    data = read_bytes(Path(path))
    with errors_name(path):
        header, image = _checked(data, reading)
        pixels = decode_pixels(data, header, image, with_alpha=header.alpha)
        indices = None
        if image is not None and image.mode == "P":
            indices = turn(np.asarray(image), header.orientation)
        values = mask_values(pixels, with_alpha=header.alpha, indices=indices)
        if np.isnan(values).any():
            raise Refused("holds NaN, which is neither defect nor background; expected 0 and 1, or 0 and 255")
    return values


def read_bytes(path: Path) -> bytes:
    """A file's bytes; ImageError where it cannot be read."""
    with errors_name(path):
        return read_regular(path)


def opacity(pixels: np.ndarray) -> np.ndarray:
    """``(H, W)`` float32, 0 hidden to 1 shown, of ``(H, W, C + 1)`` pixels whose last channel is alpha."""
    alpha = pixels[..., -1]
    white = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    return alpha.astype(np.float32) / np.float32(white)


def _checked(data: bytes, reading: ReadingSettings) -> tuple[Header, Image | None]:
    """The header of a file that is whole, as far as its structure says, and no larger than is allowed."""
    if not data:
        raise Refused("the file is empty; expected an image")
    header, image = open_header(io.BytesIO(data))
    refuse_size(header, reading)
    reason = missing_part(io.BytesIO(data), header.format, image)
    if reason is None and header.format == "PNG":
        reason = damaged_chunk(data)
    if reason:
        raise Refused(reason)
    return header, image


def _under_alpha(colours: np.ndarray, shown: np.ndarray, *, white: bool) -> np.ndarray:
    """Colours laid on white; or black where less than half of one is to be seen."""
    shown = shown if colours.ndim == 2 else shown[..., np.newaxis]
    if not white:
        return np.where(shown >= 0.5, colours, 0).astype(colours.dtype)
    top = np.iinfo(colours.dtype).max
    return np.rint(top - (top - colours.astype(np.float64)) * shown).astype(colours.dtype)
