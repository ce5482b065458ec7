"""Defects that lie on a surface, whatever it is: scratch, stain, colour shift.

``severity`` runs from 1 (seen at once) down to about 0.3 (seen when looked for).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uad_orchestrator.datasets.demo_pictures.exact import (
    Draws,
    Field,
    Picture,
    coverage,
    grid,
    paint,
    polyline,
    smooth_noise,
)


@dataclass(frozen=True)
class Defect:
    """What is wrong with a picture: the kind, how bad, and its own random stream."""

    kind: str
    severity: float
    draws: Draws


def add_surface_defect(picture: Picture, defect: Defect | None, surface: Field, reach: float) -> Picture:
    """The picture with the defect, if it is one of a surface's.

    Args:
        picture: the part without it.
        defect: its kind decides; None and other kinds leave the picture as it is.
        surface: 1 where the defect can lie, 0 elsewhere.
        reach: the size of the part in pixels, by which defects scale.
    """
    if defect is None or defect.kind not in _PAINTERS:
        return picture
    return _PAINTERS[defect.kind](picture, defect, surface, reach)


def _scratch(picture: Picture, defect: Defect, surface: Field, reach: float) -> Picture:
    """A thin, slightly bent bright line."""
    draws, severity = defect.draws, defect.severity
    y, x = _place(draws, surface)
    cosine, sine = draws.turn()
    length = reach * (0.12 + 0.3 * severity)
    bend = draws.uniform(-0.2, 0.2) * length
    points = []
    for k in range(-4, 5):
        along, aside = length * k / 8, bend * (1 - k * k / 16)
        points.append((y + cosine * along + sine * aside, x + sine * along - cosine * aside))
    rows, columns = grid(picture.shape[:2])
    line = coverage(polyline(rows, columns, points) - (0.5 + 0.9 * severity))
    return paint(picture, (238, 238, 232), line * surface * (0.45 + 0.5 * severity))


def _stain(picture: Picture, defect: Defect, surface: Field, reach: float) -> Picture:
    """A dark, irregular blot."""
    alpha = _blot(picture, defect, surface, reach * (0.05 + 0.07 * defect.severity))
    return paint(picture, (44, 34, 26), alpha * (0.1 + 0.5 * defect.severity))


def _colour_shift(picture: Picture, defect: Defect, surface: Field, reach: float) -> Picture:
    """A discoloured area whose structure stays visible."""
    alpha = _blot(picture, defect, surface, reach * (0.09 + 0.08 * defect.severity))
    strength = 0.03 + 0.2 * defect.severity
    tint = np.array([1 + strength, 1 - strength * 0.15, 1 - strength])
    if defect.draws.integer(2):
        tint = tint[::-1]
    return paint(picture, picture * tint, alpha)


def _blot(picture: Picture, defect: Defect, surface: Field, radius: float) -> Field:
    """A disc with a ragged edge."""
    size = picture.shape[:2]
    rows, columns = grid(size)
    y, x = _place(defect.draws, surface)
    stretch = defect.draws.uniform(0.75, 1.3)
    dy, dx = (rows - y) * stretch, (columns - x) / stretch
    ragged = smooth_noise(defect.draws, size, (radius * 0.7, radius * 0.7)) * radius * 0.3
    return coverage(np.sqrt(dy * dy + dx * dx) - radius + ragged, softness=2.0) * surface


def _place(draws: Draws, surface: Field) -> tuple[float, float]:
    """A random pixel of the surface, away from its edge where it is large enough."""
    inner = surface > 0.99
    for _ in range(8):
        shrunk = inner.copy()
        shrunk[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        shrunk[[0, -1], :] = False
        shrunk[:, [0, -1]] = False
        if not shrunk.any():
            break
        inner = shrunk
    spots = np.argwhere(inner)
    row, column = spots[draws.integer(len(spots))]
    return float(row) + 0.5, float(column) + 0.5


_PAINTERS = {"scratch": _scratch, "stain": _stain, "colour_shift": _colour_shift}
