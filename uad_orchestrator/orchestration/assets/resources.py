"""What a run is given: the project's inputs as they are now, and embedders that stay loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG, asset_key, report_inputs
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, INPUTS, SEPARATOR, Cell
from uad_orchestrator.orchestration.versions.state import Input, InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import (
    inputs_stamp,
    make_demo_images,
    open_state,
    open_store,
    remember_input,
)
from uad_orchestrator.project import Project, read_project
from uad_orchestrator.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    pass

INPUTS_TAG = "uad/inputs"
"""A refresh tells its runs which input versions it has recorded already."""


class ProjectInputs(dg.ConfigurableResource):
    """The project as it stands when the run starts.

    On setup it reads uad.yaml again, fingerprints what the run's cell reads and reports what changed as
    runless materialisations, so that a click needs no input materialised first and an edited preset counts at
    once.
    """

    home: str
    _state: ProjectState = PrivateAttr()
    _store: ArtifactStore = PrivateAttr()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Read the project and report the inputs that changed since they were last recorded."""
        run = context.run
        self._read(context.instance, run, run.tags.get(PARTITION_TAG) if run else None)

    def _read(
        self, instance: dg.DagsterInstance | None, run: dg.DagsterRun | None, partition: str | None
    ) -> None:
        project = read_project(Path(self.home))
        make_demo_images(project)
        self._state, self._store = open_state(project), open_store(project)
        if instance and run and partition and SEPARATOR in partition:
            if run.tags.get(INPUTS_TAG) == inputs_stamp(self._state, Cell.from_key(partition)):
                return  # nothing changed since the refresh that asked for this run: a dozen queries less
            reported = [asset for asset in INPUTS if not _materializes(run, project, asset)]
            for found in report_inputs(instance, project, self._readable(Cell.from_key(partition), reported)):
                remember_input(self._store, found)

    @property
    def state(self) -> ProjectState:
        """Versions and manifests, taken when they are first asked for."""
        return self._state

    @property
    def store(self) -> ArtifactStore:
        """The project's artifacts."""
        return self._store

    def run_of(self, context: dg.AssetExecutionContext) -> CellRun:
        """The run's cell, ready to be computed; a retry reads the project and its inputs again."""
        if context.retry_number:
            self._read(context.instance, context.run, context.partition_key)
        return CellRun(Cell.from_key(context.partition_key), self._state, self._store)

    def _readable(self, cell: Cell, assets: Iterable[str]) -> list[Input]:
        found = []
        for asset in assets:
            try:
                found.append(self._state.input(asset, cell))
            except InputUnavailable:
                continue  # the asset that reads it fails with the reason
        return found


def _materializes(run: dg.DagsterRun, project: Project, asset: str) -> bool:
    """Whether a node is one of those that a cell's run materialises itself."""
    chosen = run.asset_selection  # a refresh's run has none: it materialises what is stale
    return asset in CELL_ASSETS and (not chosen or asset_key(project, asset) in chosen)
