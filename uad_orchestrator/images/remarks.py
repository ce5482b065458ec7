"""What a result has to say of its file: pictures and channels that are not read, what alpha hides, an end of zeros."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from uad_orchestrator.images.damage.zero_tail import zero_tail
from uad_orchestrator.images.decode import hidden_share, read_bytes
from uad_orchestrator.images.file_facts import encoded_header, read_header
from uad_orchestrator.images.header import Header, errors_name, open_header
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.storage.regular_file import open_regular

RemarkKind = Literal["several", "unread", "hidden", "zeros", "size", "channels", "brightness", "sharpness"]


_STORED_AS_THEY_ARE = ("TIFF", "BMP", "PPM")
"""Formats that mostly do not compress pixels."""


class Remark(NamedTuple):
    """What a result has to say about its image.

    Attributes:
        kind: by which remarks are counted.
        text: a sentence for people, to be put behind the image's name.
    """

    kind: RemarkKind
    text: str


def file_remarks(
    path: Path | str,
    reading: ReadingSettings = PLAIN_READING,
    *,
    header: Header | None = None,
    decode: bool = True,
) -> tuple[Remark, ...]:
    """What a result of this image has to say about it, decoded only where there is an alpha channel.

    An end of zeros is looked for where pixels are stored as they are: a copy that was broken off looks like this.

    Args:
        path: the image's file.
        reading: how it is read.
        header: the file's, where it has been read; None: it is read.
        decode: whether its pixels may be looked at; else nothing is said of what alpha hides, nor of zeros.

    Returns:
        Them; none for a file of one picture that hides nothing.

    Raises:
        ImageError: the file cannot be read.
    """
    header = header or read_header(path)
    data = read_bytes(Path(path)) if decode and _may_hide(header, reading) else None
    said = _remarks(header, data, str(path), reading)
    if not decode or header.format not in _STORED_AS_THEY_ARE:
        return said
    with errors_name(path), open_regular(path) as stream:
        return said + _zeros(stream, header)


def encoded_remarks(data: bytes, name: str, reading: ReadingSettings = PLAIN_READING) -> tuple[Remark, ...]:
    """``file_remarks`` of a file's bytes.

    Raises:
        ImageError: the file cannot be read.
    """
    header = encoded_header(data, name, reading)
    said = _remarks(header, data, name, reading)
    if header.format not in _STORED_AS_THEY_ARE:
        return said
    with errors_name(name):
        return said + _zeros(io.BytesIO(data), header)


def _zeros(stream: BinaryIO, header: Header) -> tuple[Remark, ...]:
    image = open_header(stream)[1]
    share = zero_tail(stream, header.format, image)
    if not share:
        return ()
    text = f"the last {_percent(share)} of its bytes are all zero: is it black there, or was the file copied in part?"
    return (Remark("zeros", text),)


def _may_hide(header: Header, reading: ReadingSettings) -> bool:
    return header.alpha and reading.alpha == "ignore"


def _remarks(header: Header, data: bytes | None, name: str, reading: ReadingSettings) -> tuple[Remark, ...]:
    """``data``: the file's bytes, where its alpha may be looked at."""
    said = []
    if header.several:
        said.append(Remark("several", "holds several pictures (frames or pages), of which the first is read"))
    if header.unread:
        said.append(
            Remark("unread", f"has channels that are neither colour nor alpha ({header.unread}): not read")
        )
    if data is not None and _may_hide(header, reading) and (share := hidden_share(data, name, reading)):
        text = (
            f"its alpha hides {_percent(share)} of its pixels, which are read as if it did not; say what they are: "
            "alpha: white, or alpha: mask"
        )
        said.append(Remark("hidden", text))
    return tuple(said)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
