"""Rows of patch embeddings held in memory while a bank is built: gathered in one array, image by image."""

from __future__ import annotations

import sys

import numpy as np

from uad_orchestrator.detectors.embedding.embedded_image import Precision


class RowBuffer:
    """One array that rows are appended to; no second copy of them is ever made where they are as many as expected.

    Args:
        dtype: of the array.
    """

    def __init__(self, dtype: type[np.floating]) -> None:
        self._dtype = dtype
        self._rows = np.empty((0, 0), dtype)
        self._count = 0

    @property
    def rows(self) -> np.ndarray:
        """``(n, d)`` those appended so far; valid until the next ones are."""
        return self._rows[: self._count]

    def append(self, rows: np.ndarray, times: int) -> None:
        """Append ``(m, d)`` rows.

        Args:
            rows: all of one dimension.
            times: how often as many are expected, these among them; memory is taken as it is written to.
        """
        needed = self._count + len(rows)
        if needed > len(self._rows) or not self._count:
            larger = np.empty((max(needed, self._count + len(rows) * times), rows.shape[1]), self._dtype)
            if self._count:
                larger[: self._count] = self.rows
            self._rows = larger
        _copy(rows, self._rows[self._count : needed])
        self._count = needed

    def drop(self, count: int) -> None:
        """Let go of the last ``count`` rows."""
        self._count -= count


class KeptRows:
    """The rows of the first images, up to a bound, so that they need not be read again.

    Args:
        precision: they are kept in float16 where that loses nothing.
        most_bytes: the bound.

    Attributes:
        images: how many images' rows are kept.
    """

    def __init__(self, precision: Precision, most_bytes: int) -> None:
        self._dtype: type[np.floating] = np.float16 if precision == "float16" else np.float32
        self._left = most_bytes
        self._buffer = RowBuffer(self._dtype)
        self.images = 0

    @property
    def rows(self) -> np.ndarray:
        """``(n, d)`` float16 or float32; ``(0, d)`` where none are kept."""
        return self._buffer.rows

    def add(self, rows: np.ndarray, times: int) -> None:
        """Keep an image's rows, if those of all images before it are kept and they fit.

        Args:
            rows: ``(m, d)`` float32 or float16.
            times: how many such images are expected, this one among them.
        """
        size = rows.size * np.dtype(self._dtype).itemsize
        self._left -= size
        if self._left < 0:
            self._buffer.append(rows[:0], 0)
            return
        self._buffer.append(rows, min(times, 1 + self._left // max(1, size)))
        if not _equal(self._buffer.rows[-len(rows) :] if len(rows) else rows, rows):
            self._buffer.drop(len(rows))
            self._left = -1
            return
        self.images += 1


def _copy(rows: np.ndarray, to: np.ndarray) -> None:
    """Copy rows to an array of another precision; in several threads by torch, where it is loaded anyhow."""
    if rows.dtype == to.dtype or "torch" not in sys.modules or not rows.flags.writeable:
        with np.errstate(over="ignore"):
            np.copyto(to, rows, casting="same_kind")
        return
    import torch

    torch.from_numpy(to).copy_(torch.from_numpy(rows))


def _equal(kept: np.ndarray, rows: np.ndarray) -> bool:
    """Whether nothing was lost by the precision of what is kept; in several threads likewise."""
    if kept.dtype == rows.dtype:
        return True
    if "torch" not in sys.modules or not rows.flags.writeable:
        return np.array_equal(kept, rows)
    import torch

    return torch.equal(torch.from_numpy(kept).float(), torch.from_numpy(rows))
