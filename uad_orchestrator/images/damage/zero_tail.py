"""Does an uncompressed picture end in zeros? So does one that was copied in part, and one that is black below."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from uad_orchestrator.images.damage.tiff_segments import UNCOMPRESSED, segments_of

if TYPE_CHECKING:
    from PIL.Image import Image

_BLOCK = 1 << 16
_LEAST_BYTES = 4096
"""What disks keep and copy at once."""
_LEAST_SHARE = 1 / 256


def zero_tail(stream: BinaryIO, image_format: str, image: Image | None) -> float:
    """The share of a picture's bytes that are zero up to its last, where that is worth a word.

    Args:
        stream: the file.
        image_format: Pillow's name of the format.
        image: Pillow's, not decoded yet; None for a TIFF file that it has no mode for.

    Returns:
        0 where the file is compressed, little is zero at its end, or all of it: that one is black.
    """
    spans, are_tiles = _spans(stream, image_format, image)
    total, zeros = sum(length for _, length in spans), 0
    for start, length in reversed(spans):
        found = _zeros_at_the_end(stream, start, length)
        if found == length or not are_tiles:  # the last tiles of a picture end in zeros that fill them up
            zeros += found
        if found < length:
            return zeros / total if zeros >= max(_LEAST_BYTES, _LEAST_SHARE * total) else 0.0
    return 0.0


def _spans(stream: BinaryIO, image_format: str, image: Image | None) -> tuple[list[tuple[int, int]], bool]:
    """Where the pixels lie, first to last: begin and length in bytes; none of a compressed file. And are they tiles?"""
    if image_format == "TIFF":
        segments = segments_of(stream, image)
        if segments.compression != UNCOMPRESSED:
            return [], False
        return list(zip(segments.offsets, segments.lengths, strict=True)), segments.word == "tile"
    tiles = image.tile if image is not None else []  # type: ignore[attr-defined]
    if len(tiles) != 1 or tiles[0][0] != "raw":
        return [], False
    start = int(tiles[0][2])
    return [(start, stream.seek(0, io.SEEK_END) - start)], False


def _zeros_at_the_end(stream: BinaryIO, start: int, length: int) -> int:
    found, end = 0, start + length
    while end > start:
        begin = max(start, end - _BLOCK)
        stream.seek(begin)
        block = stream.read(end - begin)
        left = len(block.rstrip(b"\0"))
        found += len(block) - left
        if left:
            break
        end = begin
    return found
