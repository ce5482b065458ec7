"""The partitions of the line's assets: a cell, ``dataset/category:detector``, on a day of UTC.

Dagster takes two dimensions, and no ``|`` in their keys: so category and detector share one.
"""

from __future__ import annotations

from datetime import date

import dagster as dg

from uad_orchestrator.inference.records.record_files import recorded_days, today
from uad_orchestrator.orchestration.versions.graph import SEPARATOR, Cell
from uad_orchestrator.project import Project

CELL, DAY = "cell", "day"

EARLIEST = "2000-01-01"
"""Days before it are those of a clock without a battery, and would make partitions of decades."""
DAYS_LOOKED_AT = 10
"""Of each cell the first, for one that is not of such a clock."""
_COLON = ":"


def line_partitions(project: Project) -> dg.MultiPartitionsDefinition:
    """Every cell of the project on every day, today among them. Days are listed, no record is read."""
    cells = dg.StaticPartitionsDefinition(
        [cell_name(Cell(category, detector)) for category, detector in project.cells()]
    )
    days = dg.DailyPartitionsDefinition(start_date=first_day(project), timezone="UTC", end_offset=1)
    return dg.MultiPartitionsDefinition({CELL: cells, DAY: days})


def first_day(project: Project) -> str:
    """``line.start``, else the first day that has records, else today: also where the records cannot be reached now.

    The benchmark's assets are loaded together with those of the line, and must not fail with a share that is away; the
    sensor says that it is.
    """
    if project.line.start is not None:
        return project.line.start.isoformat()
    folder = project.line.records
    try:
        found = (
            day for cell in project.cells() if folder for day in recorded_days(folder, *cell)[:DAYS_LOOKED_AT]
        )
        first = [day for day in found if day >= EARLIEST]
    except OSError:
        return today()
    return min([*first, today()])


def cell_name(cell: Cell) -> str:
    """A cell in the dimension ``cell``.

    >>> cell_name(Cell("line7/housing", "patchcore"))
    'line7/housing:patchcore'
    """
    return f"{cell.category}{_COLON}{cell.detector}"


def day_key(cell: Cell, day: str) -> dg.MultiPartitionKey:
    """The partition key of a cell on a day."""
    return dg.MultiPartitionKey({CELL: cell_name(cell), DAY: day})


def cell_and_day(key: str) -> tuple[Cell, str]:
    """What a partition key stands for.

    Args:
        key: as Dagster writes it.

    Raises:
        ValueError: it is none of a cell on a day.

    >>> cell_and_day("line7/housing:patchcore|2026-11-26")
    (Cell(category='line7/housing', detector='patchcore'), '2026-11-26')
    """
    name, _, day = key.partition(SEPARATOR)
    category, colon, detector = name.partition(_COLON)
    if not (colon and "/" in category and detector):
        raise ValueError(f"partition key {key!r}: expected dataset/category{_COLON}detector|day")
    return Cell(category, detector), date.fromisoformat(day).isoformat()
