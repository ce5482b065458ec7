"""The days of a cell on the line: alarms against the promise, drift against the normals, seconds."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from uad_orchestrator.inference.records.health import LOOKS, LineHealth
from uad_orchestrator.reporting.pictures.svg import (
    GRID,
    INK,
    NEUTRAL,
    PRIMARY,
    SECONDARY,
    SOFT,
    inline_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (9.0, 2.7)
"""Inches, width and height."""


class _Colours(NamedTuple):
    ink: str
    soft: str
    grid: str
    primary: str
    secondary: str
    neutral: str


_OF_THE_PAGE = _Colours(INK, SOFT, GRID, PRIMARY, SECONDARY, NEUTRAL)
_ON_PAPER = _Colours("#1a1f2b", "#5d6675", "#d9dee6", "#0072b2", "#d55e00", "#5d6675")


def line_section(days: Sequence[LineHealth], name: str) -> str:
    """The days of a cell as an ``<svg>`` to stand in the report.

    Args:
        days: of one cell, in order; at least one.
        name: unique on the page.
    """
    figure = _figure(days, _OF_THE_PAGE, distance=None)
    figure.patch.set_visible(False)
    last = days[-1]
    rejected = f", {last.shares['rejected'].share:.1%} rejected" if "rejected" in last.shares else ""
    return inline_svg(
        figure, name, f"The line, {days[0].day} to {last.day}; on the last day {last.parts} parts{rejected}"
    )


def line_picture(days: Sequence[LineHealth], distance: float) -> bytes:
    """The same as a PNG, for an alert.

    Args:
        days: as above.
        distance: of ``line.drift``, from which on it is one.
    """
    figure = _figure(days, _ON_PAPER, distance=distance)
    figure.suptitle(f"{days[-1].cell}, {days[-1].day}", fontsize=9, color=_ON_PAPER.ink)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
    return drawn.getvalue()


def _figure(days: Sequence[LineHealth], colours: _Colours, distance: float | None) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    alarms, drift, seconds = figure.subplots(1, 3)

    def draw(axes: Axes, label: str, value: Callable[[LineHealth], float | None], **style: object) -> None:
        values = [math.nan if (found := value(day)) is None else found for day in days]
        if not all(map(math.isnan, values)):
            axes.plot(range(len(days)), values, label=label, linewidth=1.3, markersize=3, **style)  # type: ignore[arg-type]

    solid, dashed = {"marker": "o"}, {"linestyle": "--"}
    draw(alarms, "rejected", _share("rejected", "share"), color=colours.primary, **solid)
    draw(alarms, "promised", _share("rejected", "promised"), color=colours.primary, **dashed)
    draw(alarms, "in review", _share("in_review", "share"), color=colours.secondary, **solid)
    draw(drift, "score", lambda day: _distance(day, ("score",)), color=colours.primary, **solid)
    draw(drift, "look", lambda day: _distance(day, LOOKS), color=colours.secondary, **solid)
    if distance is not None:
        drift.axhline(distance, color=colours.neutral, linewidth=1, linestyle=":", label="said from here")
    draw(seconds, "half", lambda day: day.seconds.get("p50"), color=colours.primary, **solid)
    draw(seconds, "95 %", lambda day: day.seconds.get("p95"), color=colours.secondary, **solid)
    titles = ("share of parts", "distance from the normals, in spreads", "seconds a part")
    for axes, title in zip((alarms, drift, seconds), titles, strict=True):
        _dress(axes, title, [day.day for day in days], colours)
    return figure


def _share(name: str, figure: str) -> Callable[[LineHealth], float | None]:
    return lambda day: getattr(day.shares[name], figure) if name in day.shares else None


def _distance(day: LineHealth, names: Sequence[str]) -> float | None:
    """The largest of some quantities."""
    return max((day.shifts[name].wasserstein for name in names if name in day.shifts), default=None)


def _dress(axes: Axes, title: str, days: Sequence[str], colours: _Colours) -> None:
    axes.patch.set_visible(False)
    axes.set_title(title, fontsize=9, color=colours.ink, loc="left")
    axes.grid(color=colours.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(colours.soft)
    axes.tick_params(colors=colours.soft, labelsize=7, length=3)
    axes.set_ylim(bottom=0)
    step = max(1, math.ceil(len(days) / 4))
    places = list(range(0, len(days), step))
    axes.set_xticks(places, [days[place][5:] for place in places])
    axes.set_xlim(-0.5, len(days) - 0.5)
    if axes.lines:
        axes.legend(frameon=False, labelcolor=colours.ink, fontsize=7)
