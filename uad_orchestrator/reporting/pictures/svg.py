"""A chart as SVG that stands inside a page: axes, lines, bars and a legend in the page's own colours and letters.

Written directly, in a hundredth of the time that matplotlib takes: a report has some four charts per cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

INK, SOFT, GRID = "var(--ink, #1a1f2b)", "var(--soft, #5d6675)", "var(--line, #d9dee6)"
PRIMARY, SECONDARY, NEUTRAL = (
    "var(--series-1, #0072b2)",
    "var(--series-2, #d55e00)",
    "var(--series-3, #5d6675)",
)
DASHED, DOTTED = "4 3", "1 2"
WIDTH, HEIGHT = 340, 280
LEFT, RIGHT, BOTTOM = 51, 330, 232
TOP_BELOW_LEGEND, TOP = 45, 11
LETTERS = 12
PER_LETTER = 6.3
"""How wide a letter is at most, on average: text is not measured."""


@dataclass(frozen=True)
class Scale:
    """Where values lie along an axis.

    Attributes:
        label: what the axis is called.
        low, high: its ends.
        ticks: the values that are written at it.
        place: values -> where they lie between the ends, 0 to 1; None: evenly.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    place: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, values: Iterable[float]) -> np.ndarray:
        """Where values lie, as a share of the axis."""
        given = np.asarray(list(values), np.float64)
        return self.place(given) if self.place else (given - self.low) / (self.high - self.low)


def ticks_between(low: float, high: float, most: int = 5, *, whole: bool = False) -> list[float]:
    """Round values between two ends, evenly spread.

    >>> ticks_between(0, 1), ticks_between(3.2, 11.9, 4), ticks_between(0, 2, whole=True)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [5.0, 10.0], [0.0, 1.0, 2.0])
    """
    least = (high - low) / most
    if not (least > 0 and math.isfinite(least)):
        return [low]
    size = 10.0 ** math.floor(math.log10(least))
    step = next(size * by for by in (1, 2, 5, 10) if size * by >= least * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) + 0.0 if step > 1e-6 else n * step for n in range(first, last + 1)]


@dataclass
class Chart:
    """What is drawn between two axes.

    Attributes:
        name: unique on the page; the id of its clip path is made from it.
        x, y: the axes.
        top: where the frame begins; above it there is place for the legend.
    """

    name: str
    x: Scale
    y: Scale
    top: float = TOP_BELOW_LEGEND
    _inside: list[str] = field(default_factory=list)
    _beside: list[str] = field(default_factory=list)
    _legend: list[tuple[str, str]] = field(default_factory=list)

    def line(
        self,
        x: Iterable[float],
        y: Iterable[float],
        colour: str,
        *,
        dash: str | None = None,
        width: float = 1.5,
        label: str | None = None,
    ) -> None:
        """A line through points."""
        style = f'stroke="{colour}" stroke-width="{width}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        self._inside.append(f'<path d="{self._path(x, y)}" fill="none" {style}/>')
        if label is not None:
            self._legend.append((label, f'<path d="M0 -4h20" {style}/>'))

    def vertical(self, x: float, colour: str, *, dash: str | None = None, label: str | None = None) -> None:
        """A line from bottom to top."""
        self.line([x, x], [self.y.low, self.y.high], colour, dash=dash, width=1.2, label=label)

    def area(self, x: Sequence[float], y: Sequence[float], colour: str) -> None:
        """What lies below a line."""
        closed = self._path([*x, x[-1], x[0]], [*y, self.y.low, self.y.low])
        self._inside.append(f'<path d="{closed}Z" fill="{colour}" fill-opacity=".15"/>')

    def bars(self, edges: np.ndarray, heights: np.ndarray, colour: str, *, label: str) -> None:
        """A bar per bin, those of no height left out."""
        filled = [i for i, height in enumerate(heights) if height]
        left, right = (self._across(edges[[i + by for i in filled]]) for by in (0, 1))
        tops, floor = self._down(heights[filled]), float(self._down([0])[0])
        drawn = "".join(
            f"M{_short(a)} {_short(floor)}V{_short(top)}H{_short(b)}V{_short(floor)}Z"
            for a, b, top in zip(left, right, tops, strict=True)
        )
        style = f'fill="{colour}" fill-opacity=".55"'
        self._inside.append(f'<path d="{drawn}" {style}/>')
        self._legend.append((label, f'<path d="M0 -8h20v8h-20z" {style}/>'))

    def steps(self, edges: np.ndarray, heights: np.ndarray, colour: str, *, label: str) -> None:
        """The outline of bars."""
        self.line(
            np.repeat(edges, 2), [0, *np.repeat(heights, 2), 0], colour, width=1.2, label=label
        )  # up and down at each edge

    def dot(self, x: float, y: float, label: str) -> None:
        """A point that may lie on the frame."""
        across, down = _short(self._across([x])[0]), _short(self._down([y])[0])
        self._beside.append(f'<circle cx="{across}" cy="{down}" r="4" fill="{INK}"/>')
        self._legend.append((label, f'<circle cx="10" cy="-4" r="4" fill="{INK}"/>'))

    def text(
        self, across: float, down: float, text: str, colour: str = INK, *, anchor: str = "start"
    ) -> None:
        """Words at a place given as shares of the frame, from its left and from its bottom."""
        x, y = LEFT + across * (RIGHT - LEFT), BOTTOM - down * (BOTTOM - self.top)
        self._beside.append(_text(x, y, text, colour, anchor))

    def svg(self, alt_text: str) -> str:
        """The ``<svg>`` element; ``alt_text`` is what a screen reader reads in its place."""
        clip = f"{re.sub(r'[^A-Za-z0-9]+', '-', self.name)}-frame"
        frame = f'x="{LEFT}" y="{self.top}" width="{RIGHT - LEFT}" height="{BOTTOM - self.top}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(alt_text)}" font-family="inherit" font-size="{LETTERS}">',
            f'<clipPath id="{clip}"><rect {frame}/></clipPath>',
            *self._axes(),
            f'<g clip-path="url(#{clip})">{"".join(self._inside)}</g>',
            *self._beside,
            *self._legend_rows(),
            "</svg>",
        ]
        return "".join(parts)

    def _axes(self) -> Iterable[str]:
        for tick, at in zip(self.x.ticks, self._across(self.x.ticks), strict=True):
            yield f'<path d="M{_short(at)} {self.top}V{BOTTOM}" stroke="{GRID}" stroke-width=".6"/>'
            yield _text(at, BOTTOM + 15, f"{tick:g}", SOFT, "middle")
        for tick, at in zip(self.y.ticks, self._down(self.y.ticks), strict=True):
            yield f'<path d="M{LEFT} {_short(at)}H{RIGHT}" stroke="{GRID}" stroke-width=".6"/>'
            yield _text(LEFT - 5, at + 4, f"{tick:g}", SOFT, "end")
        yield f'<path d="M{LEFT} {self.top}V{BOTTOM}H{RIGHT}" fill="none" stroke="{SOFT}" stroke-width=".8"/>'
        yield _text((LEFT + RIGHT) / 2, HEIGHT - 12, self.x.label, INK, "middle")
        middle = (self.top + BOTTOM) / 2
        turned = _text(0, 0, self.y.label, INK, "middle")
        yield f'<g transform="translate(13 {_short(middle)}) rotate(-90)">{turned}</g>'

    def _legend_rows(self) -> Iterable[str]:
        """From the left, a second row where the first is full."""
        across, down = 2.0, 13.0
        for label, sign in self._legend:
            width = 26 + PER_LETTER * len(label) + 10
            if across > 2 and across + width > WIDTH + 10:
                across, down = 2.0, down + 16
            place = f'transform="translate({_short(across)} {_short(down)})"'
            yield f"<g {place}>{sign}{_text(25, 0, label, INK, 'start')}</g>"
            across += width

    def _path(self, x: Iterable[float], y: Iterable[float]) -> str:
        places = zip(self._across(x).tolist(), self._down(y).tolist(), strict=True)
        return "M" + "L".join(f"{a:.5g} {d:.5g}" for a, d in places)

    def _across(self, x: Iterable[float]) -> np.ndarray:
        return LEFT + self.x(x) * (RIGHT - LEFT)

    def _down(self, y: Iterable[float]) -> np.ndarray:
        return BOTTOM - self.y(y) * (BOTTOM - self.top)


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    at = f'x="{_short(x)}" y="{_short(y)}"' + ("" if anchor == "start" else f' text-anchor="{anchor}"')
    return f'<text {at} fill="{colour}">{escape(text)}</text>'


def _short(value: float) -> str:
    """A coordinate to a hundredth of a unit; finer ones only make the page heavy."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
