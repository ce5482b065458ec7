"""``uad refresh --backfill``: the stale cells go to the running daemon, as one Dagster backfill.

Run queues, pools and remote executors then apply, and the Backfills page shows the progress.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.assets.partitions import project_partitions
from uad_orchestrator.orchestration.dagster_instance.asked_for import asked_already, asked_for
from uad_orchestrator.orchestration.dagster_instance.backfills import (
    add_backfill,
    add_group_backfill,
    require_daemon,
)
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import report_inputs
from uad_orchestrator.orchestration.dagster_instance.group_tags import BOARD, selection_of, selection_tag
from uad_orchestrator.orchestration.dagster_instance.instance import asking_alone
from uad_orchestrator.orchestration.dagster_instance.launchers.lost_runs import fail_lost_runs
from uad_orchestrator.orchestration.dagster_instance.launchers.run_tags import resource_tags
from uad_orchestrator.orchestration.planning.plan import Planner
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.groups import cell_groups, group_of, products
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import (
    make_demo_images,
    open_state,
    open_store,
    put_back_inputs,
)
from uad_orchestrator.project import Project
from uad_orchestrator.project.settings import ResourceSettings
from uad_orchestrator.project.settings.machine import MOST_CATEGORIES

NAMED = 3
"""Of those who are to compute cells already, how many are named in a sentence."""


@dataclass(frozen=True)
class Handover:
    """What was handed to the daemon.

    Attributes:
        backfills: the backfills' ids: one, or one for each of the ``resources`` that the cells' detectors ask for,
            as all runs of a backfill have the same tags; none where nothing is stale that was not asked for already.
        cells: how many cells it has.
        inputs: how many changed inputs were recorded before it.
        assets: of each asset, the number of its partitions.
        asked_already: who is to compute stale cells that were left out, ``backfill kqzwxvuo``, ``run 1a2b3c4d``, and
            how many.
        seconds: how long planning and handing over took.
    """

    backfills: tuple[str, ...]
    cells: int
    inputs: int
    assets: Mapping[str, int]
    asked_already: Mapping[str, int]
    seconds: float

    @property
    def left_out(self) -> str | None:
        """A sentence about the stale cells that were left out."""
        if not self.asked_already:
            return None
        count, who = sum(self.asked_already.values()), list(self.asked_already)
        named, others = ", ".join(who[:NAMED]), len(who) - NAMED
        more = f" and {others} other{'s' * (others > 1)}" if others > 0 else ""
        return f"{count} cell{'s are' if count > 1 else ' is'} already asked for by {named}{more}"

    def to_json(self) -> dict[str, Any]:
        """``uad refresh --backfill --json``."""
        return {
            "backfill": self.backfills[0] if self.backfills else None,
            "backfills": list(self.backfills),
            "cells": self.cells,
            "inputs": self.inputs,
            "assets": dict(self.assets),
            "asked_already": dict(self.asked_already),
            "seconds": round(self.seconds, 3),
        }


def hand_over(
    project: Project,
    instance: dg.DagsterInstance,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    *,
    rehash: bool = False,
) -> Handover:
    """Ask the running daemon for the selected stale cells, but for those that somebody is to compute already.

    Raises:
        NoDaemonError: none runs on this instance.
    """
    started = time.perf_counter()
    require_daemon(instance)
    fail_dead_runs(instance)
    fail_lost_runs(instance)
    make_demo_images(project)
    before = asked_for(instance, project)  # what ends while it is planned may be stale in the plan
    state, store = open_state(project, rehash=rehash), open_store(project)
    with store.listed():
        plan = Planner(state, store, instance).plan(selection)
        changed = report_inputs(instance, project, plan.inputs, store)
        put_back_inputs(store, state, [cell for cell in state.cells if selection.covers(cell)])
    stale, board = plan.by_cell(), any(node.asset == "leaderboard" for node in plan.stale)
    with asking_alone(project):
        left_out = asked_already(instance, project, stale, [*before, *asked_for(instance, project)])
        cells = {cell: assets for cell, assets in stale.items() if cell not in left_out}
        backfills = _add(project, instance, selection, cells, left_out, board)
    return Handover(
        tuple(backfills),
        cells=len(cells),
        inputs=len(changed),
        assets={asset: len(chosen) for asset, chosen in _by_asset(cells).items()}
        | ({"leaderboard": 1} if board and backfills else {}),
        asked_already=Counter(left_out.values()),
        seconds=time.perf_counter() - started,
    )


def _add(
    project: Project,
    instance: dg.DagsterInstance,
    selection: Selection,
    cells: Mapping[Cell, tuple[str, ...]],
    left_out: Collection[Cell],
    board: bool,
) -> list[str]:
    """Add the backfills of what is to be computed."""
    if not cells:  # a board made now would be out of date with the first of the cells that were left out
        return _add_board(project, instance) if board and not left_out else []
    if project.runtime.run_per == "embedder":
        return _add_groups(project, instance, selection, cells, left_out, board)
    return _add_cells(project, instance, cells, board)


def _add_board(project: Project, instance: dg.DagsterInstance) -> list[str]:
    return [add_backfill(project, instance, project_partitions(project).cell, {}, board=True)]


def _add_cells(
    project: Project, instance: dg.DagsterInstance, cells: Mapping[Cell, tuple[str, ...]], board: bool
) -> list[str]:
    """A run per cell. Each backfill has the board after its cells: whichever ends last makes the one that counts."""
    partitions = project_partitions(project).cell
    return [
        add_backfill(project, instance, partitions, _by_asset(chosen), board, resource_tags(needed))
        for needed, chosen in _by_resources(project, cells).items()
    ]


def _add_groups(
    project: Project,
    instance: dg.DagsterInstance,
    selection: Selection,
    cells: Mapping[Cell, tuple[str, ...]],
    left_out: Collection[Cell],
    board: bool,
) -> list[str]:
    """A run per group of cells; groups of which cells are left out have a backfill for the others alone."""
    name_of = group_of(cell_groups(project))
    wanted, others = (_by_group(name_of, chosen) for chosen in (cells, left_out))
    last = {BOARD: "last"} if board else {}
    return [
        add_group_backfill(project, instance, list(groups), sum(groups.values()), selection_tag(meant) | last)
        for meant, groups in _in_words(selection, wanted, others).items()
    ]


def _in_words(
    selection: Selection, wanted: Mapping[str, Sequence[Cell]], left_out: Mapping[str, Sequence[Cell]]
) -> dict[Selection, dict[str, int]]:
    """The groups with how many cells of each are wanted, by what says which: all runs of a backfill have the same tags.

    A group is cut out of it by its own name, so that one selection does for many groups.
    """
    found: dict[Selection, dict[str, int]] = {}
    parts: dict[tuple[str, ...], dict[str, tuple[Cell, ...]]] = {}
    for name, cells in wanted.items():
        if meant := _without(selection, cells, left_out.get(name, ())):
            found.setdefault(meant, {})[name] = len(cells)
            continue
        for part in products(cells):
            parts.setdefault(selection_of(part).detectors, {})[name] = part
    for of_groups in parts.values():
        for some in _named_together(of_groups):
            meant = replace(
                selection_of([cell for part in some.values() for cell in part]), asset=selection.asset
            )
            found[meant] = {name: len(part) for name, part in some.items()}
    return found


def _by_group(name_of: Mapping[Cell, str], cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(name_of[cell], []).append(cell)
    return found


def _without(selection: Selection, chosen: Sequence[Cell], left_out: Sequence[Cell]) -> Selection | None:
    """The chosen cells of a group and none of those left out, in words that fit others, too; None: there are none."""
    if not left_out:
        return selection
    detectors = selection_of(chosen).detectors
    of_those = Selection(detectors=detectors)
    return None if any(map(of_those.covers, left_out)) else replace(selection, detectors=detectors)


def _named_together(parts: Mapping[str, tuple[Cell, ...]]) -> Iterator[dict[str, tuple[Cell, ...]]]:
    """As many of the groups at a time as a tag has room for their categories."""
    batch: dict[str, tuple[Cell, ...]] = {}
    for name, part in parts.items():
        there = {cell.category for cells in (*batch.values(), part) for cell in cells}
        if batch and len(there) > MOST_CATEGORIES:
            yield batch
            batch = {}
        batch[name] = part
    yield batch


def _by_resources(
    project: Project, cells: Mapping[Cell, tuple[str, ...]]
) -> dict[ResourceSettings | None, dict[Cell, tuple[str, ...]]]:
    """The cells with their assets, those together whose runs ask for the same resources."""
    found: dict[ResourceSettings | None, dict[Cell, tuple[str, ...]]] = {}
    for cell, assets in cells.items():
        found.setdefault(project.detectors[cell.detector].resources, {})[cell] = assets
    return found


def _by_asset(cells: Mapping[Cell, tuple[str, ...]]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell, assets in cells.items():
        for asset in assets:
            found.setdefault(asset, []).append(cell)
    return found
