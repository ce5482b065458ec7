"""From the values of a file to the full range of 8 or 16 bits, where black and white are not its format's own."""

from __future__ import annotations

import numpy as np

from uad_orchestrator.images.header import Header, Refused
from uad_orchestrator.images.reading_settings import ReadingSettings

_WHITE = 65535


def to_full_range(pixels: np.ndarray, header: Header, reading: ReadingSettings) -> np.ndarray:
    """Pixels as uint8 or uint16 from black at 0 to white at 255 or 65535.

    Args:
        pixels: colours alone, in the file's own depth.
        header: the file's.
        reading: what is said of it.

    Returns:
        The same array where that is what the file holds; else uint16, rounded to the nearest step.

    Raises:
        Refused: a value that is not between black and white.

    >>> header = Header("PNG", (1, 2), 1, grey=True, bits=16)
    >>> to_full_range(np.array([[0, 4095]], np.uint16), header, ReadingSettings(bit_depth=12)).tolist()
    [[0, 65535]]
    """
    if reading.value_range is not None:
        return _from_range(pixels, header, *reading.value_range)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise Refused(f"{pixels.dtype} pixels; expected 8 or 16 bits per channel")
    depth = reading.bit_depth
    if depth is not None and depth != header.packed and pixels.dtype == np.uint16:
        return _from_bits(pixels, depth)
    if header.white is not None:
        return _stretched(pixels, header.white)
    return pixels


def _from_bits(pixels: np.ndarray, depth: int) -> np.ndarray:
    white, largest = 2**depth - 1, int(pixels.max())
    if largest > white:
        step = 2 ** (16 - depth)
        hint = (
            f". All its values are multiples of {step}: its {depth} bits are the upper ones of 16, which is the full "
            "range: leave bit_depth out"
            if not int(np.bitwise_or.reduce(pixels, axis=None)) % step
            else ""
        )
        raise Refused(f"values up to {largest}, and bit_depth: {depth} ends at {white}{hint}")
    return _stretched(pixels, white)


def _stretched(pixels: np.ndarray, white: int) -> np.ndarray:
    if white == _WHITE:
        return pixels
    steps = np.arange(_WHITE + 1, dtype=np.uint64)
    table = np.minimum((steps * _WHITE + white // 2) // white, _WHITE)
    return np.take(table.astype(np.uint16), pixels)


def _from_range(pixels: np.ndarray, header: Header, black: float, white: float) -> np.ndarray:
    values = pixels.astype(np.float64)
    if np.isnan(values).any():
        raise Refused(
            f"{np.isnan(values).sum()} values that are no numbers (NaN); expected {black:g} to {white:g}"
        )
    low, high = float(values.min()), float(values.max())
    if low < black or high > white:
        raise Refused(
            f"values from {low:g} to {high:g}, in {header.depth} per channel; value_range says {black:g} to {white:g}"
        )
    values -= black
    values *= _WHITE / (white - black)
    return np.rint(values, out=values).astype(np.uint16)
