"""What is known of an image file without decoding it: size, channels, depth, content, and whether it is whole."""

from __future__ import annotations

import io
from pathlib import Path

from uad_orchestrator.images.damage.completeness import missing_part
from uad_orchestrator.images.header import (
    Header,
    Refused,
    errors_name,
    open_header,
    refuse_depth,
    refuse_size,
)
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.storage.digests import file_digest
from uad_orchestrator.storage.regular_file import open_regular


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
        header, image = open_header(stream)
        refuse_size(header, reading)
        if not mask:
            refuse_depth(header, reading)
        reason = missing_part(stream, header.format, image)
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
