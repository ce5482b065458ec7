"""The days of a cell on the line: alarms against the promise, drift against the normals, seconds."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from uad_orchestrator.inference.records.health import LineHealth
from uad_orchestrator.inference.records.record import LOOKS
from uad_orchestrator.reporting.pictures.svg import DASHED, PRIMARY, SECONDARY, Chart, Scale, ticks_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (9.0, 2.7)
"""Inches, width and height."""

_INK, _SOFT, _GRID, _BLUE, _RED = "#1a1f2b", "#5d6675", "#d9dee6", "#0072b2", "#d55e00"
"""On paper; a page has colours of its own."""


class _Curve(NamedTuple):
    """What is drawn of each day."""

    label: str
    value: Callable[[LineHealth], float | None]
    colour: str
    dashed: bool = False


def line_figures(days: Sequence[LineHealth], name: str) -> list[tuple[str, str]]:
    """The days of a cell as ``<svg>`` elements to stand in the report, each with its title.

    Args:
        days: of one cell, in order; at least one.
        name: unique on the page.
    """
    last = days[-1]
    rejected = f", {last.shares['rejected'].share:.1%} rejected" if "rejected" in last.shares else ""
    told = f"{days[0].day} to {last.day}; on the last day {last.parts} parts{rejected}"
    return [
        (f"The line: {title}", _chart(days, f"{name}-line-{number}", title, curves).svg(f"{title}, {told}"))
        for number, (title, curves) in enumerate(_panels(PRIMARY, SECONDARY))
    ]


def _chart(days: Sequence[LineHealth], name: str, title: str, curves: Sequence[_Curve]) -> Chart:
    """A panel in the page's own colours; days are counted back from the last one."""
    last = date.fromisoformat(days[-1].day)
    back = [(date.fromisoformat(day.day) - last).days for day in days]
    first = min(back[0], -1)
    drawn = [(curve, _known(days, back, curve)) for curve in curves]
    top = 1.1 * max((value for _, points in drawn for _, value in points), default=1.0) or 1.0
    across = Scale(f"days before {last}", first - 0.5, 0.5, ticks_between(first, 0, 6, whole=True))
    chart = Chart(name, across, Scale(title, 0, top, ticks_between(0, top)))
    for curve, points in drawn:
        if len(points) == 1:  # a day alone, as a dash
            points = [(points[0][0] + by, points[0][1]) for by in (-0.3, 0.3)]  # noqa: PLW2901
        if points:
            x, y = zip(*points, strict=True)
            chart.line(x, y, curve.colour, dash=DASHED if curve.dashed else None, label=curve.label)
    return chart


def _known(days: Sequence[LineHealth], back: Sequence[int], curve: _Curve) -> list[tuple[float, float]]:
    found = ((place, curve.value(day)) for place, day in zip(back, days, strict=True))
    return [(place, value) for place, value in found if value is not None]


def _panels(primary: str, secondary: str) -> tuple[tuple[str, tuple[_Curve, ...]], ...]:
    """What is drawn beside each other, in these colours."""
    return (
        (
            "share of parts",
            (
                _Curve("rejected", _share("rejected", "share"), primary),
                _Curve("promised", _share("rejected", "promised"), primary, dashed=True),
                _Curve("in review", _share("in_review", "share"), secondary),
            ),
        ),
        (
            "distance from the normals, in spreads",
            (
                _Curve("score", lambda day: _distance(day, ("score",)), primary),
                _Curve("look", lambda day: _distance(day, LOOKS), secondary),
            ),
        ),
        (
            "seconds a part",
            (
                _Curve("half", lambda day: day.seconds.get("p50"), primary),
                _Curve("95 %", lambda day: day.seconds.get("p95"), secondary),
            ),
        ),
    )


def line_picture(days: Sequence[LineHealth], distance: float) -> bytes:
    """The same as a PNG, for an alert.

    Args:
        days: of one cell, in order; at least one.
        distance: of ``line.drift``, from which on it is one.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    figure.suptitle(f"{days[-1].cell}, {days[-1].day}", fontsize=9, color=_INK)
    panels = figure.subplots(1, 3)
    panels[1].axhline(distance, color=_SOFT, linewidth=1, linestyle=":", label="said from here")
    for axes, (title, curves) in zip(panels, _panels(_BLUE, _RED), strict=True):
        for curve in curves:
            _draw(axes, days, curve)
        _dress(axes, title, [day.day for day in days])
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
    return drawn.getvalue()


def _draw(axes: Axes, days: Sequence[LineHealth], curve: _Curve) -> None:
    points = _known(days, range(len(days)), curve)
    if points:
        x, y = zip(*points, strict=True)
        style = {"linestyle": "--"} if curve.dashed else {"marker": "o", "markersize": 3}
        axes.plot(x, y, label=curve.label, color=curve.colour, linewidth=1.3, **style)


def _share(name: str, figure: str) -> Callable[[LineHealth], float | None]:
    return lambda day: getattr(day.shares[name], figure) if name in day.shares else None


def _distance(day: LineHealth, names: Sequence[str]) -> float | None:
    """The largest of some quantities."""
    return max((day.shifts[name].wasserstein for name in names if name in day.shifts), default=None)


def _dress(axes: Axes, title: str, days: Sequence[str]) -> None:
    axes.patch.set_visible(False)
    axes.set_title(title, fontsize=9, color=_INK, loc="left")
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_SOFT)
    axes.tick_params(colors=_SOFT, labelsize=7, length=3)
    axes.set_ylim(bottom=0)
    step = max(1, math.ceil(len(days) / 4))
    places = list(range(0, len(days), step))
    axes.set_xticks(places, [days[place][5:] for place in places])
    axes.set_xlim(-0.5, len(days) - 0.5)
    if axes.lines:
        axes.legend(frameon=False, labelcolor=_INK, fontsize=7)
