"""A recalibration: new normals are taken in, their cells are refreshed, and what moved is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.orchestration.cells.board import report_of
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.checks.threshold_steady import judge_threshold, relative_shift
from uad_orchestrator.orchestration.ingestion.folders import (
    SETTLED_SECONDS,
    incoming_categories,
    incoming_images,
    list_quarantined,
    strays,
)
from uad_orchestrator.orchestration.ingestion.ingest import IngestionResult, ingest_category, ingestion_lock
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import InputUnavailable
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project
from uad_orchestrator.storage.atomic import write_text

if TYPE_CHECKING:
    from uad_orchestrator.orchestration.execution.refresh import RefreshResult

RECORDS = "recalibrations"

Log = Callable[[str], None]


@dataclass(frozen=True)
class CalibrationFigures:
    """A cell's operating point: what a recalibration may move. None where the cell has no current report.

    Attributes:
        threshold: of the image score.
        bank_rows: size of the memory bank.
        false_positive_rate: of the threshold on the normal test images.
        n_train: normals it was fitted on.
    """

    threshold: float | None
    bank_rows: int | None
    false_positive_rate: float | None
    n_train: int | None


@dataclass(frozen=True)
class CellShift:
    """A cell before and after."""

    detector: str
    before: CalibrationFigures
    after: CalibrationFigures

    @property
    def threshold_shift(self) -> float | None:
        """By which share of its earlier value the threshold moved; None where one of the two is missing."""
        if self.before.threshold is None or self.after.threshold is None:
            return None
        return relative_shift(self.before.threshold, self.after.threshold)

    def to_json(self) -> dict[str, Any]:
        """Both, and the shift."""
        return asdict(self) | {"threshold_shift": self.threshold_shift}


@dataclass
class Recalibration:
    """What a recalibration did.

    Attributes:
        started_at: ISO 8601.
        ingested: of each category that had new images.
        shifts: of each category that was refreshed, its cells.
        failed: cells that could not be refreshed, with the reason.
        faults: folders and files that could not be read, in words.
        warnings: cells whose threshold moved further than expected, in words.
        checks: of the cells that were refreshed the results of ``threshold_steady``, to be recorded.
    """

    started_at: str
    ingested: list[IngestionResult] = field(default_factory=list)
    shifts: dict[str, list[CellShift]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    checks: list[dg.AssetCheckEvaluation] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """How many images were taken in."""
        return sum(len(ingested.taken) for ingested in self.ingested)

    @property
    def held(self) -> int:
        """How many were put in quarantine."""
        return sum(len(ingested.held) for ingested in self.ingested)

    def to_json(self) -> dict[str, Any]:
        """The record below ``<local>/recalibrations``."""
        return {
            "started_at": self.started_at,
            "intakes": [ingested.to_json() for ingested in self.ingested],
            "cells": {name: [cell.to_json() for cell in cells] for name, cells in self.shifts.items()},
            "failed": self.failed,
            "faults": self.faults,
            "warnings": self.warnings,
        }


def recalibrate(
    project: Project,
    instance: dg.DagsterInstance,
    embedders: EmbedderPool,
    *,
    settled_seconds: float = SETTLED_SECONDS,
    log: Log = lambda text: None,
) -> Recalibration:
    """Take in the new normals, refresh the categories that got new normals, and say what moved.

    Categories are brought up to date before their images are scored: an image is compared with scores of the
    detectors as they are set now. One that cannot be read is reported, and the others go on.

    Args:
        project: as its file says now.
        instance: where the cells' runs are recorded.
        embedders: for scoring.
        settled_seconds: files that changed more recently are left for the next time.
        log: is called with each line of what happens.
    """
    result = Recalibration(datetime.now(UTC).isoformat(timespec="seconds"))
    with ingestion_lock(project):
        waiting, faults = categories_with_incoming(project)
        result.faults += faults
        for category in waiting:
            result.faults += _failures(_refresh(project, instance, category))
            before = calibrations(project, category)
            ingested = _ingest(project, embedders, category, settled_seconds, result)
            if ingested is None:
                continue
            log(f"{category}: {_in_words(ingested)}; {in_quarantine(project, [category])} in quarantine now")
            if ingested.taken:
                result.failed += _failures(_refresh(project, instance, category))
                after = calibrations(project, category)
                result.shifts[category] = [CellShift(name, before[name], after[name]) for name in before]
                result.checks += (judged := _judge_thresholds(project, category))
                result.warnings += [_moved(check) for check in judged if not check.passed]
    for text in (*result.faults, *result.warnings):
        log(text)
    return result


def categories_with_incoming(project: Project) -> tuple[list[str], list[str]]:
    """The categories with files in their incoming folders, and what could not be read, in words; names only."""
    waiting, faults = [], []
    by_dataset: dict[str, list[str]] = {}
    for category in incoming_categories(project):
        dataset, name = category.split("/", 1)
        by_dataset.setdefault(dataset, []).append(name)
        try:
            if incoming_images(project.datasets[dataset], name):
                waiting.append(category)
        except (DatasetError, OSError) as error:
            faults.append(f"{dataset}: {error}")
    for dataset, names in by_dataset.items():
        try:
            faults += strays(project.datasets[dataset], names)
        except (DatasetError, OSError):
            continue  # said above
    return waiting, list(dict.fromkeys(faults))


def in_quarantine(project: Project, categories: Sequence[str]) -> int:
    """How many images of categories wait in quarantine for a person, those of earlier recalibrations among them."""
    parts = (category.split("/", 1) for category in categories)
    return sum(len(list_quarantined(project.datasets[dataset], name)) for dataset, name in parts)


def calibrations(project: Project, category: str) -> dict[str, CalibrationFigures]:
    """The calibration of each of a category's cells, as the current reports have it."""
    state, store = open_state(project), open_store(project)
    found = {}
    for name in project.detectors:
        report = report_of(Cell(category, name), state, store)
        point = report.image_operating_point if report else None
        found[name] = CalibrationFigures(
            threshold=point.threshold if point else None,
            bank_rows=report.bank.rows if report else None,
            false_positive_rate=point.false_positive_rate if point else None,
            n_train=report.counts.n_train if report else None,
        )
    return found


def write_record(project: Project, result: Recalibration, run_id: str) -> Path:
    """Keep what a recalibration did as ``<local>/recalibrations/<time>-<run>.json``."""
    folder = Path(project.storage.local) / RECORDS
    stamp = result.started_at.replace(":", "").replace("-", "").split("+")[0]
    path = folder / f"{stamp}-{run_id[:8]}.json"
    write_text(path, json.dumps({"run_id": run_id} | result.to_json(), indent=1))
    return path


def shift_rows(shifts: Mapping[str, Sequence[CellShift]]) -> list[dict[str, Any]]:
    """A row per cell for Dagster's tables: threshold, bank rows and false-positive rate before and after."""
    return [
        {"category": category, "detector": cell.detector}
        | {
            f"{name}_{when}": getattr(calibration, name)
            for name in ("threshold", "bank_rows", "false_positive_rate")
            for when, calibration in (("before", cell.before), ("after", cell.after))
        }
        for category, cells in shifts.items()
        for cell in cells
    ]


def _in_words(ingested: IngestionResult) -> str:
    waiting = f", {len(ingested.waiting)} left for the next time: just written" if ingested.waiting else ""
    return f"{len(ingested.taken)} taken in, {len(ingested.held)} put in quarantine{waiting}"


def _ingest(
    project: Project, embedders: EmbedderPool, category: str, settled_seconds: float, result: Recalibration
) -> IngestionResult | None:
    state = open_state(project)
    try:
        ingested = ingest_category(
            state, open_store(project), embedders, category, settled_seconds=settled_seconds
        )
    except (DatasetError, InputUnavailable, OSError) as error:
        result.faults.append(f"{category}: {error}")
        return None
    result.ingested.append(ingested)
    result.faults += ingested.faults
    return ingested


def _refresh(project: Project, instance: dg.DagsterInstance, category: str) -> RefreshResult:
    from uad_orchestrator.orchestration.execution.refresh import (
        refresh,  # it builds the code location this is part of
    )

    return refresh(
        project, instance, selection=Selection(categories=(category,)), workers=project.runtime.workers
    )


def _judge_thresholds(project: Project, category: str) -> list[dg.AssetCheckEvaluation]:
    """Whether the thresholds of a category's cells moved no further than is expected."""
    state, store = open_state(project), open_store(project)
    runs = [CellRun(Cell(category, name), state, store) for name in project.detectors]
    return [judge_threshold(run) for run in runs if store.exists(run.key("score_table"))]


def _moved(check: dg.AssetCheckEvaluation) -> str:
    cell = Cell.from_key(str(check.partition))
    return f"{cell.category} x {cell.detector}: {check.description}"


def _failures(refreshed: RefreshResult) -> list[str]:
    return [f"{node.asset} of {node.category} x {node.detector}: {node.error}" for node in refreshed.failed]
