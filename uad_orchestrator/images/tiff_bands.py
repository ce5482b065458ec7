"""Bands of rows of a large TIFF file, of which only the strips or tiles that they touch are decoded."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.images.damage.tiff_segments import COPY_AGAIN, segments_of
from uad_orchestrator.images.decoders.pixels import CODEC_ERRORS
from uad_orchestrator.images.depth import to_full_range
from uad_orchestrator.images.header import (
    Header,
    Refused,
    errors_name,
    open_header,
    refuse_depth,
    refuse_size,
)
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.storage.regular_file import open_regular

LARGE = 2**25
"""Pixels from which on a file is read in bands: below, decoding it at once costs less memory than a batch does."""

_COMPRESSIONS = (1, 5, 8, 32773, 32946)
"""None, LZW, deflate (two numbers), PackBits: nothing is lost to them, whoever decodes them."""
_GREY, _RGB = 1, 2


class TiffBands:
    """Opens a file for reading bands of rows; use as a context manager, or call ``close``.

    Args:
        path: the file.
        reading: how it is read.
        digest: SHA-256 (hex) that its bytes must have; None: whatever they have.

    Attributes:
        size: ``(H, W)`` in pixels.
    """

    def __init__(self, path: Path, reading: ReadingSettings, digest: str | None = None) -> None:
        self.path = path
        self.reading = reading
        with errors_name(path):
            self._stream: io.BufferedReader = open_regular(path)
            try:
                self._open(digest)
            except BaseException:
                self._stream.close()
                raise

    def read(self, top: int, bottom: int) -> np.ndarray:
        """The rows from ``top`` up to ``bottom``, ``(rows, W, 3)`` RGB, as reading the whole file gives them.

        Raises:
            ImageError: they are damaged, or hold values that the settings do not explain; names the file.
        """
        page: Any = self._page
        height, width = self.size
        bottom = min(bottom, height)
        band = np.empty((bottom - top, width, page.samplesperpixel), page.dtype)
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
        across = -(-width // columns)
        with errors_name(self.path):
            for number in range(top // rows * across, -(-bottom // rows) * across):
                segment, (_, _, y, x, _), _ = self._decoded(number)
                block = segment.reshape(segment.shape[-3:])[: height - y, : width - x]
                first, last = max(y, top), min(y + block.shape[0], bottom)
                band[first - top : last - top, x : x + block.shape[1]] = block[first - y : last - y]
            colours = to_full_range(band[..., 0] if band.shape[2] == 1 else band, self._header, self.reading)
        if colours.ndim == 2:
            return np.broadcast_to(colours[..., np.newaxis], (*colours.shape, 3))
        return colours

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _decoded(self, number: int) -> Any:
        """What tifffile gives of a strip or tile, once what can be said of damage was said."""
        length = self._page.databytecounts[number]
        self._stream.seek(self._page.dataoffsets[number])
        data = self._stream.read(length)
        if len(data) < length:
            raise OSError("cut short: the file ends before its pixels do")
        if damage := self._segments.fault(data):
            raise OSError(f"damaged: {self._segments.name(number)} {damage}. {COPY_AGAIN}")
        try:
            return self._page.decode(data, number)
        except CODEC_ERRORS as error:
            raise OSError(f"damaged: {self._segments.name(number)}: {error}. {COPY_AGAIN}") from error

    def _open(self, digest: str | None) -> None:
        import tifffile

        if digest is not None and hashlib.file_digest(self._stream, "sha256").hexdigest() != digest:
            raise OSError("it was replaced after it was fingerprinted: read it again")
        self._stream.seek(0)
        self._header: Header = open_header(self._stream)[0]
        refuse_size(self._header, self.reading)
        refuse_depth(self._header, self.reading)
        self._segments = segments_of(self._stream, None)
        if reason := self._segments.missing(self._stream.seek(0, io.SEEK_END)):
            raise Refused(reason)
        self._stream.seek(0)
        self._page = tifffile.TiffFile(self._stream).pages.first
        self.size = self._header.size


def can_read_bands(path: Path) -> bool:
    """Whether a file is a large TIFF of a kind that can be read in bands, by its header.

    Others are decoded at once: small ones, turned ones, those with alpha or a palette, packed bits, JPEG inside.
    """
    import tifffile

    try:
        with open_regular(path) as stream:
            header, _ = open_header(stream)
            if header.format != "TIFF" or header.size[0] * header.size[1] < LARGE:
                return False
            stream.seek(0)
            page: Any = tifffile.TiffFile(stream).pages.first
            plain = header.orientation == 1 and not header.alpha and header.packed is None
            colours = (int(page.photometric), int(page.samplesperpixel)) in ((_GREY, 1), (_RGB, 3))
            contiguous = int(page.planarconfig) == 1 and int(page.imagedepth) == 1
            if not (plain and colours and contiguous and int(page.compression) in _COMPRESSIONS):
                return False
            stream.seek(page.dataoffsets[0])
            page.decode(stream.read(page.databytecounts[0]), 0)  # some need a package that may not be there
    except (OSError, ValueError, KeyError, IndexError, TypeError, ImportError, *CODEC_ERRORS):
        return False  # reading it at once says why
    return True
