"""Garbage collection of a project: what its current cells, and runs under way, still need is kept."""

from __future__ import annotations

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from uad_orchestrator.orchestration.cell_run import CellRun
from uad_orchestrator.orchestration.graph import STAGES
from uad_orchestrator.orchestration.resources import open_state, open_store
from uad_orchestrator.orchestration.state import InputUnavailable
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.collect import GarbageReport, collect_garbage

UNDER_WAY = [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


def collect(project: Project, instance: dg.DagsterInstance, *, dry_run: bool) -> GarbageReport:
    """Remove what is not needed; ``dry_run`` only says what would go."""
    store = open_store(project)
    active = {run.run_id for run in instance.get_runs(filters=RunsFilter(statuses=UNDER_WAY))}
    return collect_garbage(
        store, current_artifacts(project), keep=project.storage.keep, active=active, dry_run=dry_run
    )


def current_artifacts(project: Project) -> set[ArtifactKey]:
    """The artifacts every cell has, or should have, as the project stands."""
    state, store = open_state(project), open_store(project)
    keys = set()
    for cell in state.cells:
        for asset in STAGES:
            try:
                keys.add(CellRun(cell, state, store).key(asset))
            except InputUnavailable:
                break  # can not be computed now; its artifacts are among the newest `keep`
    return keys
