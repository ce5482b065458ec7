"""Rows of patch embeddings held in memory while a bank is built: gathered in one array, image by image."""

from __future__ import annotations

import numpy as np

from uad_orchestrator.detectors.embedding.stream import Precision


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
        self._rows[self._count : needed] = rows
        self._count = needed


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
            rows: ``(m, d)`` float32.
            times: how many such images are expected, this one among them.
        """
        with np.errstate(over="ignore"):
            kept = rows.astype(self._dtype, copy=False)
        self._left -= kept.nbytes
        if self._left < 0 or not np.array_equal(kept, rows):
            self._left = -1
            self._buffer.append(kept[:0], 0)
            return
        self._buffer.append(kept, min(times, 1 + self._left // max(1, kept.nbytes)))
        self.images += 1
