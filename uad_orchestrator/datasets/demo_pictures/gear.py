"""An object in free rotation and place: a gear on a conveyor belt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uad_orchestrator.datasets.demo_pictures.exact import (
    Draws,
    Field,
    Picture,
    box,
    bump,
    coverage,
    disc,
    grid,
    paint,
    smooth_noise,
)
from uad_orchestrator.datasets.demo_pictures.surface_defects import Defect, add_surface_defect

SIZE = (208, 208)
DEFECTS = ("scratch", "stain", "missing_tooth", "dent", "colour_shift")

_RADIUS = 56.0
_HALF_ROOT_3 = 0.8660254037844386
_TWELFTHS = [  # cosine and sine of 0, 30, .. 330 degrees
    (1.0, 0.0),
    (_HALF_ROOT_3, 0.5),
    (0.5, _HALF_ROOT_3),
    (0.0, 1.0),
    (-0.5, _HALF_ROOT_3),
    (-_HALF_ROOT_3, 0.5),
    (-1.0, 0.0),
    (-_HALF_ROOT_3, -0.5),
    (-0.5, -_HALF_ROOT_3),
    (0.0, -1.0),
    (0.5, -_HALF_ROOT_3),
    (_HALF_ROOT_3, -0.5),
]


@dataclass(frozen=True)
class _Shape:
    """Signed distance to the gear, and how far each pixel is from its axis."""

    distance: Field
    from_axis: Field


def paint_gear(draws: Draws, defect: Defect | None = None) -> Picture:
    """Belt, shadow and gear; the gear lies anywhere near the middle, turned by any angle."""
    rows, columns = grid(SIZE)
    dy = rows - SIZE[0] / 2 - draws.uniform(-22, 22)
    dx = columns - SIZE[1] / 2 - draws.uniform(-22, 22)
    cosine, sine = draws.turn()
    y, x = cosine * dy + sine * dx, cosine * dx - sine * dy
    picture = _paint_belt(draws)
    shape = _shape(y, x, defect)
    shadow_y, shadow_x = cosine * (dy - 4) + sine * (dx - 3), cosine * (dx - 3) - sine * (dy - 4)
    shadow = coverage(_shape(shadow_y, shadow_x, defect).distance - 1, softness=6)
    picture = paint(picture, (30.0, 31.0, 33.0), shadow * 0.6)
    steel = _steel(draws, shape, dy, dx)
    body = coverage(shape.distance)
    picture = paint(picture, steel, body)
    return add_surface_defect(picture, defect, coverage(shape.distance + 2), reach=2 * _RADIUS)


def _paint_belt(draws: Draws) -> Picture:
    """Rubber with streaks along the direction of travel."""
    streaks = smooth_noise(draws, SIZE, (5, 90)) + 0.5 * smooth_noise(draws, SIZE, (2.5, 2.5))
    return np.array([66.0, 68.0, 74.0]) * (1 + 0.07 * streaks)[..., np.newaxis]


def _shape(y: Field, x: Field, defect: Defect | None) -> _Shape:
    """A toothed disc with a keyed bore and six holes, in the gear's own coordinates."""
    if defect and defect.kind == "dent":
        y, x = _dent(y, x, defect)
    from_axis = np.sqrt(y * y + x * x)
    distance = from_axis - _RADIUS
    broken = _broken_tooth(defect)
    for number, (cosine, sine) in enumerate(_TWELFTHS):
        across, out = cosine * y + sine * x, cosine * x - sine * y
        height = 10.0 if number != broken else 10.0 * (1 - defect.severity)  # type: ignore[union-attr]
        distance = np.minimum(distance, box(across, out - _RADIUS, 7.5, height, corner=1.5))
    for cosine, sine in _TWELFTHS[1::2]:
        across, out = cosine * y + sine * x, cosine * x - sine * y
        distance = np.maximum(distance, -disc(across, out - 36, 8.5))
    bore = np.minimum(disc(y, x, 14), box(y, x - 14, 4, 5))
    return _Shape(np.maximum(distance, -bore), from_axis)


def _broken_tooth(defect: Defect | None) -> int | None:
    """Its number is the same for the gear and its shadow: always the first, which lies at a random angle."""
    return 0 if defect and defect.kind == "missing_tooth" else None


def _dent(y: Field, x: Field, defect: Defect) -> tuple[Field, Field]:
    """The rim is pushed in around the first tooth."""
    away = np.sqrt(y * y + (x - _RADIUS - 8) ** 2)
    push = bump(away, 16 + 14 * defect.severity) * (3 + 9 * defect.severity)
    return y + 0.4 * push, x + push


def _steel(draws: Draws, shape: _Shape, dy: Field, dx: Field) -> Picture:
    """Turned steel: fine rings, a bevel lit from the upper left, a slightly different batch each time."""
    ring = shape.from_axis / 3.0
    ring = ring - np.floor(ring)
    rings = 4 * ring * (1 - ring)
    bevel = bump(np.abs(shape.distance + 1.5), 3.0)
    facing = -(dy + dx) / (np.sqrt(dy * dy + dx * dx) + 1.0)
    mottle = smooth_noise(draws, SIZE, (18, 18))
    shade = 1 + 0.05 * rings + 0.16 * bevel * facing + 0.03 * mottle
    return np.array([164.0, 168.0, 174.0]) * (draws.uniform(0.96, 1.04) * shade)[..., np.newaxis]
