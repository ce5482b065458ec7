"""Who is to compute which cells already: backfills that are under way, and runs.

Not public API of Dagster here: what backfills there are, and what a backfill has made no run of as yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG, recorded_since
from uad_orchestrator.orchestration.dagster_instance.runs import (
    BACKFILL_TAG,
    DONE,
    about_to_be_tried_again,
    cells_of_runs,
    runs_at_work,
)
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, INPUTS, Cell, partition_of
from uad_orchestrator.project import Project

if TYPE_CHECKING:
    from dagster._core.execution.backfill import PartitionBackfill


@dataclass(frozen=True)
class Asked:
    """What a backfill or a run is to compute yet.

    Attributes:
        by: what was asked, as people find it: ``backfill kqzwxvuo``, ``run 1a2b3c4d``.
        cells: by partition key, with the assets of each.
        started: when the run began, seconds since the epoch; None: it has not, and will read what is there then.
    """

    by: str
    cells: Mapping[str, tuple[str, ...]]
    started: float | None = None


def asked_for(instance: dg.DagsterInstance, project: Project) -> list[Asked]:
    """What backfills and runs are to compute of a project; of a backfill or run that is being cancelled nothing.

    Backfills are looked at first: what they turn into runs meanwhile is then seen twice, not never.
    """
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

    backfills = instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))
    found = []
    for backfill in backfills:
        parts = cells_of_runs(project, _runs_to_come(backfill))
        cells = {key: assets for part in parts for key, assets in part.items()}
        found.append(Asked(f"backfill {backfill.backfill_id}", cells))
    at_work = [(record.dagster_run, record.start_time) for record in runs_at_work(instance)]
    again = [(run, None) for run in about_to_be_tried_again(instance)]
    under_way = {None, *(backfill.backfill_id for backfill in backfills)}
    runs = [(run, start) for run, start in [*at_work, *again] if _computes(run, under_way)]
    for (run, start), cells in zip(runs, cells_of_runs(project, [run for run, _ in runs]), strict=True):
        backfill_id = run.tags.get(BACKFILL_TAG)
        by = f"backfill {backfill_id}" if backfill_id else f"run {run.run_id[:8]}"
        found.append(Asked(by, cells, start))
    return found


def _computes(run: dg.DagsterRun, under_way: set[str | None]) -> bool:
    """Whether a run has cells before it: it, or its backfill, was not cancelled, and its cells are not done."""
    cancelled = run.status is dg.DagsterRunStatus.CANCELING or run.tags.get(BACKFILL_TAG) not in under_way
    return not cancelled and DONE not in run.tags


def _runs_to_come(backfill: PartitionBackfill) -> list[dg.DagsterRun]:
    """The runs that a backfill has not made yet, as far as one can tell whom they will be about."""
    if (data := backfill.asset_backfill_data) is not None:
        left = data.target_subset - data.requested_subset - data.failed_and_downstream_subset
        chosen: dict[str, set[dg.AssetKey]] = {}
        for asset, subset in left.partitions_subsets_by_asset_key.items():
            for partition in subset.get_partition_keys():
                chosen.setdefault(partition, set()).add(asset)
        return [
            dg.DagsterRun(job_name="", asset_selection=frozenset(assets), tags={PARTITION_TAG: partition})
            for partition, assets in chosen.items()
        ]
    names, last = list(backfill.partition_names or ()), backfill.last_submitted_partition_name
    begin = names.index(last) + 1 if last in names else 0
    return [
        dg.DagsterRun(job_name=backfill.job_name or "", tags={**backfill.tags, PARTITION_TAG: name})
        for name in names[begin:]
    ]


def asked_already(
    instance: dg.DagsterInstance,
    project: Project,
    stale: Mapping[Cell, tuple[str, ...]],
    asked: Sequence[Asked],
) -> dict[Cell, str]:
    """Of the stale cells those that are computed without being asked for again, each with the one that does it.

    One that is to compute less than is stale of a cell does not count, nor does a run that started before an input of
    the cell was recorded as it is now: it may have read an earlier one.

    Args:
        stale: the assets of each cell that are stale; their inputs are recorded as they are now.
        asked: from ``asked_for``.
    """
    cells = {cell.key: cell for cell in stale}
    candidates = [
        (cells[key], one)
        for one in asked
        for key, assets in one.cells.items()
        if key in cells and set(stale[cells[key]]) <= set(assets)
    ]
    begun = {cell: stale[cell] for cell, one in candidates if one.started is not None}
    since = min((one.started for _, one in candidates if one.started is not None), default=0.0)
    changed = _last_changes(instance, project, begun, since)
    found: dict[Cell, str] = {}
    for cell, one in candidates:
        if one.started is None or changed.get(cell, 0.0) <= one.started:
            found.setdefault(cell, one.by)
    return found


def _last_changes(
    instance: dg.DagsterInstance, project: Project, stale: Mapping[Cell, tuple[str, ...]], since: float
) -> dict[Cell, float]:
    """When an input of each cell was recorded last, of those that were after ``since``.

    A cell's run records its checkpoint itself. That counts where it is stale all the same: what the run read is not
    what is there now.
    """
    found: dict[Cell, float] = {}
    for asset in INPUTS if stale else ():
        readers = [cell for cell in stale if asset not in CELL_ASSETS or asset in stale[cell]]
        partitions = {partition_of(asset, cell) for cell in readers}
        times = recorded_since(instance, project, asset, partitions, since) if partitions else {}
        for cell in readers:
            found[cell] = max(found.get(cell, 0.0), times.get(partition_of(asset, cell), 0.0))
    return found
