"""A cell's day of the line: its records read, its health taken and kept.

A health is a small JSON file, ``<local>/line/<dataset>/<category>/<detector>/<day>.json``. It can be lost: it is
taken again from the records.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from uad_orchestrator.inference.records.contents import content_digest, day_stamp
from uad_orchestrator.inference.records.health import (
    HEALTH_VERSION,
    CalibrationNormals,
    DayOfRecords,
    LineHealth,
    health_of,
)
from uad_orchestrator.inference.records.record_files import read_day
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.line_normals import calibration_normals
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project
from uad_orchestrator.storage.atomic import write_text
from uad_orchestrator.storage.digests import digest_of

FOLDER = "line"

DAYS_SHOWN = 30
"""In the report, and with an alert."""

LAST_DAY = "9999-12-31"


def day_of_records(project: Project, cell: Cell, day: str) -> DayOfRecords:
    """A cell's records of a day.

    Raises:
        ValueError: the project keeps no records.
    """
    if (folder := project.line.records) is None:
        raise ValueError("uad.yaml has no line.records: it says no more where records lie")
    # The stamp before the records: what comes in between is then seen as new at the next look.
    stamp = day_stamp(folder, cell.category, cell.detector, day)
    records = read_day(folder, cell.category, cell.detector, day)
    return DayOfRecords.of(cell.category, cell.detector, day, content_digest(records), stamp, records)


def take_health(run: CellRun, day: DayOfRecords) -> tuple[LineHealth, str]:
    """Compare a day with the normals of the model that judged it, and keep the result.

    Returns:
        The health and its data version: a digest of the records, of the normals, and of what is known of defects.
    """
    costs = run.state.project.costs
    defect_rate = 0.0 if costs is None else costs.defect_rate
    last = day.parts[-1] if day.parts else None
    normals = CalibrationNormals() if last is None else calibration_normals(run, last.threshold, last.model)
    health = health_of(day, normals, defect_rate)
    write_text(health_file(run.state.project, run.cell, day.day), health.model_dump_json())
    known = {name: getattr(normals, name) for name in ("scores", "looks", "largest_group", "missing")}
    return health, digest_of([HEALTH_VERSION, day.digest, known, defect_rate])


def health_file(project: Project, cell: Cell, day: str) -> Path:
    """Where the health of a day is kept."""
    return Path(project.storage.local) / FOLDER / cell.category / cell.detector / f"{day}.json"


def kept_health(project: Project, cell: Cell, day: str) -> LineHealth | None:
    """The health that was taken of a day; None where there is none, or one of another version."""
    try:
        found = LineHealth.model_validate_json(health_file(project, cell, day).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.version == HEALTH_VERSION else None


def kept_days(project: Project, cell: Cell, until: str = LAST_DAY) -> list[LineHealth]:
    """The last days of a cell whose health was taken, ``DAYS_SHOWN`` of them up to one, in order."""
    folder = health_file(project, cell, "any").parent
    days = sorted(day for path in folder.glob("*.json") if (day := path.stem) <= until)[-DAYS_SHOWN:]
    return [health for day in days if (health := kept_health(project, cell, day)) is not None]
