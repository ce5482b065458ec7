"""What a run is given: the project's inputs as they are now, and embedders that stay loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from uad_orchestrator import __version__
from uad_orchestrator.orchestration.cell_run import CellRun
from uad_orchestrator.orchestration.events import asset_key, report_inputs
from uad_orchestrator.orchestration.graph import CELL_ASSETS, INPUTS, NODES, SEPARATOR, Cell, cell_of
from uad_orchestrator.orchestration.state import Input, InputUnavailable, ProjectState
from uad_orchestrator.project import Project, read_project
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.digests import DigestCache, digest_of
from uad_orchestrator.storage.provenance import Provenance

if TYPE_CHECKING:
    from uad_orchestrator.embedders.protocol import PatchEmbedder
    from uad_orchestrator.embedders.settings import EmbedderSettings

PARTITION_TAG = "dagster/partition"
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
            told = [asset for asset in INPUTS if not _materializes(run, project, asset)]
            for found in report_inputs(instance, project, self._readable(Cell.from_key(partition), told)):
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


def inputs_stamp(state: ProjectState, cell: Cell) -> str:
    """Digest of the versions of a cell's inputs as they are now, those that can not be read left out."""
    versions = {}
    for asset in INPUTS:
        with suppress(InputUnavailable):
            versions[asset] = state.version(asset, cell)
    return digest_of(versions)


def open_state(project: Project, *, rehash: bool = False) -> ProjectState:
    """The project's state over its digest cache."""
    return ProjectState(project, DigestCache(Path(project.storage.local) / "digests.sqlite", rehash=rehash))


def open_store(project: Project) -> ArtifactStore:
    """The project's artifact store."""
    return ArtifactStore(str(project.storage.root), Path(project.storage.local))


def remember_input(store: ArtifactStore, found: Input) -> None:
    """Keep an input's content beside its version, so that a later plan can say in words what changed."""
    cell = cell_of(NODES[found.asset].dimension, found.partition)
    dataset, name = (cell.dataset, cell.category_name) if cell.category else (None, None)
    key = ArtifactKey(found.asset, dataset, name, cell.detector or None, found.version)
    if not store.exists(key):
        provenance = Provenance(**vars(key), code_version=__version__)
        with store.write(key, provenance) as draft:
            (draft.directory / "content.json").write_text(json.dumps(found.content, sort_keys=True))


def make_demo_images(project: Project) -> None:
    """Generate the demo set where a dataset of layout ``demo`` has no images yet."""
    for dataset in project.datasets.values():
        if dataset.layout == "demo" and not Path(dataset.root).exists():
            from uad_orchestrator.datasets.demo_generator import generate_demo

            generate_demo(Path(dataset.root))


@dataclass
class EmbedderPool:
    """Keeps the last embedder loaded: a worker that goes through cells in order loads each backbone once."""

    _recipe: str | None = None
    _embedder: Any = field(default=None, repr=False)

    def get(self, settings: EmbedderSettings, weights: Path | None, device: str) -> PatchEmbedder:
        """The embedder for these settings, loaded if it is not the one in hand."""
        from uad_orchestrator.embedders.create import create_embedder

        stamp: Mapping[str, Any] = {
            "settings": settings.model_dump(mode="json"),
            "weights": None if weights is None else [str(weights), weights.stat().st_mtime_ns],
            "device": device,
        }
        recipe = digest_of(stamp)
        if recipe != self._recipe:
            self._embedder, self._recipe = create_embedder(settings, weights, device), recipe
        return self._embedder
