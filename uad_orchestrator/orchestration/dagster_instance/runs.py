"""Runs that are queued or running, and the name of a job that Dagster does not export."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.group_tags import selected
from uad_orchestrator.orchestration.dagster_instance.names import CELLS, asset_key, name_in_dagster
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, SEPARATOR
from uad_orchestrator.orchestration.versions.groups import cell_groups
from uad_orchestrator.project import Project

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

AssetJob: TypeAlias = "UnresolvedAssetJobDefinition"
"""What ``define_asset_job`` gives; Dagster does not export its name."""

BACKFILL_TAG = "dagster/backfill"
DONE = "uad/cells_done"
"""Tag: a run of a group has computed its cells; what it does yet needs none of them."""

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


def cells_at_work(instance: dg.DagsterInstance, project: Project) -> dict[str, CellAtWork]:
    """The project's cells, by partition key, that runs are queued or running for; of several the last start."""
    records = runs_at_work(instance)
    cells_job = name_in_dagster(project, CELLS)
    groups = cell_groups(project) if any(r.dagster_run.job_name == cells_job for r in records) else {}
    found: dict[str, CellAtWork] = {}
    for record in records:
        run = record.dagster_run
        partition = run.tags.get(PARTITION_TAG, "")
        if run.job_name == cells_job:
            cells = groups.get(partition, ())
            keys = [cell.key for cell in cells if selected(cells, run).covers(cell)]
        else:
            keys = [partition] if SEPARATOR in partition and _is_of(project, run) else []
        for key in keys:
            other = found.get(key)
            waiting = record.start_time is None or (other is not None and other.started is None)
            latest = None if waiting else max(record.start_time or 0.0, (other and other.started) or 0.0)
            found[key] = CellAtWork(latest)
    return found


def is_last_of_backfill(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Note that a run has computed its cells; whether all others of its backfill have, too.

    Noted before it is looked: of two that end at once one at least sees the other. A run that is tried again after its
    backfill ended belongs to none any more, and is the last.
    """
    if BACKFILL_TAG not in run.tags:  # started again by hand
        return True
    instance.add_run_tags(run.run_id, {DONE: "true"})
    backfill = run.tags.get(BACKFILL_TAG)
    if backfill is None:
        return True
    others = instance.get_runs(RunsFilter(statuses=list(UNFINISHED), tags={BACKFILL_TAG: backfill}))
    return all(DONE in other.tags for other in others if other.run_id != run.run_id)


def _is_of(project: Project, run: dg.DagsterRun) -> bool:
    """Whether a run is one of this project's: another in the same instance may have cells of the same names."""
    if chosen := chosen_assets(run):
        return bool(chosen & {asset_key(project, asset) for asset in CELL_ASSETS})
    return run.job_name == name_in_dagster(project, "cell")


def chosen_assets(run: dg.DagsterRun) -> frozenset[dg.AssetKey]:
    """The assets a run was narrowed to; empty where it runs all of its job."""
    return frozenset(run.asset_selection or ())
