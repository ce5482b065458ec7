"""Random draws, fields and shapes that are the same to the last bit on every machine (see the package)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Field = np.ndarray
"""``(H, W)`` float64: a value per pixel."""

Picture = np.ndarray
"""``(H, W, 3)`` float64: RGB in 0..255, before light, noise and rounding."""


class Draws:
    """Uniform random numbers made from raw PCG64 bits, a stream whose bits NumPy guarantees."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in ``[low, high)``."""
        return low + (high - low) * float(self.uniforms((1,))[0])

    def uniforms(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of numbers in ``[0, 1)``."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def bell(self, shape: tuple[int, ...]) -> np.ndarray:
        """Nearly Gaussian numbers, mean 0, variance 1: each the sum of a draw's four 16-bit parts."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        parts = raw.view(np.uint16).reshape(*shape, 4).astype(np.int64)
        total = parts[..., 0] + parts[..., 1] + parts[..., 2] + parts[..., 3]
        return (total - 131070) * (1.7320508075688772 / 65536)  # four uniforms add up to variance 1/3

    def integer(self, n: int) -> int:
        """One of ``0 .. n - 1``."""
        return min(n - 1, int(self.uniform() * n))

    def turn(self) -> tuple[float, float]:
        """Cosine and sine of a random angle, from the rational points of the circle."""
        t = self.uniform(-1.0, 1.0)
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)  # a half circle around 0 degrees
        return (cosine, sine) if self.integer(2) else (-cosine, -sine)


def grid(size: tuple[int, int]) -> tuple[Field, Field]:
    """Row and column of every pixel centre, ``(H, W)`` each."""
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    return rows + 0.5, columns + 0.5


def smooth_noise(draws: Draws, size: tuple[int, int], cell: tuple[float, float]) -> Field:
    """Value noise in -1..1: random numbers on a lattice of ``cell`` (height, width), interpolated."""
    rows, columns = grid(size)
    y, x = rows / cell[0], columns / cell[1]
    lattice = draws.uniforms((int(y[-1, -1]) + 2, int(x[-1, -1]) + 2)) * 2 - 1
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    fy, fx = smooth_step(y - i), smooth_step(x - j)
    top = lattice[i, j] * (1 - fx) + lattice[i, j + 1] * fx
    bottom = lattice[i + 1, j] * (1 - fx) + lattice[i + 1, j + 1] * fx
    return top * (1 - fy) + bottom * fy


def sensor_noise(draws: Draws, size: tuple[int, int], std: float) -> Picture:
    """Nearly Gaussian noise, half of its power common to the three channels."""
    noise = draws.bell((*size, 1)) + draws.bell((*size, 3))
    return noise * (std * 0.7071067811865476)


def smooth_step(t: Field) -> Field:
    """0 below 0, 1 above 1, a smooth cubic between."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)


def bump(distance: Field, radius: float) -> Field:
    """1 at distance 0, falling smoothly to 0 at ``radius``."""
    return smooth_step(1 - distance / radius)


def coverage(signed_distance: Field, softness: float = 1.0) -> Field:
    """How much of a pixel a shape covers: 1 inside (negative distance), 0 outside, a ramp at the edge."""
    return np.clip(0.5 - signed_distance / softness, 0.0, 1.0)


def disc(y: Field, x: Field, radius: float) -> Field:
    """Signed distance to a disc around the origin."""
    return np.sqrt(y * y + x * x) - radius


def box(y: Field, x: Field, half_height: float, half_width: float, corner: float = 0.0) -> Field:
    """Signed distance to an upright box around the origin, its corners rounded by ``corner``.

    Without rounding it is the distance by the larger coordinate, which is all that an edge needs.
    """
    dy = np.abs(y) - (half_height - corner)
    dx = np.abs(x) - (half_width - corner)
    if corner == 0:
        return np.maximum(dy, dx)
    outside = np.sqrt(np.maximum(dy, 0) ** 2 + np.maximum(dx, 0) ** 2)
    return outside + np.minimum(np.maximum(dy, dx), 0) - corner


def polyline(rows: Field, columns: Field, points: Sequence[tuple[float, float]]) -> Field:
    """Distance to a line through ``points`` (row, column)."""
    nearest = np.full(rows.shape, np.inf)
    for (y0, x0), (y1, x1) in pairwise(points):
        dy, dx = y1 - y0, x1 - x0
        t = np.clip(((rows - y0) * dy + (columns - x0) * dx) / (dy * dy + dx * dx), 0.0, 1.0)
        ry, rx = rows - y0 - t * dy, columns - x0 - t * dx
        nearest = np.minimum(nearest, np.sqrt(ry * ry + rx * rx))
    return nearest


def paint(picture: Picture, colour: Sequence[float] | Picture, alpha: Field) -> Picture:
    """``picture`` with ``colour`` laid over it, as opaque as ``alpha`` (0..1) says."""
    over = np.broadcast_to(np.asarray(colour, dtype=np.float64), picture.shape)
    touched = _bounding_box(alpha > 0)
    a = alpha[touched][..., np.newaxis]
    painted = picture.copy()
    painted[touched] = picture[touched] * (1 - a) + over[touched] * a
    return painted


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def photograph(picture: Picture, draws: Draws, *, light: float = 0.04, noise: float = 1.5) -> np.ndarray:
    """The picture as a camera sees it, ``(H, W, 3)`` uint8.

    Brightness, a gradient across the field and a slight colour cast vary from shot to shot, by at most
    ``light`` each; sensor noise has the standard deviation ``noise``.
    """
    size = picture.shape[:2]
    rows, columns = grid(size)
    y, x = rows / size[0] - 0.5, columns / size[1] - 0.5
    gain = 1 + draws.uniform(-light, light)
    gain = gain + y * draws.uniform(-light, light) + x * draws.uniform(-light, light) - 0.08 * (y * y + x * x)
    cast = 1 + (draws.uniforms((3,)) - 0.5) * (light / 4)
    seen = picture * gain[..., np.newaxis] * cast + sensor_noise(draws, size, noise)
    return np.clip(np.floor(seen + 0.5), 0, 255).astype(np.uint8)
