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
    """Signed distance to the gear, how far each pixel is from its axis, and how damage shades the steel."""

    distance: Field
    from_axis: Field
    shade: Field


def paint_gear(draws: Draws, defect: Defect | None = None) -> Picture:
    """Belt, shadow and gear; the gear lies anywhere near the middle, turned by any angle."""
    rows, columns = grid(SIZE)
    dy = rows - SIZE[0] / 2 - draws.uniform(-22, 22)
    dx = columns - SIZE[1] / 2 - draws.uniform(-22, 22)
    cosine, sine = draws.turn()
    shape = _shape(cosine * dy + sine * dx, cosine * dx - sine * dy, defect)
    shadow = coverage(np.roll(shape.distance, (4, 3), axis=(0, 1)) - 1, softness=6)
    picture = paint(_paint_belt(draws), (30.0, 31.0, 33.0), shadow * 0.6)
    picture = paint(picture, _steel(draws, shape, dy, dx), coverage(shape.distance, softness=2))
    return add_surface_defect(picture, defect, coverage(shape.distance + 2), reach=2 * _RADIUS)


def _paint_belt(draws: Draws) -> Picture:
    """Rubber with streaks along the direction of travel."""
    streaks = smooth_noise(draws, SIZE, (5, 90)) + 0.5 * smooth_noise(draws, SIZE, (2.5, 2.5))
    return np.array([66.0, 68.0, 74.0]) * (1 + 0.04 * streaks)[..., np.newaxis]


def _shape(y: Field, x: Field, defect: Defect | None) -> _Shape:
    """A toothed disc with a keyed bore and six holes, in the gear's own coordinates."""
    kind = defect.kind if defect else None
    faulty = defect.draws.integer(12) if defect else -1
    shade = np.ones(SIZE)
    if defect and kind == "dent":
        y, x, shade = _dent(y, x, defect, _TWELFTHS[faulty])
    from_axis = np.sqrt(y * y + x * x)
    distance = from_axis - _RADIUS
    for number, (cosine, sine) in enumerate(_TWELFTHS):
        across, out = cosine * y + sine * x, cosine * x - sine * y
        height = 10.0
        if defect and kind == "missing_tooth" and number == faulty:
            height *= 1 - defect.severity
            shade = _fracture(across, out, defect)
        distance = np.minimum(distance, box(across, out - _RADIUS, 7.5, height))
    for cosine, sine in _TWELFTHS[1::2]:
        across, out = cosine * y + sine * x, cosine * x - sine * y
        distance = np.maximum(distance, -disc(across, out - 36, 8.5))
    bore = np.minimum(disc(y, x, 14), box(y, x - 14, 4, 5))
    return _Shape(np.maximum(distance, -bore), from_axis, shade)


def _fracture(across: Field, out: Field, defect: Defect) -> Field:
    """The rough, dark face that a broken tooth leaves."""
    grain = smooth_noise(defect.draws, SIZE, (2.5, 2.5))
    face = coverage(box(across, out - _RADIUS + 1, 7.5, 2 + 5 * defect.severity), softness=2)
    return 1 - face * (0.2 + 0.2 * grain)


def _dent(y: Field, x: Field, defect: Defect, tooth: tuple[float, float]) -> tuple[Field, Field, Field]:
    """The rim is pushed in around a tooth, and the bruise is darker."""
    cosine, sine = tooth
    out_y, out_x = -sine, cosine  # from the axis to the tooth
    dy, dx = y - out_y * (_RADIUS + 8), x - out_x * (_RADIUS + 8)
    bruise = bump(np.sqrt(dy * dy + dx * dx), 16 + 14 * defect.severity)
    push = bruise * (6 + 10 * defect.severity)
    shade = 1 - 0.5 * defect.severity * bruise
    return y + push * (out_y + 0.4 * out_x), x + push * (out_x - 0.4 * out_y), shade


def _steel(draws: Draws, shape: _Shape, dy: Field, dx: Field) -> Picture:
    """Turned steel: fine rings, a bevel lit from the upper left, a slightly different batch each time."""
    ring = shape.from_axis / 3.0
    ring = ring - np.floor(ring)
    rings = 4 * ring * (1 - ring)
    bevel = bump(np.abs(shape.distance + 1.5), 3.0)
    facing = -(dy + dx) / (np.sqrt(dy * dy + dx * dx) + 1.0)
    mottle = smooth_noise(draws, SIZE, (18, 18))
    shade = shape.shade + 0.03 * rings + 0.1 * bevel * facing + 0.02 * mottle
    return np.array([138.0, 142.0, 148.0]) * (draws.uniform(0.96, 1.04) * shade)[..., np.newaxis]
