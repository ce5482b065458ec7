"""Which decoder reads which file, to pixels of the file's own depth.

Pillow reads most 8-bit files, because it refuses those that end early; libjpeg-turbo JPEG; OpenCV 16 bits, which Pillow
would cut to 8, and plain PNG files; tifffile what Pillow has no mode for, and deflate, whose checksums it looks at.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from uad_orchestrator.images.damage.tiff_segments import COPY_AGAIN, DEFLATE, UNCOMPRESSED, segments_of
from uad_orchestrator.images.decoders.jpeg import decode_jpeg
from uad_orchestrator.images.header import SWAPS_AXES, Header, Refused, TooLarge, orientation_of

if TYPE_CHECKING:
    from PIL.Image import Image

CODEC_ERRORS = (zlib.error, RuntimeError)
"""What tifffile's decoders raise on damage beside ValueError: its own, and imagecodecs' where that is installed."""

_BITS, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PREDICTOR = 258, 262, 266, 277, 317
_GREY, _RGB = 1, 2
_OF_FLOATS = 3
"""The predictor that tifffile knows with imagecodecs alone."""
_BIG_ENDIAN = b"MM"


def decode_pixels(
    data: bytes, header: Header, image: Image | None, *, with_alpha: bool = False
) -> np.ndarray:
    """Decode a file whose structure was looked at.

    Args:
        data: the file's bytes.
        header: what its header says.
        image: Pillow's, not decoded yet; None for a TIFF file that it has no mode for.
        with_alpha: whether alpha is wanted.

    Returns:
        ``(H, W)`` or ``(H, W, C)`` in RGB order, of the file's own depth; alpha is the last channel where asked for.

    Raises:
        OSError, ValueError: it is damaged; the message says how.
        Refused: it is sound, but of a kind that is not read.
    """
    if image is None or (header.format == "TIFF" and _is_tifffiles(data, header, image)):
        return _decode_odd_tiff(data, header, with_alpha)
    if header.bits == 16:
        return _decode_16_bit(data, header, image, with_alpha)
    pixels = None
    if header.format in ("JPEG", "MPO"):
        pixels = decode_jpeg(data, image.mode)
    elif _is_plain_png(image):
        pixels = _decode_plain_png(data, image)
    if pixels is not None:
        return turn(pixels, header.orientation)
    return _decode_by_pillow(data, header, image, with_alpha)


def _is_tifffiles(data: bytes, header: Header, image: Image) -> bool:
    """Whether tifffile is to decode a TIFF file; where not, its segments are looked at here.

    Raises:
        OSError: a segment is damaged, and the decoder might not say so.
    """
    segments = segments_of(io.BytesIO(data), image)
    if segments.compression in DEFLATE and _is_plain_tiff(header, image):
        return True
    if segments.compression != UNCOMPRESSED and header.bits > 16 and data.startswith(_BIG_ENDIAN):
        return True  # Pillow turns their bytes about, after its decoder did
    if damage := segments.damaged(data):
        raise OSError(damage)
    return False


def _is_plain_tiff(header: Header, image: Image) -> bool:
    """Grey, black being 0, or RGB, of full depth: what tifffile gives as it stands, whatever is installed."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    colours = (int(tags.get(_PHOTOMETRIC, -1)), int(tags.get(_SAMPLES, 1)))
    full_depth = set(tags.get(_BITS, ())) == {header.bits}
    plain_bytes = int(tags.get(_FILL_ORDER, 1)) == 1 and int(tags.get(_PREDICTOR, 1)) != _OF_FLOATS
    return colours in ((_GREY, 1), (_RGB, 3)) and full_depth and plain_bytes


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

    Only for files whose checksums were looked at: of damaged ones OpenCV may give what it has.

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


def _decode_by_pillow(data: bytes, header: Header, image: Image, with_alpha: bool) -> np.ndarray:
    """Pillow's way, of floating point, too: raises OSError on a file whose pixels end early."""
    from PIL import ImageOps
    from PIL.Image import DecompressionBombError

    try:
        image.load()
    except DecompressionBombError:  # the size was looked at, by a limit that is a setting
        if image.mode not in ("L", "RGB") or _raw_mode(image) != image.mode:
            raise TooLarge(f"more pixels than Pillow reads of a TIFF file of mode {image.mode}") from None
        return _decode_odd_tiff(data, header, with_alpha)
    if header.format == "TIFF":  # some Pillow versions have turned it now, and then took the tag away
        return _plain_channels(ImageOps.exif_transpose(image), with_alpha)
    return turn(_plain_channels(image, with_alpha), header.orientation)


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
    return pixels if header.format == "TIFF" else turn(pixels, header.orientation)


def _with_transparent_colour(pixels: np.ndarray, colour: Any) -> np.ndarray:
    """16-bit pixels with an alpha channel that hides those of one colour."""
    channels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    shown_ones = np.any(channels != np.asarray(colour, np.uint16), axis=2)
    return np.dstack([channels, np.where(shown_ones, np.uint16(65535), np.uint16(0))])


def _decode_odd_tiff(data: bytes, header: Header, with_alpha: bool) -> np.ndarray:
    """tifffile's way: every kind of number, as it stands in the file; of deflate the checksums are looked at."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page: Any = file.pages.first
            pixels = np.asarray(page.asarray(maxworkers=1))
            planes_first = int(page.planarconfig) == 2 and pixels.ndim == 3
    except (ValueError, ImportError, *CODEC_ERRORS) as error:
        if isinstance(error, NotImplementedError | ImportError) or "'imagecodecs'" in str(error):
            raise Refused(  # its own decoders are few
                f"{error}: pip install imagecodecs, or save it without compression, at 8 or 16 bits"
            ) from None
        raise OSError(f"damaged: {error}. {COPY_AGAIN}") from error
    if planes_first:
        pixels = np.moveaxis(pixels, 0, -1)
    colours = 1 if header.grey else 3
    if pixels.ndim == 3 and not (with_alpha and header.alpha):
        pixels = pixels[..., 0] if colours == 1 else pixels[..., :colours]
    if header.packed is not None:
        pixels = pixels << (16 - header.packed)
    return turn(pixels, header.orientation)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (1..8) so that row 0 is the scene's top."""
    if orientation in SWAPS_AXES:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
