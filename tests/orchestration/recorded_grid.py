"""A grid that counts as computed: artifacts with true recipes and empty payloads, recorded in Dagster; in no time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.cells.board import board_version
from uad_orchestrator.orchestration.cells.cell_run import CellRun, recipe_of
from uad_orchestrator.orchestration.dagster_instance.event_log import (
    DATA_VERSION_TAG,
    report_again,
    report_inputs,
    report_version,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.planning.plan import Plan, Planner
from uad_orchestrator.orchestration.planning.rerecording import RecordedGrid
from uad_orchestrator.orchestration.versions.graph import INPUTS, STAGES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.storage.artifacts import ArtifactStore


@dataclass(frozen=True)
class Ledger:
    """A project, and the Dagster instance in memory that it is recorded in."""

    workshop: Workshop
    instance: dg.DagsterInstance = field(repr=False)

    @property
    def state(self) -> ProjectState:
        """The project as it stands, fingerprinted anew."""
        return open_state(self.workshop.project)

    @property
    def store(self) -> ArtifactStore:
        return open_store(self.workshop.project)

    def plan(self, **narrowed: tuple[str, ...] | str) -> Plan:
        """``uad plan`` with ``--category``, ``--detector`` or ``--asset``."""
        return Planner(self.state, self.store, self.instance).plan(Selection(**narrowed))  # type: ignore[arg-type]

    @property
    def recorded(self) -> RecordedGrid:
        return RecordedGrid(self.instance, self.workshop.project)

    def record_inputs(self, cell: Cell, assets: Iterable[str] = INPUTS) -> None:
        """Keep and record the inputs of a cell as they are now."""
        state, store = self.state, self.store
        found = [state.input(asset, cell) for asset in assets]
        report_inputs(self.instance, state.project, found, store)

    def record_again(self, asset: str, cell: Cell) -> None:
        """Record an input once more in the version it has."""
        report_version(self.instance, self.workshop.project, self.state.input(asset, cell))

    def record_stages(
        self,
        cell: Cell,
        stages: Iterable[str] = STAGES,
        *,
        metrics: Mapping[str, float | None] | None = None,
        reads: Mapping[str, str] | None = None,
        store: bool = True,
    ) -> None:
        """Store and record stages of a cell in the version they should have now.

        Args:
            metrics: of each.
            reads: versions that Dagster is told were read, where they are not the right ones.
            store: False: record without an artifact.
        """
        run = CellRun(cell, self.state, self.store)
        for stage in stages:
            key = run.key(stage)
            if store and not run.store.exists(key):
                with run.store.write(key, recipe_of(run, stage, key, "run")) as draft:
                    (draft.directory / "payload.txt").write_text(key.version)
                    draft.record(metrics=metrics or {})
            told = {**run.state.reads(stage, cell), **(reads or {})}
            report_again(self.instance, run.state.project, stage, cell.key, key.version, told)

    def record_board(self) -> None:
        """Record the leaderboard as it should be now."""
        state = self.state
        tags = {DATA_VERSION_TAG: board_version(state, self.store)}
        key = asset_key(state.project, "leaderboard")
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, tags=tags))

    def record_all(self, cells: Iterable[Cell] | None = None) -> None:
        """What a refresh leaves behind."""
        for cell in self.state.cells if cells is None else cells:
            self.record_inputs(cell)
            self.record_stages(cell)
        self.record_board()


@contextmanager
def ledger_of(workshop: Workshop) -> Iterator[Ledger]:
    """A ledger with nothing in it."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ledger(workshop, instance)
