"""A backfill added by hand, and whether a daemon is there to work it off: Dagster has no public way to either."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.names import CELLS, asset_key, name_in_dagster
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project

BACKFILL_DAEMON = "BACKFILL"

DAEMON_MODULE = "dagster._daemon"
"""What ``dagster-daemon`` runs, for ``python -m``: the command itself need not be on the PATH."""


class NoDaemonError(RuntimeError):
    """There is no daemon on this instance that would work a backfill off."""


def require_daemon(instance: dg.DagsterInstance) -> None:
    """Raise NoDaemonError unless a daemon that works backfills off lives on this instance."""
    from dagster._daemon.controller import get_daemon_statuses

    status = get_daemon_statuses(instance, [BACKFILL_DAEMON])[BACKFILL_DAEMON]
    if not status.healthy:
        last = status.last_heartbeat
        seen = "none was ever seen" if last is None else f"last seen {time.time() - last.timestamp:.0f} s ago"
        raise NoDaemonError(
            f"--backfill hands the cells to a running Dagster daemon, and on {instance.root_directory} there is "
            f"none ({seen}). Start `uad ui` (or `dagster-daemon run` with the same DAGSTER_HOME and UAD_HOME) and "
            "try again, or run `uad refresh` without --backfill"
        )


def add_backfill(
    project: Project,
    instance: dg.DagsterInstance,
    cells: dg.PartitionsDefinition,
    wanted: Mapping[str, Sequence[Cell]],
    board: bool,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Add a backfill of the wanted cells of each asset, and of the leaderboard; returns its id.

    Args:
        cells: the partitions of the cells, as the assets have them.
        tags: of every run.
    """
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
    from dagster._core.execution.backfill import PartitionBackfill

    target = AssetGraphSubset(  # type: ignore[call-arg]  # its defaults hide behind a decorator
        partitions_subsets_by_asset_key={
            asset_key(project, asset): cells.subset_with_partition_keys([cell.key for cell in chosen])
            for asset, chosen in wanted.items()
        },
        non_partitioned_asset_keys={asset_key(project, "leaderboard")} if board else set(),
    )
    description = f"{len({cell for chosen in wanted.values() for cell in chosen})} stale cells"
    backfill = PartitionBackfill.from_asset_graph_subset(
        **_named(description, tags), dynamic_partitions_store=instance, asset_graph_subset=target
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


def add_group_backfill(
    project: Project, instance: dg.DagsterInstance, groups: Sequence[str], cells: int, tags: Mapping[str, str]
) -> str:
    """Add a backfill of the job ``cells``, a run for each of some groups; returns its id.

    Args:
        groups: by name, as ``cell_groups`` has them; the code location must have been loaded with them.
        cells: how many there are in them to compute.
        tags: of every run; those of a group's resources are added by the job.
    """
    from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
    from dagster._core.remote_origin import (
        InProcessCodeLocationOrigin,
        RemotePartitionSetOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.remote_representation.external_data import partition_set_snap_name_for_job_name
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    # The daemon looks the location up by its name in the workspace that it has.
    target = LoadableTargetOrigin(module_name="uad_orchestrator.definitions")
    location = InProcessCodeLocationOrigin(target, location_name=project.dagster.location_name)
    repository = RemoteRepositoryOrigin(location, "__repository__")
    partitions = partition_set_snap_name_for_job_name(name_in_dagster(project, CELLS))
    backfill = PartitionBackfill(
        **_named(f"{cells} stale cells in {len(groups)} runs", tags),
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        partition_set_origin=RemotePartitionSetOrigin(
            repository_origin=repository, partition_set_name=partitions
        ),
        partition_names=list(groups),
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


def _named(description: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """What any backfill of ours has: an id, and what the page of backfills shows of it."""
    from dagster._core.utils import make_new_backfill_id

    return {
        "backfill_id": make_new_backfill_id(),
        "backfill_timestamp": time.time(),
        "tags": {"uad/refresh": "backfill", **tags},
        "title": "uad refresh --backfill",
        "description": description,
        "run_config": None,
    }
