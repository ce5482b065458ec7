"""Runs that are queued, running or about to be tried again; the name of a job that Dagster does not export."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.group_tags import cells_of, selected
from uad_orchestrator.orchestration.dagster_instance.names import CELLS, asset_key, name_in_dagster
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, SEPARATOR, Cell
from uad_orchestrator.orchestration.versions.groups import cell_groups, group_of
from uad_orchestrator.project import Project

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

AssetJob: TypeAlias = "UnresolvedAssetJobDefinition"
"""What ``define_asset_job`` gives; Dagster does not export its name."""

BACKFILL_TAG = "dagster/backfill"
RUN_KEY_TAG = "dagster/run_key"
WILL_RETRY_TAG = "dagster/will_retry"
DONE = "uad/cells_done"
"""Tag: a run of a group has computed its cells; what it does yet needs none of them."""

UNFINISHED = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
RETRY_WITHIN = 300.0
"""Seconds in which the daemon, however busy, starts a run again that failed."""

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


def about_to_be_tried_again(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that failed just now, and that Dagster's daemon starts again.

    It does so within seconds. One that it left alone for minutes is no longer waited for: the mark stays on runs that
    it decided against.
    """
    lately = datetime.fromtimestamp(time.time() - RETRY_WITHIN, tz=UTC)
    marked = RunsFilter(
        statuses=[DagsterRunStatus.FAILURE], tags={WILL_RETRY_TAG: "true"}, updated_after=lately
    )
    return [run for run in instance.get_runs(marked) if run.is_complete_and_waiting_to_retry]


def _is_lost(record: RunRecord) -> bool:
    """Made, and then forgotten: whoever made it died before it was queued."""
    made = record.create_timestamp.timestamp()
    never_queued = record.dagster_run.status is DagsterRunStatus.NOT_STARTED
    return never_queued and time.time() - made > LOST_AFTER


def cells_at_work(instance: dg.DagsterInstance, project: Project) -> dict[str, CellAtWork]:
    """The project's cells, by partition key, that runs are queued or running for; of several the last start."""
    records = runs_at_work(instance)
    asked = cells_of_runs(project, [record.dagster_run for record in records])
    found: dict[str, CellAtWork] = {}
    for record, cells in zip(records, asked, strict=True):
        for key in cells:
            other = found.get(key)
            waiting = record.start_time is None or (other is not None and other.started is None)
            latest = None if waiting else max(record.start_time or 0.0, (other and other.started) or 0.0)
            found[key] = CellAtWork(latest)
    return found


def cells_of_runs(project: Project, runs: Sequence[dg.DagsterRun]) -> list[dict[str, tuple[str, ...]]]:
    """Of each run the cells of the project that it computes, by partition key, with the assets it is to compute."""
    cells_job = name_in_dagster(project, CELLS)
    groups = cell_groups(project) if any(run.job_name == cells_job for run in runs) else {}
    grid = group_of(groups).keys()
    return [
        _of_a_group(cells_of(run, groups, grid), run)
        if run.job_name == cells_job
        else _of_a_cell(project, run)
        for run in runs
    ]


def _of_a_group(cells: Sequence[Cell], run: dg.DagsterRun) -> dict[str, tuple[str, ...]]:
    if not cells:
        return {}
    meant = selected(cells, run)
    assets = tuple(asset for asset in CELL_ASSETS if meant.names(asset))
    return {cell.key: assets for cell in cells if meant.covers(cell)}


def _of_a_cell(project: Project, run: dg.DagsterRun) -> dict[str, tuple[str, ...]]:
    """Another project in the same instance may have cells of the same names: theirs are not meant."""
    partition = run.tags.get(PARTITION_TAG, "")
    if SEPARATOR not in partition:
        return {}
    if chosen := chosen_assets(run):
        assets = tuple(asset for asset in CELL_ASSETS if asset_key(project, asset) in chosen)
    else:
        assets = CELL_ASSETS if run.job_name == name_in_dagster(project, "cell") else ()
    return {partition: assets} if assets else {}


def keys_of_success(instance: dg.DagsterInstance, keys: Collection[str]) -> set[str]:
    """Of the keys that sensors have asked by those whose run, or a second try of it, succeeded."""
    if not keys:
        return set()
    done = RunsFilter(statuses=[DagsterRunStatus.SUCCESS], tags={RUN_KEY_TAG: list(keys)})
    return {run.tags[RUN_KEY_TAG] for run in instance.get_runs(done)}


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


def chosen_assets(run: dg.DagsterRun) -> frozenset[dg.AssetKey]:
    """The assets a run was narrowed to; empty where it runs all of its job."""
    return frozenset(run.asset_selection or ())
