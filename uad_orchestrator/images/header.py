"""What an image file's header says: size, channels, depth; and which files are refused for it, before decoding.

Pillow reads headers; those of TIFF files that it has no mode for are read by tifffile. EXIF rotation counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from uad_orchestrator.images.reading_settings import MAX_ASPECT, MAX_SIDE, ReadingSettings
from uad_orchestrator.storage.file_names import printable
from uad_orchestrator.storage.regular_file import NotRegularFile

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff"),
    *(".webp", ".gif", ".pgm", ".ppm", ".pnm"),
)
"""The extensions that count as images, in any case."""

FORMAT_WORDS = "PNG, JPEG, BMP, TIFF, WebP, GIF, PGM or PPM"

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
_ORIENTATION = 0x0112
_EXTRA_SAMPLES = 338
_BITS_PER_SAMPLE = 258
_WIDTH, _HEIGHT = 256, 257
_ALPHA_SAMPLES = (1, 2)
SWAPS_AXES = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


class ImageError(ValueError):
    """A file that cannot be read as an image; the message names it and says why."""


class ImageTooLarge(ImageError):
    """A file with more pixels than are read, by its header."""


class Refused(ValueError):
    """An image that is sound but not taken as it is; says why and what to do, and is given the file's name."""

    named: type[ImageError] = ImageError


class TooLarge(Refused):
    """An image that is refused for its size."""

    named = ImageTooLarge


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    Attributes:
        format: Pillow's word for it, e.g. ``JPEG``.
        size: ``(H, W)`` as the scene stands, EXIF rotation applied.
        orientation: EXIF's, 1 to 8.
        grey: one channel of colour; a palette counts as RGB.
        bits: of a channel as it is decoded: 8, 16, 32 or 64; one bit counts as 8.
        kind: ``u`` unsigned, ``i`` signed, ``f`` floating point.
        white: the value of white where the file says so (PGM, PPM), else None.
        packed: bits of a channel in a TIFF file that packs 9 to 15 of them, else None; decoded they are the upper
            ones of 16.
        alpha: whether pixels can be hidden: an alpha channel, a transparent colour.
        several: whether there are other pictures behind the first: frames, pages.
        unread: channels of a TIFF file that are neither colour nor alpha, such as infrared.
    """

    format: str
    size: tuple[int, int]
    orientation: int
    grey: bool
    bits: int
    kind: str = "u"
    white: int | None = None
    packed: int | None = None
    alpha: bool = False
    several: bool = False
    unread: int = 0

    @property
    def depth(self) -> str:
        """The depth in words, e.g. ``16 bits``."""
        words = {"u": "", "i": " with a sign", "f": " of floating point"}
        return f"{self.bits} bits{words[self.kind]}"


def open_header(stream: BinaryIO) -> tuple[Header, Image | None]:
    """The header of an image file, and Pillow's image, of which nothing is decoded yet.

    Args:
        stream: the file's bytes, from the beginning.

    Returns:
        Both; None instead of the image for a TIFF file that Pillow has no mode for.

    Raises:
        Refused: not an image of a known format.
    """
    image = _open(stream)
    if image is not None:
        return _of_pillow(image), image
    header = _of_tifffile(stream)
    if header is None:
        raise Refused(f"not an image; expected {FORMAT_WORDS}")
    return header, None


def refuse_size(header: Header, reading: ReadingSettings) -> None:
    """Sizes that would take more memory than was allowed, here or in an embedder.

    Raises:
        TooLarge: names the limit and its setting.
    """
    height, width = header.size
    short, long = sorted((height, width))
    words = f"{height} x {width} pixels (height x width)"
    if short < 1:
        raise TooLarge(f"{words}: there are none")
    if short * long > reading.max_megapixels * 1e6:
        raise TooLarge(
            f"{words} are {short * long / 1e6:.1f} megapixels, more than the {reading.max_megapixels:g} that are read; "
            "cut it into smaller images, or raise the limit (images: {max_megapixels}, --max-megapixels)"
        )
    if long > MAX_SIDE or long > MAX_ASPECT * short:
        raise TooLarge(
            f"{words}: a side is at most {MAX_SIDE} pixels, and at most {MAX_ASPECT} times as long as the other; "
            "cut it into several images"
        )


def refuse_depth(header: Header, reading: ReadingSettings) -> None:
    """Values that could not be told bright from dark by what is known.

    Raises:
        Refused: names the setting that says it.
    """
    if reading.value_range is not None:
        return
    if header.kind != "u" or header.bits not in (8, 16):
        raise Refused(
            f"{header.depth} per channel: expected 8 or 16 bits. If its values mean brightness, say which are black "
            "and white, e.g. value_range: [0, 1]"
        )


def orientation_of(image: Image) -> int:
    """EXIF's orientation, 1 to 8."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # or Pillow would decode all pixels to look behind them for a tag that nobody puts there
    return int(image.getexif().get(_ORIENTATION, 1))


def reason_of(error: ImageError, path: Path | str) -> str:
    """What an error says of a file, without the file's name before it: for lists that name it themselves.

    >>> reason_of(ImageError("a/b.png: no such file"), "a/b.png")
    'no such file'
    """
    return str(error).removeprefix(f"{printable(path)}: ")


def size_words(size: tuple[int, int]) -> str:
    """A size ``(H, W)`` for messages.

    >>> size_words((480, 640))
    '480 x 640 (height x width)'
    """
    return f"{size[0]} x {size[1]} (height x width)"


@contextmanager
def errors_name(path: Path | str) -> Iterator[None]:
    """Every way a file can fail to be read becomes an ImageError that names it."""
    name = printable(path)
    try:
        yield
    except ImageError:
        raise
    except Refused as error:
        raise error.named(f"{name}: {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: a folder; expected an image file") from None
    except NotRegularFile as error:
        raise ImageError(printable(error)) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        KeyError,
        EOFError,
        struct.error,
    ) as error:  # on damage
        raise ImageError(f"{name}: cannot be read: {printable(error)}") from error


def _open(stream: BinaryIO) -> Image | None:
    """As ``PIL.Image.open``, less its limit of pixels, which is one for the whole process: ours is a setting."""
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - the two that ``preinit`` leaves out

    Image.preinit()
    prefix = stream.read(16)
    for name in _FORMATS:
        opener, accepts = Image.OPEN[name]
        try:
            found = accepts is None or accepts(prefix)
            if found and not isinstance(found, str):  # a text says that Pillow was built without it
                stream.seek(0)
                return opener(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # as Pillow: it is none of that format
            continue
        except Image.DecompressionBombError:  # some formats have a limit of their own beside that of ``open``
            raise TooLarge(
                f"more pixels than Pillow reads of a {name} file; save it as TIFF or PNG"
            ) from None
    return None


def _of_pillow(image: Image) -> Header:
    raw = [str(tile[3]) for tile in getattr(image, "tile", ())]
    white = _white(image)
    packed = _packed(image)
    bits, kind = 8, "u"
    if image.mode == "F":
        bits, kind = 32, "f"
    elif image.mode.startswith("I;16") or any(";16" in mode for mode in raw) or (white or 0) > 255:
        bits, kind = 16, "i" if any(";16S" in mode for mode in raw) else "u"
    elif image.mode == "I":
        bits, kind = 32, "i" if any(";32S" in mode for mode in raw) else "u"
    return Header(
        format=str(image.format),
        size=_upright_size(image),
        orientation=orientation_of(image),
        grey=image.mode in ("1", "L", "LA", "La", "F")
        or image.mode.startswith("I")
        or any("LA;16" in m for m in raw),
        bits=bits,
        kind=kind,
        white=white if bits == 16 else None,
        packed=packed,
        alpha=image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
        several=image.format != "MPO" and bool(getattr(image, "is_animated", False)),
        unread=_unread(image.tag_v2.get(_EXTRA_SAMPLES, ())) if image.format == "TIFF" else 0,  # type: ignore[attr-defined]
    )


def _unread(extra_samples: Iterable[int]) -> int:
    return sum(int(extra) not in _ALPHA_SAMPLES for extra in extra_samples)


def _white(image: Image) -> int | None:
    """The value of white that a PGM or PPM file says; None for other files."""
    if image.format != "PPM" or not image.tile:  # type: ignore[attr-defined]
        return None
    arguments = image.tile[0][3]  # type: ignore[attr-defined]
    if isinstance(arguments, tuple) and len(arguments) == 2:
        return int(arguments[1])
    return 65535 if str(arguments).startswith("I;16") else None


def _packed(image: Image) -> int | None:
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,)) if image.format == "TIFF" else (8,)  # type: ignore[attr-defined]
    return int(bits[0]) if 8 < bits[0] < 16 else None


def _upright_size(image: Image) -> tuple[int, int]:
    width, height = image.size
    if image.format == "TIFF":  # some Pillow versions have turned this size already: ask the file's own tags
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    return (width, height) if orientation_of(image) in SWAPS_AXES else (height, width)


def _of_tifffile(stream: BinaryIO) -> Header | None:
    """The header of a TIFF file that Pillow has no mode for: colours of floating point, grey with alpha of 16 bits."""
    import tifffile

    stream.seek(0)
    try:
        with tifffile.TiffFile(stream) as file:
            page: Any = file.pages.first
            several = len(file.pages) > 1
            tag = page.tags.get(_ORIENTATION)
            orientation = 1 if tag is None else int(tag.value)
            height, width = int(page.imagelength), int(page.imagewidth)
            stored, kind = int(page.bitspersample), {1: "u", 2: "i", 3: "f"}.get(int(page.sampleformat))
            colours = int(page.samplesperpixel) - len(page.extrasamples)
            alpha = any(int(extra) in _ALPHA_SAMPLES for extra in page.extrasamples)
            unread = _unread(page.extrasamples)
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError, struct.error):
        return None
    if kind is None or colours not in (1, 3):
        return None
    return Header(
        format="TIFF",
        size=(width, height) if orientation in SWAPS_AXES else (height, width),
        orientation=orientation,
        grey=colours == 1,
        bits=8 if stored <= 8 else 16 if stored <= 16 else 32 if stored <= 32 else 64,
        kind=kind,
        packed=stored if 8 < stored < 16 else None,
        alpha=alpha,
        several=several,
        unread=unread,
    )
