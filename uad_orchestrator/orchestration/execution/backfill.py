"""``uad refresh --backfill``: the stale cells go to the running daemon, as one Dagster backfill.

Run queues, pools and remote executors then apply, and the Backfills page shows the progress.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.assets.partitions import project_partitions
from uad_orchestrator.orchestration.dagster_instance.backfills import add_backfill, require_daemon
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import report_inputs
from uad_orchestrator.orchestration.planning.plan import Plan, Planner
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import (
    make_demo_images,
    open_state,
    open_store,
    put_back_inputs,
)
from uad_orchestrator.project import Project


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
    require_daemon(instance)
    fail_dead_runs(instance)
    make_demo_images(project)
    state, store = open_state(project, rehash=rehash), open_store(project)
    with store.listed():
        plan = Planner(state, store, instance).plan(selection)
        changed = report_inputs(instance, project, plan.inputs, store)
        put_back_inputs(store, state, [cell for cell in state.cells if selection.covers(cell)])
    wanted = _cells_by_asset(plan)
    board = any(node.asset == "leaderboard" for node in plan.stale)
    backfill = (
        add_backfill(project, instance, project_partitions(project).cell, wanted, board)
        if wanted or board
        else None
    )
    return Handover(
        backfill,
        cells=len(plan.by_cell()),
        inputs=len(changed),
        assets={asset: len(cells) for asset, cells in wanted.items()} | ({"leaderboard": 1} if board else {}),
        seconds=time.perf_counter() - started,
    )


def _cells_by_asset(plan: Plan) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell, assets in plan.by_cell().items():
        for asset in assets:
            found.setdefault(asset, []).append(cell)
    return found
