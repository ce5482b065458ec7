"""What camera drift does to detectors: the rows of the robustness benchmark, and its table."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uad_orchestrator.preprocessing.drift import LEVELS
from uad_orchestrator.reporting.board.columns import column, written


@dataclass(frozen=True)
class RobustnessRow:
    """One detector on one category under one drift.

    Attributes:
        category: ``dataset/category``.
        detector: as the project file calls it.
        preset: the detector's, likewise.
        drift: what drifts; None: nothing, the test images as they are.
        level: 0 without drift, else 1 to 5.
        metrics: image_auroc, pixel_auroc, aupro_<limit> or spro_<limit>, and what the calibrated threshold
            does; None where undefined.
    """

    category: str
    detector: str
    preset: str
    drift: str | None
    level: int
    metrics: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values.

        Returns:
            The fields by name, flat: ``metrics`` stand beside the others.
        """
        named = ("category", "detector", "preset", "drift", "level")
        return {name: getattr(self, name) for name in named} | self.metrics


@dataclass(frozen=True)
class Series:
    """A detector's figure over the levels of one drift, a mean over the categories; NaN where undefined."""

    detector: str
    preset: str
    drift: str
    metric: str
    values: tuple[float, ...]

    @property
    def label(self) -> str:
        """Detector and preset, as tables and figures write them."""
        return f"{self.detector} ({self.preset})"


def series_of(rows: Sequence[RobustnessRow]) -> list[Series]:
    """All rows as series over levels 0 to 5: by metric, then drift, then detector."""
    detectors = {row.detector: row.preset for row in rows}
    drifts = dict.fromkeys(row.drift for row in rows if row.drift is not None)
    metrics = dict.fromkeys(name for row in rows for name in row.metrics)
    return [
        Series(
            detector,
            preset,
            drift,
            metric,
            tuple(
                _mean(rows, detector, drift if level else None, level, metric) for level in range(LEVELS + 1)
            ),
        )
        for metric in metrics
        for drift in drifts
        for detector, preset in detectors.items()
    ]


def robustness_table(rows: Sequence[RobustnessRow], width: int) -> str:
    """A table per metric, a line per drift and detector, a column per level.

    Args:
        rows: those of all cells and drifts; a figure is the mean over the categories.
        width: characters per line.

    Returns:
        Plain text.
    """
    from rich.console import Console
    from rich.table import Table

    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None)
    found = series_of(rows)
    for metric in dict.fromkeys(series.metric for series in found):
        table = Table(title=f"\n{column(metric).heading}", title_justify="left", pad_edge=False, box=None)
        for name in ("drift", "detector (preset)"):
            table.add_column(name, overflow="fold")
        for level in range(LEVELS + 1):
            table.add_column("none" if level == 0 else f"level {level}", justify="right")
        for series in (series for series in found if series.metric == metric):
            figures = [written(_finite(value), column(metric).kind) for value in series.values]
            table.add_row(series.drift, series.label, *figures)
        console.print(table)
    return text.getvalue()


def _mean(rows: Iterable[RobustnessRow], detector: str, drift: str | None, level: int, metric: str) -> float:
    values = [
        row.metrics.get(metric)
        for row in rows
        if (row.detector, row.drift, row.level) == (detector, drift, level)
    ]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else value
