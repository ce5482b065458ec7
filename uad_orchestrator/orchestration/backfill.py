"""``uad refresh --backfill``: the stale cells go to the running daemon, as one Dagster backfill.

Run queues, pools and remote executors then apply, and the Backfills page shows the progress. What is not public
API of Dagster here (``PartitionBackfill``, ``AssetGraphSubset``) is held by a test.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.events import asset_key, report_inputs
from uad_orchestrator.orchestration.graph import Cell
from uad_orchestrator.orchestration.partitions import project_partitions
from uad_orchestrator.orchestration.plan import Plan, Planner
from uad_orchestrator.orchestration.resources import make_demo_images, open_state, open_store, remember_input
from uad_orchestrator.orchestration.selection import Selection
from uad_orchestrator.project import Project

BACKFILL_DAEMON = "BACKFILL"


class NoDaemonError(RuntimeError):
    """There is no daemon on this instance that would work a backfill off."""


@dataclass(frozen=True)
class Handover:
    """What was handed to the daemon.

    Attributes:
        backfill: the backfill's id; None where nothing is stale.
        cells: how many cells it has.
        inputs: how many changed inputs were recorded before it.
        assets: of each asset, the number of its partitions.
        seconds: how long planning and handing over took.
    """

    backfill: str | None
    cells: int
    inputs: int
    assets: Mapping[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """``uad refresh --backfill --json``."""
        return {
            "backfill": self.backfill,
            "cells": self.cells,
            "inputs": self.inputs,
            "assets": dict(self.assets),
            "seconds": round(self.seconds, 3),
        }


def hand_over(
    project: Project,
    instance: dg.DagsterInstance,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    *,
    rehash: bool = False,
) -> Handover:
    """Ask the running daemon for the selected stale cells.

    Raises:
        NoDaemonError: none runs on this instance.
    """
    started = time.perf_counter()
    _require_daemon(instance)
    fail_dead_runs(instance)
    make_demo_images(project)
    state, store = open_state(project, rehash=rehash), open_store(project)
    plan = Planner(state, store, instance).plan(selection)
    changed = report_inputs(instance, project, plan.inputs)
    for found in changed:
        remember_input(store, found)
    wanted = _cells_by_asset(plan)
    board = any(node.asset == "leaderboard" for node in plan.stale)
    backfill = _add_backfill(project, instance, wanted, board) if wanted or board else None
    return Handover(
        backfill,
        cells=len(plan.by_cell()),
        inputs=len(changed),
        assets={asset: len(cells) for asset, cells in wanted.items()} | ({"leaderboard": 1} if board else {}),
        seconds=time.perf_counter() - started,
    )


def _require_daemon(instance: dg.DagsterInstance) -> None:
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


def _cells_by_asset(plan: Plan) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell, assets in plan.by_cell().items():
        for asset in assets:
            found.setdefault(asset, []).append(cell)
    return found


def _add_backfill(
    project: Project, instance: dg.DagsterInstance, wanted: Mapping[str, Sequence[Cell]], board: bool
) -> str:
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
    from dagster._core.execution.backfill import PartitionBackfill
    from dagster._core.utils import make_new_backfill_id

    definition = project_partitions(project).cell
    target = AssetGraphSubset(  # type: ignore[call-arg]  # its defaults hide behind a decorator
        partitions_subsets_by_asset_key={
            asset_key(project, asset): definition.subset_with_partition_keys([cell.key for cell in cells])
            for asset, cells in wanted.items()
        },
        non_partitioned_asset_keys={asset_key(project, "leaderboard")} if board else set(),
    )
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        backfill_timestamp=time.time(),
        tags={"uad/refresh": "backfill"},
        dynamic_partitions_store=instance,
        asset_graph_subset=target,
        title="uad refresh --backfill",
        description=f"{len({cell for cells in wanted.values() for cell in cells})} stale cells",
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id
