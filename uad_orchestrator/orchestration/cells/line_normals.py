"""The calibration normals that a cell's parts on the line are compared with: those of the model that judged them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uad_orchestrator.datasets.checks.remembered import Remember
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.detectors.protocol.scoring import ScoreRow, read_scores
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.header import ImageError
from uad_orchestrator.images.look import look_at
from uad_orchestrator.inference.records.health import CalibrationNormals, look_values
from uad_orchestrator.inference.records.record import LOOKS
from uad_orchestrator.metrics.thresholds.operating_point import OPTIMISTIC, OperatingPoint
from uad_orchestrator.orchestration.cells.artifact_files import read_operating_point
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.kept_findings import kept_facts
from uad_orchestrator.orchestration.versions.state import InputUnavailable
from uad_orchestrator.storage.artifacts import ArtifactError
from uad_orchestrator.storage.digests import digest_of

_LOOK_VERSION = 1
"""Raised when the same image gets another look."""

_EVEN = 1e-9


def calibration_normals(
    run: CellRun, threshold: float | None, model: str | None = None
) -> CalibrationNormals:
    """The normals behind a threshold: of the cell's score tables the newest that it can be of.

    A recalibration changes scores and threshold; the line goes on with its bundle until it gets another. So what it
    is judged by is looked for among the score tables that the store has, by its threshold: the calibrated one of any
    of them; else that of another false-positive rate, which is the score of a normal, too, or the one that people
    pinned.

    Args:
        run: the cell.
        threshold: of the parts; None: they had none.
        model: digest of the state that judged them, where it is known: a threshold that is no calibrated one counts
            for a table of this very state alone.
    """
    found = _table_of(run, threshold, model)
    if found is None:
        why = (
            "there is no score table of this cell whose calibration gives the threshold that the parts were held to"
            f" ({threshold:.6g}): scores of another calibration cannot be compared"
            if threshold is not None
            else "this cell has no score table"
        )
        return CalibrationNormals(missing=dict.fromkeys(("score", "look", "alarms"), why))
    normals, point = found.normals, found.point
    missing = {} if normals else {"score": "no normals were left to calibrate on"}
    if point.origin == OPTIMISTIC or point.largest_group is None:
        missing["alarms"] = f"no rate is guaranteed: {point.unguaranteed}"
    looks, why = _looks(run, [row.image for row in normals])
    return CalibrationNormals(
        scores=tuple(row.score for row in normals if row.image not in point.left_aside),
        looks=looks,
        largest_group=point.largest_group,
        missing=missing | ({"look": why} if why else {}),
    )


class _Table(NamedTuple):
    """The normals of a score table, the threshold that was taken from them, and the version of the bank."""

    normals: list[ScoreRow]
    point: OperatingPoint
    memory_bank: str


def _score_tables(run: CellRun) -> Iterator[_Table]:
    """Those of the cell, the current one first, then from the newest on."""
    cell = run.cell
    history = run.store.history("score_table", cell.dataset, cell.category_name, cell.detector)
    try:
        current = run.state.version("score_table", cell)
        history.sort(key=lambda made: made.version != current)
    except InputUnavailable:
        pass
    for made in history:
        try:
            directory = run.store.open_dir(cell.artifact_key("score_table", made.version))
            normals = [row for row in read_scores(directory) if row.role == "calibration"]
            yield _Table(normals, read_operating_point(directory), made.inputs.get("memory_bank", ""))
        except (ArtifactError, OSError):
            continue


def _table_of(run: CellRun, threshold: float | None, model: str | None) -> _Table | None:
    """The newest table that was calibrated to this threshold, else the newest of the model that it may be of.

    In this order: a normal often has the very score after a recalibration that it had before, so that the threshold of
    the old table, which may be gone, is among the scores of the new one.
    """
    if threshold is None:
        return next(_score_tables(run), None)
    others = []
    for table in _score_tables(run):
        if _is_among([table.point.threshold], threshold):
            return table
        others.append(table)
    pin = run.state.project.pins(run.cell.category, run.cell.detector).image
    pinned = [] if pin is None or pin.threshold is None else [pin.threshold]
    like = (t for t in others if _is_among([*pinned, *(row.score for row in t.normals)], threshold))
    return next((table for table in like if model is None or _model(run, table) == model), None)


def _model(run: CellRun, table: _Table) -> str | None:
    """The digest of the state that a table was scored by, as records have it; None where that is gone."""
    try:
        return DetectorState.load(
            run.store.open_dir(run.cell.artifact_key("memory_bank", table.memory_bank))
        ).digest()
    except (ArtifactError, OSError):
        return None


def _is_among(known: Sequence[float], threshold: float) -> bool:
    return bool(np.isclose(np.array(known), threshold, rtol=_EVEN, atol=0).any())


def _looks(run: CellRun, names: list[str]) -> tuple[dict[str, tuple[float, ...]], str]:
    """The looks of normals by name, as far as the dataset has them; and why there are none, in words."""
    try:
        manifest = run.state.manifest(run.cell.category)
    except (DatasetError, InputUnavailable, OSError) as error:
        return {}, f"the normals cannot be looked at: {str(error).splitlines()[0]}"
    wanted = set(names)
    records = [record for record in (*manifest.train, *manifest.validation) if record.path in wanted]
    with kept_facts(Path(run.state.project.storage.local)) as remember:
        seen = [look for record in records if (look := _look(manifest, record, remember)) is not None]
    if names and not seen:
        return {}, "the normals that calibrate are not among the dataset's images any more, or cannot be read"
    columns = zip(*seen, strict=True)
    looks = {
        name: tuple(value for value in values if value is not None)
        for name, values in zip(LOOKS, columns, strict=False)
    }
    return looks, ""


def _look(manifest: Manifest, record: ImageRecord, remember: Remember) -> Sequence[float | None] | None:
    """The numbers that a record of the line has, too, in the order of ``LOOKS``; None where it cannot be read."""

    def find() -> list[float | None]:
        return look_values(look_at(manifest.source(record)))

    key = f"look-of-normal-{_LOOK_VERSION}-{digest_of(manifest.reading.to_json())[:12]}-{record.digest}"
    try:
        return remember(key, find)
    except (ImageError, OSError):
        return None
