"""An aligned object: a connector on a board, always at the same place but for a pixel or two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uad_orchestrator.datasets.demo_pictures.exact import (
    Draws,
    Field,
    Picture,
    box,
    coverage,
    disc,
    grid,
    paint,
    smooth_noise,
)
from uad_orchestrator.datasets.demo_pictures.surface_defects import Defect, add_surface_defect

SIZE = (176, 224)
DEFECTS = ("scratch", "stain", "missing_pin", "bent_pin", "colour_shift")

_PINS_PER_ROW = 8
_PIN_COLUMNS = [-59.5 + 17.0 * k for k in range(_PINS_PER_ROW)]
_PIN_ROWS = (-17.0, 17.0)
_BAR_WIDTHS = (1.2, 2.4, 1.2, 1.8, 3.0, 1.2, 2.4, 1.8)
_BOARD = (46.0, 98.0, 70.0)
_HOUSING = (72.0, 74.0, 80.0)
_METAL = (196.0, 188.0, 160.0)
_LABEL = (214.0, 214.0, 206.0)


@dataclass(frozen=True)
class _Pin:
    row: float
    column: float
    shine: float
    lean: float = 0.0


def paint_connector(draws: Draws, defect: Defect | None = None) -> Picture:
    """Board, housing, two rows of pins, two screws, a label; the part sits a little differently each time."""
    rows, columns = grid(SIZE)
    y = rows - SIZE[0] / 2 - draws.uniform(-1.5, 1.5)
    x = columns - SIZE[1] / 2 - draws.uniform(-1.5, 1.5)
    grain = smooth_noise(draws, SIZE, (3, 3))[..., np.newaxis]
    picture = np.asarray(_BOARD) * (1 + 0.05 * grain)
    picture = _paint_tracks(picture, y, x)
    housing = coverage(box(y, x, 38, 82, corner=6))
    picture = paint(picture, np.asarray(_HOUSING) * (1 + 0.04 * grain), housing)
    picture = paint(picture, (52.0, 53.0, 58.0), coverage(box(y, x, 30, 72, corner=3)))
    for pin in _pins(draws, defect):
        _paint_pin(picture, y, x, pin)
    for side in (-1, 1):
        picture = _paint_screw(picture, y, x - side * 97, draws.turn())
    picture = _paint_label(picture, y, x)
    return add_surface_defect(picture, defect, coverage(box(y, x, 40, 84, corner=6)), reach=150)


def _pins(draws: Draws, defect: Defect | None) -> list[_Pin]:
    """All pins; one is missing or leans where the defect says so."""
    pins = [_Pin(row, column, draws.uniform(0.93, 1.05)) for row in _PIN_ROWS for column in _PIN_COLUMNS]
    if defect and defect.kind == "missing_pin":
        first = defect.draws.integer(_PINS_PER_ROW - 3)
        first += _PINS_PER_ROW * defect.draws.integer(2)
        gone = 3 if defect.severity > 0.9 else 2 if defect.severity > 0.6 else 1
        return pins[:first] + pins[first + gone :]
    if defect and defect.kind == "bent_pin":
        chosen = defect.draws.integer(len(pins))
        lean = (1.5 + 6.5 * defect.severity) * (1 if defect.draws.integer(2) else -1)
        pin = pins[chosen]
        pins[chosen] = _Pin(pin.row, pin.column, pin.shine, lean)
    return pins


def _paint_pin(picture: Picture, y: Field, x: Field, pin: _Pin) -> None:
    """A metal blade with a bright ridge, painted in place; a bent one shears sideways towards its tip."""
    near = (np.abs(y[:, 0] - pin.row) < 14), (np.abs(x[0] - pin.column) < 16)
    window = np.ix_(*near)
    along, across = y[window] - pin.row, x[window] - pin.column
    across = across - pin.lean * np.clip((along / 11 + 1) / 2, 0, 1)
    blade = coverage(box(along, across, 11, 4.2, corner=1.5))
    ridge = coverage(box(along, across, 9, 1.2))
    part = paint(picture[window], np.asarray(_METAL) * (0.82 * pin.shine), blade)
    picture[window] = paint(part, np.asarray(_METAL) * (1.08 * pin.shine), ridge)


def _paint_screw(picture: Picture, y: Field, x: Field, turn: tuple[float, float]) -> Picture:
    """A screw head whose slot points anywhere: normal variation that must not alarm."""
    cosine, sine = turn
    slot = box(cosine * y + sine * x, cosine * x - sine * y, 1.3, 6.5)
    picture = paint(picture, (150.0, 152.0, 154.0), coverage(disc(y, x, 10)))
    picture = paint(picture, (172.0, 174.0, 176.0), coverage(disc(y, x, 7.5)))
    return paint(picture, (70.0, 70.0, 72.0), coverage(slot))


def _paint_label(picture: Picture, y: Field, x: Field) -> Picture:
    """A printed label below the housing with a bar code."""
    picture = paint(picture, _LABEL, coverage(box(y - 62, x + 30, 11, 40)))
    bars = [np.abs(x + 62 - 9 * k) - width / 2 for k, width in enumerate(_BAR_WIDTHS)]
    code = np.maximum(np.abs(y - 62) - 7, np.minimum.reduce(bars))
    return paint(picture, (40.0, 40.0, 42.0), coverage(code))


def _paint_tracks(picture: Picture, y: Field, x: Field) -> Picture:
    """Copper tracks that lead from the pins to the upper edge."""
    across = np.minimum.reduce([np.abs(x - column) - 1.6 for column in _PIN_COLUMNS])
    tracks = np.maximum(np.abs(y + 64) - 26, across)
    return paint(picture, (74.0, 128.0, 92.0), coverage(tracks))
