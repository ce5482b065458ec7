"""What is stale, and why: expected versions by arithmetic against what Dagster's event log and the store hold."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.cells.board import board_version
from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_version
from uad_orchestrator.orchestration.planning.reasons import Reasons
from uad_orchestrator.orchestration.planning.rerecording import RecordedGrid, Rerecord, find_rerecords
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, INPUTS, STAGES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import Input, InputUnavailable, ProjectState
from uad_orchestrator.storage.artifacts import ArtifactStore

CANNOT = "cannot be computed"
"""The reason of what lacks an input begins so."""


@dataclass(frozen=True)
class StaleNode:
    """A node that is not what it would be if it were computed now."""

    asset: str
    category: str | None
    detector: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a refresh would do.

    Attributes:
        stale: the nodes to materialise, in order of dependency within each cell.
        inputs: inputs whose version is not the recorded one.
        rerecorded: nodes in the right version that are to be recorded again, with the inputs they were made from.
        fresh: how many nodes are as they should be.
        unreachable: the selected datasets and categories whose images cannot be read now -> why.
        new: categories and detectors of which nothing was ever recorded, where there is a record of others: a
            web server that is running learns of them by "Reload definitions".
        seconds: how long planning took.
    """

    stale: tuple[StaleNode, ...]
    inputs: tuple[Input, ...]
    rerecorded: tuple[Rerecord, ...]
    fresh: int
    unreachable: Mapping[str, str]
    new: tuple[str, ...]
    seconds: float

    def by_cell(self) -> dict[Cell, tuple[str, ...]]:
        """The stale assets of each cell that has any, in order."""
        found: dict[Cell, list[str]] = {}
        for node in self.stale:
            if node.category is not None and node.detector is not None:
                found.setdefault(Cell(node.category, node.detector), []).append(node.asset)
        return {cell: tuple(assets) for cell, assets in found.items()}

    def to_json(self) -> dict[str, Any]:
        """``uad plan --json``."""
        return {
            "stale": [
                {
                    "asset": node.asset,
                    "category": node.category,
                    "detector": node.detector,
                    "reasons": list(node.reasons),
                }
                for node in self.stale
            ],
            "inputs": [
                {"asset": i.asset, "partition": i.partition, "version": i.version} for i in self.inputs
            ],
            "restamped": [again.to_json() for again in self.rerecorded],
            "fresh": self.fresh,
            "unreachable": dict(self.unreachable),
            "new": list(self.new),
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Planner:
    """Plans one project against one Dagster instance."""

    state: ProjectState
    store: ArtifactStore
    instance: dg.DagsterInstance

    def plan(self, selection: Selection, *, board: bool = True) -> Plan:
        """The plan of the selected cells.

        Args:
            selection: which.
            board: look at the leaderboard, too, where it is selected: its version is made of all cells of the grid.
        """
        started = time.perf_counter()
        with self.store.listed():
            return self._plan(selection, board and selection.names("leaderboard"), started)

    def _plan(self, selection: Selection, with_board: bool, started: float) -> Plan:
        reasons = Reasons(self.state, self.store)
        cells = [cell for cell in self.state.cells if selection.covers(cell)]
        stale: list[StaleNode] = []
        fresh = 0
        for cell in cells:
            nodes = self._stale_of(cell, selection, reasons)
            stale += nodes
            fresh += sum(selection.names(asset) for asset in CELL_ASSETS) - len(nodes)
        if with_board:
            board = self._stale_board(stale)
            stale += board
            fresh += 1 - len(board)
        return Plan(
            stale=tuple(stale),
            inputs=tuple(self._changed_inputs(cells)),
            rerecorded=tuple(self._restamped(cells, selection)),
            fresh=fresh,
            unreachable=selection.away(self.state.project),
            new=tuple(self._new()),
            seconds=time.perf_counter() - started,
        )

    @cached_property
    def recorded(self) -> RecordedGrid:
        """What Dagster last recorded; each asset is read once."""
        return RecordedGrid(self.instance, self.state.project)

    def _new(self) -> list[str]:
        named = {
            "dataset_category": self.state.project.category_keys(),
            "fit_settings": list(self.state.project.detectors),
        }
        known = {asset: self.recorded.versions(asset) for asset in named}
        return [
            name
            for asset, names in named.items()
            if known[asset]
            for name in names
            if name not in known[asset]
        ]

    def _restamped(self, cells: Sequence[Cell], selection: Selection) -> list[Rerecord]:
        return [r for r in find_rerecords(self.state, self.recorded, cells) if selection.names(r.asset)]

    def _stale_of(self, cell: Cell, selection: Selection, reasons: Reasons) -> list[StaleNode]:
        stale: list[StaleNode] = []
        for asset in CELL_ASSETS:
            why = self._why_stale(asset, cell, reasons)
            if why and selection.names(asset):
                stale.append(StaleNode(asset, cell.category, cell.detector, why))
        return stale

    def _why_stale(self, asset: str, cell: Cell, reasons: Reasons) -> tuple[str, ...]:
        """Why a node is stale; empty if it is fresh."""
        recorded = self.recorded.versions(asset).get(cell.key)
        try:
            expected = self.state.version(asset, cell)
        except InputUnavailable as error:
            return (f"{CANNOT}: {error}",)
        if recorded is None:
            return ("never materialised",)
        if recorded != expected:
            return reasons.between(asset, cell, recorded)
        if asset in STAGES and not self.store.holds(cell.artifact_key(asset, expected)):
            return ("artifact missing from the store",)
        return ()

    def _stale_board(self, stale: Sequence[StaleNode]) -> list[StaleNode]:
        recorded = recorded_version(self.instance, self.state.project, "leaderboard")
        if recorded == board_version(self.state, self.store):
            return []
        changed = {(node.category, node.detector) for node in stale}
        why = "never materialised" if recorded is None else f"{len(changed) or 'other'} cells changed"
        return [StaleNode("leaderboard", None, None, (why,))]

    def _changed_inputs(self, cells: Sequence[Cell]) -> list[Input]:
        shared = [asset for asset in INPUTS if asset not in CELL_ASSETS]
        return [
            found
            for found in self.state.inputs(cells, shared)
            if self.recorded.versions(found.asset).get(found.partition) != found.version
        ]
