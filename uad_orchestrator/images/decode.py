"""From an image file to pixels: PNG, JPEG, BMP and TIFF; 8 and 16 bit; grey, RGB, RGBA, palette, one bit.

Pillow reads headers and 8-bit files, because it refuses files that end early; OpenCV reads 16-bit files,
which Pillow would cut to 8 bits, and plain PNG files whose checksums are right. EXIF rotation is applied everywhere,
sizes included.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uad_orchestrator.images.completeness import missing_end, sound_png
from uad_orchestrator.storage.digests import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

RgbImage = np.ndarray
"""``(H, W, 3)`` RGB, ``uint8`` in 0..255 or ``uint16`` in 0..65535: what decoding gives and presets keep."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""The extensions that count as images, in any case."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_ORIENTATION = 0x0112
_SWAPS_AXES = (5, 6, 7, 8)


class ImageError(ValueError):
    """A file that cannot be read as an image; the message names it and says why."""


def read_image(path: Path | str) -> RgbImage:
    """Decode an image to ``(H, W, 3)`` RGB: uint8 in 0..255, or uint16 in 0..65535 for 16-bit files.

    Grey shows its one channel three times, as a view that cannot be written to; alpha is dropped, a palette is
    resolved, EXIF rotation is applied. Of a file with several pictures the first is read.

    Args:
        path: a PNG, JPEG, BMP or TIFF file.

    Returns:
        The pixels, row 0 at the scene's top.

    Raises:
        ImageError: the file is missing, not an image, damaged or cut short, or neither 8 nor 16 bit.
    """
    return decode_image(read_bytes(Path(path)), str(path))


def decode_image(data: bytes, name: str) -> RgbImage:
    """``read_image`` of a file's bytes.

    Args:
        data: the bytes of a PNG, JPEG, BMP or TIFF file.
        name: what messages call them.

    Returns:
        ``(H, W, 3)`` RGB, uint8 or uint16.

    Raises:
        ImageError: as ``read_image``.
    """
    pixels = _decode(data, name)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name}: {pixels.dtype} pixels; expected 8 or 16 bits per channel")
    if pixels.ndim == 2:
        return np.broadcast_to(pixels[..., np.newaxis], (*pixels.shape, 3))
    return np.ascontiguousarray(pixels[..., :3])


def encoded_size(data: bytes, name: str) -> tuple[int, int]:
    """``image_size`` of a file's bytes: ``(H, W)`` from the header, before anything is decoded.

    Raises:
        ImageError: as ``image_size``.
    """
    with _errors_name(name):
        return _size(_open(io.BytesIO(data)))


def read_mask(path: Path | str) -> np.ndarray:
    """Decode a ground-truth mask to ``(H, W)`` bool: True where any channel (alpha aside) is above 0.

    Values may be 0/1, 0/255 or one bit, in any integer depth.

    Args:
        path: the mask's file.

    Returns:
        The mask.

    Raises:
        ImageError: as ``read_image``.
    """
    return np.greater(read_mask_values(path), 0)


def read_mask_values(path: Path | str) -> np.ndarray:
    """Decode a ground-truth mask to ``(H, W)`` as its values stand in the file, the largest of its channels.

    One bit per pixel is read as 0 and 255.

    Raises:
        ImageError: as ``read_image``.
    """
    pixels = _decode(read_bytes(Path(path)), str(path))
    return pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)


def image_size(path: Path | str) -> tuple[int, int]:
    """An image's size as ``read_image`` would give it, from the header alone.

    Args:
        path: the image's file.

    Returns:
        ``(H, W)`` in pixels.

    Raises:
        ImageError: the file is missing or its header is not that of an image.
    """
    path = Path(path)
    with _errors_name(path), path.open("rb") as stream:
        return _size(_open(stream))


def image_mode(path: Path | str) -> str:
    """Channels and bits of an image file, from its header.

    A palette counts as RGB; alpha does not count.

    Args:
        path: the image's file.

    Returns:
        ``gray8``, ``rgb8``, ``gray16`` or ``rgb16``.

    Raises:
        ImageError: the file is missing or its header is not that of an image.
    """
    path = Path(path)
    with _errors_name(path), path.open("rb") as stream:
        image = _open(stream)
        gray = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
        return f"{'gray' if gray else 'rgb'}{16 if _is_16_bit(image) else 8}"


def check_header(path: Path | str) -> tuple[int, int]:
    """``image_size``, and the file's end is looked at as well: one that was cut short is an error.

    Raises:
        ImageError: the file is missing, not an image, or cut short.
    """
    path = Path(path)
    with _errors_name(path), path.open("rb") as stream:
        image = _open(stream)
        size = _size(image)
        stream.seek(0)
        reason = missing_end(stream, str(image.format))
    if reason:
        raise ImageError(f"{path}: {reason}")
    return size


def image_digest(path: Path | str) -> str:
    """SHA-256 (hex) of an image file's bytes.

    Raises:
        ImageError: the file cannot be read.
    """
    with _errors_name(path):
        return file_digest(path)


def read_bytes(path: Path) -> bytes:
    """A file's bytes; ImageError where it cannot be read."""
    with _errors_name(path):
        return path.read_bytes()


def _decode(data: bytes, name: str) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` with C = 3 or 4 in RGB(A) order, of the file's own depth."""
    with _errors_name(name):
        if not data:
            raise ImageError(f"{name}: the file is empty; expected an image")
        image = _open(io.BytesIO(data))
        reason = missing_end(io.BytesIO(data), str(image.format))
        if reason:
            raise ImageError(f"{name}: {reason}")
        if _is_16_bit(image):
            return _decode_16_bit(data, image)
        pixels = _decode_plain_png(data, image) if _is_plain_png(image) and sound_png(data) else None
        return _decode_8_bit(image) if pixels is None else pixels


def _is_plain_png(image: Image) -> bool:
    """A PNG of grey or RGB pixels of 8 bits, and nothing else: no palette, no alpha, one picture, not turned."""
    return (
        image.format == "PNG"
        and image.mode in ("L", "RGB")
        and image.tile[0][3] == image.mode  # type: ignore[attr-defined]  # 8 bits in the file, too
        and "transparency" not in image.info
        and not getattr(image, "is_animated", False)
        and _orientation(image) == 1
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


def _decode_8_bit(image: Image) -> np.ndarray:
    """Pillow's way: raises OSError on a file whose pixels end early."""
    from PIL import ImageOps

    orientation = _orientation(image)
    is_tiff = image.format == "TIFF"
    image.load()
    if is_tiff:  # some Pillow versions have turned it now, and then took the tag away
        return _plain_channels(ImageOps.exif_transpose(image))
    return _turn(_plain_channels(image), orientation)


def _plain_channels(image: Image) -> np.ndarray:
    """Grey or RGB, whatever the file's mode."""
    if image.mode == "1":
        return np.asarray(image, dtype=np.uint8) * np.uint8(255)
    if image.mode in ("L", "RGB", "I", "F"):
        return np.asarray(image)
    if image.mode == "LA":
        return np.asarray(image.getchannel("L"))
    return np.asarray(image.convert("RGB"))


def _decode_16_bit(data: bytes, image: Image) -> np.ndarray:
    """OpenCV's way: it keeps 16 bits, and turns TIFF files as their orientation says, other files not."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise OSError("damaged or cut short: OpenCV cannot decode it")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return pixels if image.format == "TIFF" else _turn(pixels, _orientation(image))


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (1..8) so that row 0 is the scene's top."""
    if orientation in _SWAPS_AXES:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _open(stream: Any) -> Image:
    """Read the header only."""
    from PIL import Image

    return Image.open(stream, formats=_FORMATS)


def _size(image: Image) -> tuple[int, int]:
    width, height = image.size
    if image.format == "TIFF":  # some Pillow versions have turned this size already: ask the file's own tags
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height = int(tags[256]), int(tags[257])
    return (width, height) if _orientation(image) in _SWAPS_AXES else (height, width)


def _orientation(image: Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # or Pillow would decode all pixels to look behind them for a tag that nobody puts there
    return int(image.getexif().get(_ORIENTATION, 1))


def _is_16_bit(image: Image) -> bool:
    """By the raw mode of the stored pixels, since Pillow calls 16-bit colour files plain RGB."""
    if image.format not in ("PNG", "TIFF"):
        return False
    tiles = image.tile  # type: ignore[attr-defined]
    return image.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in tiles)


@contextmanager
def _errors_name(path: Path | str) -> Iterator[None]:
    """Every way a file can fail to be read becomes an ImageError that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: a folder; expected an image file") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not an image; expected PNG, JPEG, BMP or TIFF") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: more pixels than are decoded safely; cut it into smaller images") from None
    except (OSError, SyntaxError, ValueError, KeyError, EOFError) as error:  # what Pillow raises on damage
        raise ImageError(f"{path}: cannot be read: {error}") from error
