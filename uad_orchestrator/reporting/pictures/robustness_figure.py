"""The picture by which a preset is chosen: metrics over the levels of each camera drift, detectors side by side."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from uad_orchestrator.metrics.catalogue import find
from uad_orchestrator.preprocessing.drift import LEVELS
from uad_orchestrator.reporting.board.columns import column
from uad_orchestrator.reporting.robustness_table import RobustnessRow, Series, series_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can distinguish."""
MARKERS = "osD^vPX"
PANEL = (2.1, 1.6)
"""Inches, width and height."""


def robustness_figure(rows: Sequence[RobustnessRow]) -> bytes:
    """A PNG: a row of panels per metric, a column per drift, a line per detector.

    Raises:
        ValueError: no rows with a drift.
    """
    from matplotlib.figure import Figure

    found = series_of(rows)
    if not found:
        raise ValueError("there is no drift to draw: nothing was measured")
    metrics = list(dict.fromkeys(series.metric for series in found))
    drifts = list(dict.fromkeys(series.drift for series in found))
    legend_lines = math.ceil(len({s.label for s in found}) / 3)
    width, height = 0.6 + PANEL[0] * len(drifts), 0.7 + PANEL[1] * len(metrics) + 0.25 * legend_lines
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(metrics), len(drifts), sharex=True, sharey="row", squeeze=False)
    for panel_row, metric in zip(panels, metrics, strict=True):
        for axes, drift in zip(panel_row, drifts, strict=True):
            _draw(axes, [s for s in found if (s.metric, s.drift) == (metric, drift)])
        panel_row[0].set_ylabel(column(metric).heading, fontsize=8)
        panel_row[0].set_ylim(*_limits(metric, [s for s in found if s.metric == metric]))
    for axes, drift in zip(panels[0], drifts, strict=True):
        axes.set_title(drift.replace("_", " "), fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("level of drift", fontsize=8)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130, metadata={"Software": None})
    return drawn.getvalue()


def _draw(axes: Axes, lines: Sequence[Series]) -> None:
    for i, line in enumerate(lines):
        axes.plot(
            range(LEVELS + 1),
            line.values,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=3,
            linewidth=1.2,
            label=line.label,
        )
    axes.set_xticks(range(LEVELS + 1))
    axes.tick_params(labelsize=7)
    axes.grid(color="#d9dee6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _limits(metric: str, lines: Sequence[Series]) -> tuple[float, float]:
    """Rates from 0 to 1; the others from just below the lowest, so that small losses are seen."""
    values = [value for line in lines for value in line.values if not math.isnan(value)]
    row = find(metric)
    is_rate = row is not None and row.scope == "operating point"
    lowest = 0.0 if is_rate or not values else max(0.0, min(values) - 0.03)
    return min(lowest, 0.9) - 0.02, 1.02
