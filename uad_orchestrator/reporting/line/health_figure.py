"""The days of a cell on the line: alarms against the promise, drift against the normals, seconds."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from uad_orchestrator.inference.records.health import LOOKS, LineHealth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (9.0, 2.7)
"""Inches, width and height."""


INK, SOFT, GRID = "#1a1f2b", "#5d6675", "#d9dee6"
PRIMARY, SECONDARY = "#0072b2", "#d55e00"


def line_section(days: Sequence[LineHealth], distance: float) -> str:
    """The days of a cell as HTML to stand in the report: the picture, with words for those who do not see it.

    Args:
        days: of one cell, in order; at least one.
        distance: of ``line.drift``, from which on it is one.
    """
    last = days[-1]
    rejected = f", {last.shares['rejected'].share:.1%} rejected" if "rejected" in last.shares else ""
    said = f"The line, {days[0].day} to {last.day}; on the last day {last.parts} parts{rejected}"
    picture = base64.b64encode(line_picture(days, distance)).decode()
    return (
        f'<figure><img src="data:image/png;base64,{picture}" alt="{escape(said)}" style="max-width: 100%">'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def line_picture(days: Sequence[LineHealth], distance: float) -> bytes:
    """The days of a cell as a PNG.

    Args:
        days: as above.
        distance: likewise.
    """
    figure = _figure(days, distance)
    figure.suptitle(f"{days[-1].cell}, {days[-1].day}", fontsize=9, color=INK)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
    return drawn.getvalue()


def _figure(days: Sequence[LineHealth], distance: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    alarms, drift, seconds = figure.subplots(1, 3)

    def draw(axes: Axes, label: str, value: Callable[[LineHealth], float | None], **style: object) -> None:
        values = [math.nan if (found := value(day)) is None else found for day in days]
        if not all(map(math.isnan, values)):
            axes.plot(range(len(days)), values, label=label, linewidth=1.3, markersize=3, **style)  # type: ignore[arg-type]

    solid, dashed = {"marker": "o"}, {"linestyle": "--"}
    draw(alarms, "rejected", _share("rejected", "share"), color=PRIMARY, **solid)
    draw(alarms, "promised", _share("rejected", "promised"), color=PRIMARY, **dashed)
    draw(alarms, "in review", _share("in_review", "share"), color=SECONDARY, **solid)
    draw(drift, "score", lambda day: _distance(day, ("score",)), color=PRIMARY, **solid)
    draw(drift, "look", lambda day: _distance(day, LOOKS), color=SECONDARY, **solid)
    drift.axhline(distance, color=SOFT, linewidth=1, linestyle=":", label="said from here")
    draw(seconds, "half", lambda day: day.seconds.get("p50"), color=PRIMARY, **solid)
    draw(seconds, "95 %", lambda day: day.seconds.get("p95"), color=SECONDARY, **solid)
    titles = ("share of parts", "distance from the normals, in spreads", "seconds a part")
    for axes, title in zip((alarms, drift, seconds), titles, strict=True):
        _dress(axes, title, [day.day for day in days])
    return figure


def _share(name: str, figure: str) -> Callable[[LineHealth], float | None]:
    return lambda day: getattr(day.shares[name], figure) if name in day.shares else None


def _distance(day: LineHealth, names: Sequence[str]) -> float | None:
    """The largest of some quantities."""
    return max((day.shifts[name].wasserstein for name in names if name in day.shifts), default=None)


def _dress(axes: Axes, title: str, days: Sequence[str]) -> None:
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=7, length=3)
    axes.set_ylim(bottom=0)
    step = max(1, math.ceil(len(days) / 4))
    places = list(range(0, len(days), step))
    axes.set_xticks(places, [days[place][5:] for place in places])
    axes.set_xlim(-0.5, len(days) - 0.5)
    if axes.lines:
        axes.legend(frameon=False, labelcolor=INK, fontsize=7)
