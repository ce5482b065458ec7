"""What a run is given: the project's inputs as they are now, and embedders that stay loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import dagster as dg

from uad_orchestrator.orchestration.assets.partitions import Partitions
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.dagster_instance.connections.held import held_connections
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG, report_inputs
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import chosen_assets
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, INPUTS, SEPARATOR, Cell
from uad_orchestrator.orchestration.versions.state import Input, InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import (
    inputs_stamp,
    make_demo_images,
    open_state,
    open_store,
)
from uad_orchestrator.project import Project, read_project
from uad_orchestrator.storage.artifacts import ArtifactStore

PROJECT_INPUTS = "project_inputs"
EMBEDDERS = "embedders"

INPUTS_TAG = "uad/inputs"
"""A refresh tells its runs which input versions it has recorded already."""

AnyContext = dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext


class ProjectInputs:
    """The project as it stands when the run starts.

    On setup it reads uad.yaml again, fingerprints what the run's cell reads and reports what changed as
    runless materialisations, so that a click needs no input materialised first and an edited preset counts at
    once. The names in Dagster are those the definitions were loaded with, whatever uad.yaml says of them by now.

    Attributes:
        are_kept: the refresh that asked for this run has recorded and stored these very inputs.
    """

    are_kept = False

    def __init__(self, loaded: Project, partitions: Partitions, context: dg.InitResourceContext) -> None:
        self._loaded = loaded
        run = context.run
        partition = run.tags.get(PARTITION_TAG) if run else None
        if partition is not None and not partitions.has(partition):  # Dagster launches runs of any
            raise dg.Failure(f"this project has no partition {partition!r}", allow_retries=False)
        self._read(context.instance, run, partition)

    @classmethod
    def of(cls, project: Project, partitions: Partitions) -> dg.ResourceDefinition:
        """What the runs of a loaded project are given.

        A run's config has no say in it: whoever launches a run could lead it to another project's files.
        """

        def while_the_run_lasts(context: dg.InitResourceContext) -> Iterator[ProjectInputs]:
            with nullcontext() if context.instance is None else held_connections(context.instance):
                yield cls(project, partitions, context)

        return dg.ResourceDefinition(while_the_run_lasts, config_schema={}, description=cls.__doc__)

    def _read(
        self, instance: dg.DagsterInstance | None, run: dg.DagsterRun | None, partition: str | None
    ) -> None:
        project = self._project()
        make_demo_images(project)
        self._state, self._store = open_state(project), open_store(project)
        if instance and run and partition and SEPARATOR in partition:
            self.are_kept = run.tags.get(INPUTS_TAG) == inputs_stamp(self._state, Cell.from_key(partition))
            if self.are_kept:
                return  # nothing changed since the refresh that asked for this run: a dozen queries less
            reported = [asset for asset in INPUTS if not _materializes(run, project, asset)]
            readable = self._readable(Cell.from_key(partition), reported)
            report_inputs(instance, project, readable, self._store)

    def _project(self) -> Project:
        names = self._loaded.dagster
        now = read_project(self._loaded.home)
        kept = {name: getattr(names, name) for name in ("key_prefix", "name_prefix", "pools")}
        return now.model_copy(update={"dagster": now.dagster.model_copy(update=kept)})

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
    chosen = chosen_assets(run)  # a refresh's run has none: it materialises what is stale
    return asset in CELL_ASSETS and (not chosen or asset_key(project, asset) in chosen)


def resource_keys(project: Project, *names: str) -> set[str]:
    """The resources as this project's definitions call them."""
    return {name_in_dagster(project, name) for name in names}


def inputs_of(project: Project, context: AnyContext) -> ProjectInputs:
    """The project's inputs, as a run's resource."""
    return getattr(context.resources, name_in_dagster(project, PROJECT_INPUTS))


def embedders_of(project: Project, context: AnyContext) -> EmbedderPool:
    """The embedders that stay loaded, as a run's resource."""
    return getattr(context.resources, name_in_dagster(project, EMBEDDERS))
