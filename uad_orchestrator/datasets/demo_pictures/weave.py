"""A texture: woven cloth, somewhere on the roll."""

from __future__ import annotations

import numpy as np

from uad_orchestrator.datasets.demo_pictures.exact import Draws, Field, Picture, bump, grid, smooth_noise
from uad_orchestrator.datasets.demo_pictures.surface_defects import Defect, add_surface_defect

SIZE = (192, 192)
DEFECTS = ("scratch", "stain", "missing_thread", "snag", "colour_shift")

_PITCH = 9.0
_WARP = np.array([186.0, 168.0, 136.0])
_WEFT = np.array([122.0, 138.0, 158.0])


def paint_weave(draws: Draws, defect: Defect | None = None) -> Picture:
    """Threads over and under each other; their place, tension and shade vary."""
    rows, columns = grid(SIZE)
    y = rows + draws.uniform(0, 100) + 0.9 * smooth_noise(draws, SIZE, (40, 40))
    x = columns + draws.uniform(0, 100) + 0.9 * smooth_noise(draws, SIZE, (40, 40))
    if defect and defect.kind == "snag":
        y, x = _snag(y, x, rows, columns, defect)
    warp_number, warp = _thread(x)
    weft_number, weft = _thread(y)
    warp_shade = 1 + 0.04 * (draws.uniforms((64,)) * 2 - 1)[warp_number % 64]
    weft_shade = 1 + 0.04 * (draws.uniforms((64,)) * 2 - 1)[weft_number % 64]
    warp_above = (warp_number + weft_number) % 2 == 0
    if defect and defect.kind == "missing_thread":
        gone = _missing(rows, warp_number, defect)
        warp_above &= ~gone
        weft = np.where(gone, weft * (1 - 0.75 * defect.severity), weft)
    shade = np.where(warp_above, warp * warp_shade, weft * weft_shade)
    picture = np.where(warp_above[..., np.newaxis], _WARP, _WEFT) * (0.5 + 0.5 * shade)[..., np.newaxis]
    return add_surface_defect(picture, defect, np.ones(SIZE), reach=SIZE[0])


def _thread(position: Field) -> tuple[np.ndarray, Field]:
    """Which thread lies there, and its rounded profile: 1 on its back, 0 in the gap."""
    number = np.floor(position / _PITCH)
    across = position / _PITCH - number
    return number.astype(int), 4 * across * (1 - across)


def _snag(y: Field, x: Field, rows: Field, columns: Field, defect: Defect) -> tuple[Field, Field]:
    """The threads are pulled aside around a point."""
    draws = defect.draws
    radius = 14 + 12 * defect.severity
    dy = rows - draws.uniform(radius, SIZE[0] - radius)
    dx = columns - draws.uniform(radius, SIZE[1] - radius)
    pull = bump(np.sqrt(dy * dy + dx * dx), radius) * (5 + 10 * defect.severity)
    cosine, sine = draws.turn()
    return y + pull * cosine, x + pull * sine


def _missing(rows: Field, warp_number: np.ndarray, defect: Defect) -> np.ndarray:
    """The warp thread that is gone, over a part of its length, ``(H, W)`` bool."""
    draws = defect.draws
    length = 24 + 90 * defect.severity
    start = draws.uniform(0, SIZE[0] - length)
    numbers = warp_number[:, 20:-20]
    number = int(numbers.min()) + draws.integer(int(numbers.max()) - int(numbers.min()) + 1)
    return (warp_number == number) & (rows > start) & (rows < start + length)
