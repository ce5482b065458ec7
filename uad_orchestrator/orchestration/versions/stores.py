"""A project opened: its state over the digest cache, its artifact store, and what is kept of its inputs."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from uad_orchestrator import __version__
from uad_orchestrator.metrics.catalogue import board_metrics
from uad_orchestrator.orchestration.versions.graph import INPUTS, NODES, Cell, cell_of
from uad_orchestrator.orchestration.versions.state import Input, InputUnavailable, ProjectState
from uad_orchestrator.project import Project
from uad_orchestrator.project.known_categories import remember_categories
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.artifacts.object_files import AT_ONCE
from uad_orchestrator.storage.digests import DigestCache, digest_of
from uad_orchestrator.storage.lineage.index import LineageIndex
from uad_orchestrator.storage.lineage.tree import CONTENT_FILE
from uad_orchestrator.storage.provenance import Provenance
from uad_orchestrator.threads import ordered_map


class InstanceError(RuntimeError):
    """Dagster's store cannot be opened; the message names its folder and says what to do."""


def inputs_stamp(state: ProjectState, cell: Cell) -> str:
    """Digest of the versions of a cell's inputs as they are now, those that cannot be read left out."""
    versions = {}
    for asset in INPUTS:
        with suppress(InputUnavailable):
            versions[asset] = state.version(asset, cell)
    return digest_of(versions)


def open_state(project: Project, *, rehash: bool = False) -> ProjectState:
    """The project's state over its digest cache; the categories that are there now are remembered."""
    remember_categories(project)
    return ProjectState(project, DigestCache(Path(project.storage.local) / "digests.sqlite", rehash=rehash))


def open_store(project: Project) -> ArtifactStore:
    """The project's artifact store."""
    return ArtifactStore(str(project.storage.root), Path(project.storage.local))


def open_index(store: ArtifactStore, records: Path | None = None) -> LineageIndex:
    """The lineage index of a project's artifacts; its view ``metrics`` has the board's columns.

    Args:
        store: where the artifacts are.
        records: the folder that the line is recorded to, for who asks about judgements.
    """
    return LineageIndex(store.local, store, metrics=board_metrics(), records=records)


def remember_input(store: ArtifactStore, found: Input) -> None:
    """Keep an input's content beside its version, so that a later plan can say in words what changed.

    It is noted each time, to the same effect: a process may have been killed once it was kept, before it was noted.
    Of what an object store has the index learns from there, without a request for each.
    """
    key = input_key(found)
    there = is_stored(store, key)
    if not there:
        provenance = Provenance(**vars(key), code_version=__version__)
        with store.write(key, provenance) as draft:
            (draft.directory / CONTENT_FILE).write_text(json.dumps(found.content, sort_keys=True))
    if not (there and store.shared):
        open_index(store).record(store.provenance(key))


def remember_inputs(store: ArtifactStore, inputs: Collection[Input]) -> None:
    """``remember_input`` of each; in an object store several at a time, for each waits for requests."""
    threads = AT_ONCE if store.shared else 1
    for _ in ordered_map(
        lambda found: remember_input(store, found), inputs, threads=threads, ahead=2 * threads
    ):
        pass


def is_stored(store: ArtifactStore, key: ArtifactKey) -> bool:
    """Whether something of ours that is small and written once is there: read on a disk, looked up elsewhere."""
    return store.holds(key) if store.shared else store.exists(key)


def put_back_inputs(store: ArtifactStore, state: ProjectState, cells: Collection[Cell]) -> list[Input]:
    """Keep the contents that cells' inputs have now and the store has not: a kill or a hand took them away.

    Returns:
        The inputs whose content was put back.
    """
    known = {input_key(found): found for found in state.inputs(cells)}
    missing = [known[key] for key in store.missing(known)]
    remember_inputs(store, missing)
    return missing


def input_key(found: Input) -> ArtifactKey:
    """Where an input's content is kept."""
    cell = cell_of(NODES[found.asset].dimension, found.partition)
    dataset, name = (cell.dataset, cell.category_name) if cell.category else (None, None)
    return ArtifactKey(found.asset, dataset, name, cell.detector or None, found.version)


def make_demo_images(project: Project) -> None:
    """Generate the demo set where a dataset of layout ``demo`` has no images yet."""
    for dataset in project.datasets.values():
        if dataset.layout == "demo" and not Path(dataset.root).exists():
            from uad_orchestrator.datasets.demo_generator import generate_demo

            generate_demo(Path(dataset.root))
