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
from uad_orchestrator.orchestration.cells.cell_stages import open_detector
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.state import InputUnavailable
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.collect import GarbageReport, Removed, collect_garbage
from uad_orchestrator.storage.locations import folder_usage

UNDER_WAY = [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


def collect(project: Project, instance: dg.DagsterInstance, *, dry_run: bool) -> GarbageReport:
    """Remove what is not needed; ``dry_run`` only says what would go."""
    store = open_store(project)
    records = instance.get_run_records(RunsFilter(statuses=UNDER_WAY))
    active = {record.dagster_run.run_id for record in records}
    current, local = current_artifacts(project), Path(project.storage.local)
    found = collect_garbage(store, current, keep=project.storage.keep, active=active, dry_run=dry_run)
    trainings = abandoned(local / TRAININGS, {key.version for key in current}, dry_run=dry_run)
    spaces = current_spaces(project)
    embeddings = [] if spaces is None else abandoned(local / EMBEDDINGS, spaces, dry_run=dry_run)
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


def current_spaces(project: Project) -> set[str] | None:
    """The spaces of the embedding cache that the project's cells use, and those of texts, which are small and known
    to a loaded text tower alone; None where a cell cannot be read now."""
    state, store = open_state(project), open_store(project)
    spaces = {texts.parent.name for texts in (Path(project.storage.local) / EMBEDDINGS).glob(f"*/{TEXTS}")}
    try:
        for cell in state.cells:
            state.version("memory_bank", cell)  # whatever cannot be read of a cell is said here
            stream = open_detector(CellRun(cell, state, store), EmbedderPool()).stream
            spaces |= {stream.space} if stream.cache is not None else set()
    except InputUnavailable:
        return None
    return spaces


def current_artifacts(project: Project) -> set[ArtifactKey]:
    """The artifacts every cell has, or should have, as the project stands."""
    state, store = open_state(project), open_store(project)
    keys = set()
    for cell in state.cells:
        for asset in STAGES:
            try:
                keys.add(CellRun(cell, state, store).key(asset))
            except InputUnavailable:
                break  # cannot be computed now; its artifacts are among the newest `keep`
    return keys
