"""What reading a file leaves out: further pictures and channels behind the first, and what its alpha would hide."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from uad_orchestrator.images.decode import encoded_header, hidden_share, read_bytes, read_header
from uad_orchestrator.images.header import Header
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings

RemarkKind = Literal["several", "unread", "hidden", "size", "channels", "brightness", "sharpness"]


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

    Args:
        path: the image's file.
        reading: how it is read.
        header: the file's, where it has been read; None: it is read.
        decode: whether it may be decoded; else nothing is said of what alpha hides.

    Returns:
        Them; none for a file of one picture that hides nothing.

    Raises:
        ImageError: the file cannot be read.
    """
    header = header or read_header(path)
    data = read_bytes(Path(path)) if decode and _may_hide(header, reading) else None
    return _remarks(header, data, str(path), reading)


def encoded_remarks(data: bytes, name: str, reading: ReadingSettings = PLAIN_READING) -> tuple[Remark, ...]:
    """``file_remarks`` of a file's bytes.

    Raises:
        ImageError: the file cannot be read.
    """
    return _remarks(encoded_header(data, name, reading), data, name, reading)


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
