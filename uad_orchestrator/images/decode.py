"""From an image file to pixels: 8 and 16 bit, floating point; grey, RGB, RGBA, palette, one bit.

Pillow reads headers and 8-bit files, because it refuses files that end early; OpenCV reads 16-bit files,
which Pillow would cut to 8 bits, and plain PNG files whose checksums are right. EXIF rotation is applied everywhere,
sizes included.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uad_orchestrator.images.completeness import missing_end, sound_png
from uad_orchestrator.images.depth import to_full_range
from uad_orchestrator.images.header import (
    IMAGE_SUFFIXES,
    SWAPS_AXES,
    Header,
    ImageError,
    Refused,
    TooLarge,
    errors_name,
    open_header,
    orientation_of,
    refuse_depth,
    refuse_size,
)
from uad_orchestrator.images.mask_meaning import mask_values
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.storage.digests import file_digest
from uad_orchestrator.storage.regular_file import open_regular, read_regular

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
        pixels = _decode(data, header, image, with_alpha=shows_alpha)
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
        return float(np.mean(opacity(_decode(data, header, image, with_alpha=True)) < 1))


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
        pixels = _decode(data, header, image, with_alpha=header.alpha)
        indices = None
        if image is not None and image.mode == "P":
            indices = _turn(np.asarray(image), header.orientation)
        values = mask_values(pixels, with_alpha=header.alpha, indices=indices)
        if np.isnan(values).any():
            raise Refused("holds NaN, which is neither defect nor background; expected 0 and 1, or 0 and 255")
    return values


def read_header(path: Path | str) -> Header:
    """What a file's header says of it.

    Raises:
        ImageError: the file is missing or its header is not that of an image.
    """
    with errors_name(path), open_regular(path) as stream:
        return open_header(stream)[0]


def image_size(path: Path | str, reading: ReadingSettings = PLAIN_READING) -> tuple[int, int]:
    """An image's size as ``read_image`` would give it, from the header alone.

    Args:
        path: the image's file.
        reading: the limit of pixels is taken from it.

    Returns:
        ``(H, W)`` in pixels.

    Raises:
        ImageError: the file is missing, its header is not that of an image, or the image is too large.
    """
    with errors_name(path), open_regular(path) as stream:
        header, _ = open_header(stream)
        refuse_size(header, reading)
        return header.size


def encoded_header(data: bytes, name: str, reading: ReadingSettings = PLAIN_READING) -> Header:
    """``read_header`` of a file's bytes.

    Raises:
        ImageError: as ``read_header``; ``ImageTooLarge`` where the image has more pixels than are read.
    """
    with errors_name(name):
        header, _ = open_header(io.BytesIO(data))
        refuse_size(header, reading)
        return header


def image_mode(path: Path | str) -> str:
    """Channels and bits of an image file, from its header.

    A palette counts as RGB; alpha does not count.

    Args:
        path: the image's file.

    Returns:
        ``gray8``, ``rgb8``, ``gray16`` or ``rgb16``; ``gray32f`` of floating point, ``gray32i`` with a sign.

    Raises:
        ImageError: the file is missing or its header is not that of an image.
    """
    header = read_header(path)
    return f"{'gray' if header.grey else 'rgb'}{header.bits}{'' if header.kind == 'u' else header.kind}"


def check_header(
    path: Path | str, reading: ReadingSettings = PLAIN_READING, *, mask: bool = False
) -> tuple[int, int]:
    """``image_size`` of a file that ``checked_header`` finds nothing wrong with; raises as that does."""
    return checked_header(path, reading, mask=mask).size


def checked_header(
    path: Path | str, reading: ReadingSettings = PLAIN_READING, *, mask: bool = False
) -> Header:
    """A file's header, and all that can be said before decoding: a file cut short, a depth nobody explains.

    Args:
        path: the image's file.
        reading: how it is going to be read.
        mask: whether it is a mask, which has any depth.

    Raises:
        ImageError: the file is missing, not an image, cut short, too large, or of another depth than is read.
    """
    with errors_name(path), open_regular(path) as stream:
        header, _ = open_header(stream)
        refuse_size(header, reading)
        if not mask:
            refuse_depth(header, reading)
        stream.seek(0)
        reason = missing_end(stream, header.format)
        if reason:
            raise Refused(reason)
    return header


def image_digest(path: Path | str) -> str:
    """SHA-256 (hex) of an image file's bytes.

    Raises:
        ImageError: the file cannot be read.
    """
    with errors_name(path):
        return file_digest(path)


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
    """The header of a file that is complete, and no larger than is allowed."""
    if not data:
        raise Refused("the file is empty; expected an image")
    header, image = open_header(io.BytesIO(data))
    refuse_size(header, reading)
    reason = missing_end(io.BytesIO(data), header.format)
    if reason:
        raise Refused(reason)
    return header, image


def _decode(data: bytes, header: Header, image: Image | None, *, with_alpha: bool = False) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` in RGB order, of the file's own depth; alpha is the last channel where asked for."""
    from PIL.Image import DecompressionBombError

    if image is None:
        return _decode_odd_tiff(data, header, with_alpha)
    if header.bits == 16:
        return _decode_16_bit(data, header, image, with_alpha)
    pixels = _decode_plain_png(data, image) if _is_plain_png(image) and sound_png(data) else None
    if pixels is not None:
        return pixels
    try:
        return _decode_by_pillow(image, with_alpha)
    except DecompressionBombError:  # the size was looked at, by a limit that is a setting
        if image.mode not in ("L", "RGB") or _raw_mode(image) != image.mode:
            raise TooLarge(f"more pixels than Pillow reads of a TIFF file of mode {image.mode}") from None
        return _decode_odd_tiff(data, header, with_alpha)


def _raw_mode(image: Image) -> str:
    """How the file stores its pixels, in Pillow's words."""
    arguments = image.tile[0][3]  # type: ignore[attr-defined]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _is_plain_png(image: Image) -> bool:
    """A PNG of grey or RGB pixels of 8 bits, and nothing else: no palette, no alpha, one picture, not turned."""
    return (
        image.format == "PNG"
        and image.mode in ("L", "RGB")
        and image.tile[0][3] == image.mode  # type: ignore[attr-defined]  # 8 bits in the file, too
        and "transparency" not in image.info
        and not getattr(image, "is_animated", False)
        and orientation_of(image) == 1
    )


def _decode_plain_png(data: bytes, image: Image) -> np.ndarray | None:
    """OpenCV's way, which lets other threads work meanwhile: Pillow would keep them waiting at every few kilobytes.

    Only for files whose checksums are right: of damaged ones OpenCV may give what it has.

    Returns:
        What Pillow gives; None where OpenCV does not give an image of that shape.
    """
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # a limit of its own: Pillow says what there is to say
        return None
    width, height = image.size
    expected = (height, width) if image.mode == "L" else (height, width, 3)
    if pixels is None or pixels.shape != expected or pixels.dtype != np.uint8:
        return None
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _decode_by_pillow(image: Image, with_alpha: bool) -> np.ndarray:
    """Pillow's way, of floating point, too: raises OSError on a file whose pixels end early."""
    from PIL import ImageOps

    orientation = orientation_of(image)
    is_tiff = image.format == "TIFF"
    image.load()
    if is_tiff:  # some Pillow versions have turned it now, and then took the tag away
        return _plain_channels(ImageOps.exif_transpose(image), with_alpha)
    return _turn(_plain_channels(image, with_alpha), orientation)


def _plain_channels(image: Image, with_alpha: bool) -> np.ndarray:
    """Grey or RGB, whatever the file's mode; RGB and alpha where that is asked for."""
    if with_alpha:
        return np.asarray(image.convert("RGBA"))
    if image.mode == "1":
        return np.asarray(image, dtype=np.uint8) * np.uint8(255)
    if image.mode in ("L", "RGB", "I", "F"):
        return np.asarray(image)
    if image.mode == "LA":
        return np.asarray(image.getchannel("L"))
    return np.asarray(image.convert("RGB"))


def _decode_16_bit(data: bytes, header: Header, image: Image, with_alpha: bool) -> np.ndarray:
    """OpenCV's way: it keeps 16 bits, and turns TIFF files as their orientation says, other files not."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise OSError("damaged or cut short: OpenCV cannot decode it")
    if pixels.dtype.itemsize != 2:
        raise OSError(f"16 bits per channel, of which OpenCV gives {8 * pixels.dtype.itemsize}")
    if pixels.ndim == 3:
        code = cv2.COLOR_BGRA2RGBA if with_alpha else cv2.COLOR_BGRA2RGB
        pixels = cv2.cvtColor(pixels, code if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    if with_alpha and (pixels.ndim == 2 or pixels.shape[2] == 3):
        pixels = _with_transparent_colour(pixels, image.info["transparency"])
    return pixels if header.format == "TIFF" else _turn(pixels, header.orientation)


def _with_transparent_colour(pixels: np.ndarray, colour: Any) -> np.ndarray:
    """16-bit pixels with an alpha channel that hides those of one colour."""
    channels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    shown_ones = np.any(channels != np.asarray(colour, np.uint16), axis=2)
    return np.dstack([channels, np.where(shown_ones, np.uint16(65535), np.uint16(0))])


def _decode_odd_tiff(data: bytes, header: Header, with_alpha: bool) -> np.ndarray:
    """tifffile's way: every kind of number, as it stands in the file."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page: Any = file.pages.first
            pixels = np.asarray(page.asarray(maxworkers=1))
            planes_first = int(page.planarconfig) == 2 and pixels.ndim == 3
    except tifffile.TiffFileError as error:
        raise OSError(f"damaged: {error}") from error
    except NotImplementedError as error:  # its own decoders are few
        raise Refused(
            f"{error}: pip install imagecodecs, or save it without compression, at 8 or 16 bits"
        ) from None
    if planes_first:
        pixels = np.moveaxis(pixels, 0, -1)
    colours = 1 if header.grey else 3
    if pixels.ndim == 3 and not (with_alpha and header.alpha):
        pixels = pixels[..., 0] if colours == 1 else pixels[..., :colours]
    if header.packed is not None:
        pixels = pixels << (16 - header.packed)
    return _turn(pixels, header.orientation)


def _under_alpha(colours: np.ndarray, shown: np.ndarray, *, white: bool) -> np.ndarray:
    """Colours laid on white; or black where less than half of one is to be seen."""
    shown = shown if colours.ndim == 2 else shown[..., np.newaxis]
    if not white:
        return np.where(shown >= 0.5, colours, 0).astype(colours.dtype)
    top = np.iinfo(colours.dtype).max
    return np.rint(top - (top - colours.astype(np.float64)) * shown).astype(colours.dtype)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (1..8) so that row 0 is the scene's top."""
    if orientation in SWAPS_AXES:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
