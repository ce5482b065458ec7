"""Garbage collection of a project: what its current cells, and runs under way, still need is kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from uad_orchestrator.detectors.open_clip.prompts import TEXTS
from uad_orchestrator.orchestration.cells.artifact_files import EMBEDDINGS, TRAININGS
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.cells.open_detector import open_detector
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.state import InputUnavailable
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts.locations import Location, folder_usage
from uad_orchestrator.storage.collect import GarbageReport, Removed, collect_garbage
from uad_orchestrator.storage.shared_embeddings import SHARED, shared_spaces

SHARED_DAYS = 7
"""Other machines may work with other presets, by a project file that is not here yet."""

UNDER_WAY = [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


def collect(project: Project, instance: dg.DagsterInstance, *, dry_run: bool) -> GarbageReport:
    """Remove what is not needed; ``dry_run`` only says what would go."""
    store = open_store(project)
    records = instance.get_run_records(RunsFilter(statuses=UNDER_WAY))
    active = {record.dagster_run.run_id for record in records}
    current, unreadable = current_artifacts(project)
    away = {place.partition("/")[0] for place in project.unreachable}
    with store.listed():
        stored = store.list_folders() if away or unreadable else ()
        pinned = {key for key in stored if key.dataset in away or key.cell in unreadable}
        found = collect_garbage(
            store, current, keep=project.storage.keep, pinned=pinned, active=active, dry_run=dry_run
        )
    if away or unreadable:  # what of the caches is theirs can be said only when they are back
        return found
    local, versions = Path(project.storage.local), {key.version for key in current}
    trainings = abandoned(local / TRAININGS, versions, dry_run=dry_run)
    spaces = current_spaces(project)
    embeddings = abandoned(local / EMBEDDINGS, spaces, dry_run=dry_run)
    if str(project.storage.root) != str(local):
        embeddings += abandoned_shared(store.location, spaces, dry_run=dry_run)
    return replace(found, leftovers=(*found.leftovers, *trainings, *embeddings))


def abandoned(
    folder: Path, wanted: Collection[str], *, dry_run: bool, min_age_seconds: float = 3600
) -> list[Removed]:
    """Remove the folders in ``folder`` that are not ``wanted`` and that nobody has written to for a while: what
    trainings left that were cut off, embeddings of presets and weights that no detector uses any more."""
    removed = []
    for left in sorted(folder.iterdir()) if folder.is_dir() else ():
        size, changed = folder_usage(left)
        if left.name in wanted or time.time() - changed < min_age_seconds:
            continue
        if not dry_run:
            shutil.rmtree(left)
        removed.append(Removed(str(left), size))
    return removed


def abandoned_shared(location: Location, wanted: Collection[str], *, dry_run: bool) -> list[Removed]:
    """Remove from the store the embeddings of presets and weights that no detector uses here, and that no machine has
    added to for ``SHARED_DAYS``."""
    removed = []
    for space, files in sorted(shared_spaces(location).items()):
        changed = max(file.changed for file in files.values())
        if space in wanted or time.time() - changed < SHARED_DAYS * 86400:
            continue
        if not dry_run:
            location.remove_files(files)
        size = sum(file.bytes for file in files.values())
        removed.append(Removed(location.describe(SHARED / space), size))
    return removed


def current_spaces(project: Project) -> set[str]:
    """The spaces of the embedding cache that the project's cells use, all cells of a detector the same, and those of
    texts, which are small and known to a loaded text tower alone."""
    state, store = open_state(project), open_store(project)
    spaces = {texts.parent.name for texts in (Path(project.storage.local) / EMBEDDINGS).glob(f"*/{TEXTS}")}
    for cell in {cell.detector: cell for cell in state.cells}.values():
        stream = open_detector(CellRun(cell, state, store), EmbedderPool()).stream
        spaces |= {stream.space} if stream.cache is not None else set()
    return spaces


def current_artifacts(project: Project) -> tuple[set[ArtifactKey], set[tuple[str, str, str]]]:
    """The artifacts every cell has, or should have, as the project stands; and the cells of which something cannot be
    read now, so that nobody can say what they need."""
    state = open_state(project)
    keys: set[ArtifactKey] = set()
    unreadable = set()
    for cell in state.cells:
        try:
            keys.update(cell.artifact_key(asset, state.version(asset, cell)) for asset in STAGES)
        except InputUnavailable:
            unreadable.add((cell.dataset, cell.category_name, cell.detector))
    return keys, unreadable
