"""What sensors ask Dagster for: runs of cells, each under its own key, none of a cell that is at work."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from uad_orchestrator.orchestration.events import asset_key
from uad_orchestrator.orchestration.graph import SEPARATOR, Cell
from uad_orchestrator.orchestration.resources import PARTITION_TAG
from uad_orchestrator.project import Project

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

AssetJob: TypeAlias = "UnresolvedAssetJobDefinition"
"""What ``define_asset_job`` gives; Dagster does not export its name."""

UNFINISHED = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
LOST_AFTER = 3600.0
"""Seconds after which a run that was made, but neither queued nor started, counts as lost."""


@dataclass(frozen=True)
class CellAtWork:
    """A cell with a run that is queued or running; ``started`` is None while none of its runs has started."""

    started: float | None


def runs_at_work(instance: dg.DagsterInstance, job: str | None = None) -> list[RunRecord]:
    """The runs that are queued or running, of one job if it is named; without those that got lost."""
    records = instance.get_run_records(RunsFilter(job_name=job, statuses=list(UNFINISHED)))
    return [record for record in records if not _is_lost(record)]


def _is_lost(record: RunRecord) -> bool:
    """Made, and then forgotten: whoever made it died before it was queued."""
    made = record.create_timestamp.timestamp()
    never_queued = record.dagster_run.status is DagsterRunStatus.NOT_STARTED
    return never_queued and time.time() - made > LOST_AFTER


def cells_at_work(instance: dg.DagsterInstance) -> dict[str, CellAtWork]:
    """The cells, by partition key, that runs are queued or running for; of several runs the last start."""
    found: dict[str, CellAtWork] = {}
    for record in runs_at_work(instance):
        partition = record.dagster_run.tags.get(PARTITION_TAG, "")
        if SEPARATOR in partition:
            other = found.get(partition)
            waiting = record.start_time is None or (other is not None and other.started is None)
            latest = None if waiting else max(record.start_time or 0.0, (other and other.started) or 0.0)
            found[partition] = CellAtWork(latest)
    return found


def run_key(cell: Cell, version: str, attempt: int, order: Mapping[str, int]) -> str:
    """The key under which Dagster runs a request at most once.

    The number of the cell's latest memory bank in the event log is part of it: going back to an earlier
    version is a new request, since a later one was materialised in between.

    Args:
        version: of what the cell is to be run for.
        attempt: which try of this version.
        order: from ``recorded_order`` of ``memory_bank``.
    """
    return f"{cell.key}:{version[:16]}:{attempt}:{order.get(cell.key, 0)}"


def request_cell(
    project: Project, cell: Cell, key: str, sensor: str, assets: Sequence[str] | None = None
) -> dg.RunRequest:
    """A run of the job ``cell``; of all its assets unless some are named."""
    return dg.RunRequest(
        run_key=key,
        job_name="cell",
        partition_key=cell.key,
        asset_selection=None if assets is None else [asset_key(project, asset) for asset in assets],
        asset_check_keys=None if assets is None else [],  # a selection would bring the assets' checks along
        tags={"uad/category": cell.category, "uad/detector": cell.detector, "uad/asked_by": sensor},
    )


def loaded_cells(project: Project) -> frozenset[str]:
    """The partition keys of a project's cells: call it when the code location is loaded."""
    return frozenset(Cell(category, detector).key for category, detector in project.cells())


def only_loaded(cells: Collection[Cell], loaded: Collection[str]) -> tuple[list[Cell], str | None]:
    """The cells the code location knows, and a sentence about the others: it was loaded before they came."""
    known = [cell for cell in cells if cell.key in loaded]
    missing = len(cells) - len(known)
    if not missing:
        return known, None
    return known, f"{missing} cells are new in uad.yaml: press 'Reload definitions' in the UI to see them"


def tick_result(
    requests: Sequence[dg.RunRequest], cursor: str, notes: Sequence[str], nothing: str
) -> dg.SensorResult:
    """A tick's result; where nothing is asked for, the reason says what was out of reach."""
    if requests:
        return dg.SensorResult(run_requests=list(requests), cursor=cursor)
    return dg.SensorResult(skip_reason="; ".join(notes) or nothing, cursor=cursor)
