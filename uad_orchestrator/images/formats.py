"""Arrays handed in by a user: their layout is said, never guessed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from uad_orchestrator.images.decode import RgbImage, read_image
from uad_orchestrator.images.file_facts import image_size
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.remarks import file_remarks
from uad_orchestrator.images.source import ImageSource, kept_source, open_bands


class ImageFormat(StrEnum):
    """Channel order, dtype and axis order of an array, e.g. ``bgr_u8_hwc``.

    ``u8`` is uint8 in 0..255, ``u16`` uint16 in 0..65535, ``f32`` float32 in 0..1.
    """

    RGB_U8_HWC = "rgb_u8_hwc"
    BGR_U8_HWC = "bgr_u8_hwc"
    GRAY_U8_HW = "gray_u8_hw"
    RGB_U16_HWC = "rgb_u16_hwc"
    BGR_U16_HWC = "bgr_u16_hwc"
    GRAY_U16_HW = "gray_u16_hw"
    RGB_F32_HWC = "rgb_f32_hwc"
    BGR_F32_HWC = "bgr_f32_hwc"
    RGB_F32_CHW = "rgb_f32_chw"
    BGR_F32_CHW = "bgr_f32_chw"
    GRAY_F32_HW = "gray_f32_hw"


@dataclass(frozen=True)
class _Layout:
    colours: str
    dtype: type[np.generic]
    axes: str


_DTYPES: dict[str, type[np.generic]] = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}


def to_rgb(array: np.ndarray, input_format: ImageFormat | str) -> RgbImage:
    """An array of the stated format as ``(H, W, 3)`` RGB, uint8 or uint16.

    float32 in 0..1 becomes uint16, rounded to the nearest of 65535 steps.

    Args:
        array: one image.
        input_format: what it is, e.g. ``bgr_u8_hwc``.

    Returns:
        ``(H, W, 3)`` RGB, contiguous.

    Raises:
        ValueError: the format is unknown, or dtype, shape or value range are not what it says.

    >>> to_rgb(np.array([[[1, 2, 3]]], np.uint8), "bgr_u8_hwc").tolist()
    [[[3, 2, 1]]]
    """
    layout = _layout(input_format)
    _check(array, layout, input_format)
    if layout.axes == "chw":
        array = np.moveaxis(array, 0, 2)
    if layout.dtype is np.float32:
        array = np.rint(array.astype(np.float64) * 65535).astype(np.uint16)
    if layout.colours == "gray":
        array = np.repeat(array[..., np.newaxis], 3, axis=2)
    elif layout.colours == "bgr":
        array = array[..., ::-1]
    return np.ascontiguousarray(array)


def sources_from(
    images: Sequence[Path | str] | Sequence[np.ndarray] | Sequence[ImageSource] | np.ndarray,
    input_format: ImageFormat | str = ImageFormat.RGB_U8_HWC,
    reading: ReadingSettings = PLAIN_READING,
) -> list[ImageSource]:
    """What a user hands to a detector, as sources.

    Args:
        images: file paths, arrays of ``input_format``, one array with a leading axis n, or sources (kept).
        input_format: the format of arrays; it has no say over files.
        reading: how files are read; it has no say over arrays.

    Returns:
        One source per image, in order; arrays are called ``images[0]`` and so on.

    Raises:
        ValueError: an array is not of ``input_format``; the message says which one.
        TypeError: an entry is neither a path, an array nor a source.
        ImageError: a file cannot be read.
    """
    _check_container(images, input_format)
    return [_source(image, index, input_format, None, reading) for index, image in enumerate(images)]


def iter_sources(
    images: Iterable[Path | str] | Iterable[np.ndarray] | Iterable[ImageSource] | np.ndarray,
    input_format: ImageFormat | str = ImageFormat.RGB_U8_HWC,
    reading: ReadingSettings = PLAIN_READING,
    *,
    keep_files: bool = False,
) -> Iterator[ImageSource]:
    """``sources_from`` for who keeps nothing by content: one at a time, and neither file nor array is read
    for its digest. Each gets one that no other image has.

    Args:
        images, input_format, reading: as ``sources_from``.
        keep_files: read a file once, and keep its bytes with its source (``kept_source``).

    Raises:
        ValueError, TypeError: as ``sources_from``; those of an entry when its turn comes.
    """
    _check_container(images, input_format)
    unique = uuid.uuid4().hex
    return (
        _source(image, index, input_format, f"{unique}-{index}", reading, keep_files)
        for index, image in enumerate(images)
    )


def _check_container(images: object, input_format: ImageFormat | str) -> None:
    axes = len(_layout(input_format).axes)
    if isinstance(images, (str, Path)):
        raise TypeError(f"images is one path ({images}); expected a list of paths")
    if isinstance(images, np.ndarray) and images.ndim != axes + 1:
        raise ValueError(
            f"images has shape {images.shape}; expected {axes + 1} axes: n images of {input_format}"
        )


def _source(
    image: object,
    index: int,
    input_format: ImageFormat | str,
    digest: str | None,
    reading: ReadingSettings,
    keep_files: bool = False,
) -> ImageSource:
    if isinstance(image, ImageSource):
        return image
    if isinstance(image, (str, Path)):
        path = Path(image)
        if digest is None:
            return ImageSource.from_path(path, reading=reading)
        if keep_files:
            return kept_source(path, reading, digest)
        return ImageSource(
            str(path),
            digest,
            str(path),
            read=lambda: read_image(path, reading),
            measure=lambda: image_size(path, reading),
            remarks=lambda: file_remarks(path, reading),
            scaled=reading.says_white,
            bands=lambda: open_bands(path, reading, None),
        )
    if not isinstance(image, np.ndarray):
        raise TypeError(f"images[{index}] is a {type(image).__name__}; expected a path or a numpy array")
    try:
        pixels = to_rgb(image, input_format)
    except ValueError as error:
        raise ValueError(f"images[{index}]: {error}") from None
    source = ImageSource.from_array(pixels, name=f"images[{index}]", digest=digest)
    return replace(source, scaled=True)  # its format says which value is white


def _layout(input_format: ImageFormat | str) -> _Layout:
    try:
        colours, depth, axes = ImageFormat(input_format).value.split("_")
    except ValueError:
        raise ValueError(
            f"unknown input_format {input_format!r}; expected one of {', '.join(ImageFormat)}"
        ) from None
    return _Layout(colours, _DTYPES[depth], axes)


def _check(array: np.ndarray, layout: _Layout, input_format: ImageFormat | str) -> None:
    if array.dtype != layout.dtype:
        raise ValueError(f"dtype {array.dtype}; {input_format} is {np.dtype(layout.dtype).name}")
    if array.ndim != len(layout.axes) or (layout.axes != "hw" and array.shape[layout.axes.index("c")] != 3):
        expected = layout.axes.replace("c", "3")
        raise ValueError(f"shape {array.shape}; {input_format} is ({', '.join(expected.upper())})")
    if array.size == 0:
        raise ValueError(f"shape {array.shape}: there are no pixels")
    if layout.dtype is np.float32 and not (
        np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1
    ):
        raise ValueError(f"values outside 0..1 (or not finite); {input_format} is scaled to 0..1")
