"""``uad threshold``: another threshold for a cell, what it would do to the test images, and its place in uad.yaml."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.metrics.thresholds import pinned_point
from uad_orchestrator.metrics.thresholds.costs import Costs, Outcome, cheapest_threshold
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint, Pin
from uad_orchestrator.orchestration.cells.artifact_files import OPERATING_POINT, read_operating_point
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.points_in_use import (
    calibration_maxima,
    calibration_scores,
    image_point,
    map_maxima,
    pixel_point,
    scores_digest,
)
from uad_orchestrator.project.pinning import Of


class ChoiceError(RuntimeError):
    """A threshold that cannot be chosen; says why, and what to do."""


@dataclass(frozen=True)
class Tested:
    """A labelled test image.

    Attributes:
        image: its name.
        label: 0 good, 1 defective.
        value: its image score; for the pixel threshold the largest value of its map.
    """

    image: str
    label: int
    value: float


@dataclass(frozen=True)
class Side:
    """A threshold, and what it does to the test images.

    Attributes:
        point: the threshold with its source.
        outcome: None where there is no threshold.
        costs: the project's.
    """

    point: OperatingPoint
    outcome: Outcome | None
    costs: Costs | None

    def to_json(self) -> dict[str, Any]:
        """Threshold, counts and rates with intervals; per 1,000 parts, and their cost, where costs are known."""
        values: dict[str, Any] = {"point": self.point.to_json(), "false_alarms": None, "misses": None}
        found = self.outcome
        if found is None:
            return values | {"expected_cost": None}
        per_thousand: tuple[float, float] | tuple[None, None] = (None, None)
        cost = None
        if self.costs is not None:
            per_thousand = found.per_thousand(self.costs.defect_rate)
            cost = _number(self.costs.expected(found.false_alarm_rate, found.miss_rate))
        parts = (
            (
                "false_alarms",
                found.false_alarms,
                found.normals,
                found.false_alarm_rate,
                found.false_alarm_interval,
            ),
            ("misses", found.misses, found.defects, found.miss_rate, found.miss_interval),
        )
        for (name, count, of, rate, interval), parts_of in zip(parts, per_thousand, strict=True):
            values[name] = {
                "count": count,
                "of": of,
                "rate": _number(rate),
                "interval": None if interval is None else list(interval),
                "per_1000_parts": _number(parts_of),
            }
        return values | {"expected_cost": cost}


@dataclass(frozen=True)
class Choice:
    """A threshold that was chosen for a cell.

    Attributes:
        pin: what goes into the project file; None: the calibrated threshold holds again.
        before: the threshold in use.
        after: the chosen one.
        changed: the test images on another side of it, each with whether it is above the chosen one.
    """

    pin: Pin | None
    before: Side
    after: Side
    changed: dict[str, bool]


def choose(
    run: CellRun,
    of: Of,
    *,
    value: float | None = None,
    fpr: float | None = None,
    cheapest: bool = False,
    on_test_labels: bool = False,
    by: str,
    at: date,
    why: str = "",
) -> Choice:
    """Choose a threshold: a value, by a false-positive rate, or the cheapest; none of the three: the calibrated one.

    Args:
        run: the cell; its scores, and for the pixel threshold its maps, are there.
        of: which threshold.
        value: the threshold itself.
        fpr: the false-positive rate that it is taken from the normals by.
        cheapest: that of the least expected cost by the project's ``costs``; it reads test labels.
        on_test_labels: a value or a rate was found by looking at what the test images are.
        by: who chooses.
        at: when.
        why: the reason.

    Returns:
        what was chosen; nothing is written.

    Raises:
        ChoiceError: the normals are too few for the rate; there are no costs, or not both kinds of test images.
        MissingUpstream: the cell is not computed.
    """
    costs, tested = run.state.project.costs, _tested(run, of)
    if cheapest:
        if costs is None:
            raise ChoiceError(
                "--cost needs what wrong decisions cost: add e.g. "
                "`costs: {false_alarm: 1, miss: 50, defect_rate: 0.002}` to uad.yaml"
            )
        value = _cheapest(tested, costs)
    calibrated, before = _points(run, of)
    pin, after = None, calibrated
    if value is not None or fpr is not None:
        of_value = None if fpr is None else "normals"
        chosen_on = "test labels" if cheapest or on_test_labels else of_value
        scores = None if value is None else _scores_digest(run, of)
        pin = Pin.model_validate(
            {
                "threshold": value,
                "fpr": fpr,
                "chosen_on": chosen_on,
                "scores": scores,
                "by": by,
                "at": at,
                "why": why,
            }
        )
        after = pinned_point(pin, calibrated, _normals(run, of) if fpr is not None else ())
        if after.reason:
            raise ChoiceError(f"{run.cell}: {after.reason.partition(f'; {pin}')[0]}")
    changed = {
        image.image: image.value > after.threshold
        for image in tested
        if not math.isnan(before.threshold)
        and (image.value > before.threshold) != (image.value > after.threshold)
    }
    return Choice(pin, _side(before, tested, costs), _side(after, tested, costs), changed)


def _tested(run: CellRun, of: Of) -> list[Tested]:
    rows = [row for row in read_scores(run.directory("score_table")) if row.role == "test"]
    if of == "image":
        return [Tested(row.image, row.label, row.score) for row in rows]
    maxima = map_maxima(run, rows)
    return [Tested(row.image, row.label, maxima[row.image]) for row in rows if row.image in maxima]


def _points(run: CellRun, of: Of) -> tuple[OperatingPoint, OperatingPoint]:
    """The calibrated threshold, and the one in use."""
    if of == "image":
        return read_operating_point(run.directory("score_table")), image_point(run)
    return read_operating_point(run.directory("anomaly_maps", OPERATING_POINT)), pixel_point(run)


def _scores_digest(run: CellRun, of: Of) -> str:
    reads = run.state.reads("score_table", run.cell) | run.state.reads("anomaly_maps", run.cell)
    return scores_digest(reads, of)


def _normals(run: CellRun, of: Of) -> list[float]:
    return calibration_scores(run) if of == "image" else calibration_maxima(run)


def _cheapest(tested: Sequence[Tested], costs: Costs) -> float:
    try:
        return cheapest_threshold([t.value for t in tested], [t.label for t in tested], costs)
    except ValueError as error:
        raise ChoiceError(f"--cost: {error}") from error


def _side(point: OperatingPoint, tested: Sequence[Tested], costs: Costs | None) -> Side:
    if math.isnan(point.threshold):
        return Side(point, None, costs)
    found = Outcome.of([t.value for t in tested], [t.label for t in tested], point.threshold)
    return Side(point, found, costs)


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
