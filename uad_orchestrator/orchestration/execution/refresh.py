"""Runs the plan: changed inputs are recorded, stale cells are run group by group, the leaderboard comes last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any
from uuid import uuid4

import dagster as dg

from uad_orchestrator.orchestration.cells.board import board_key, board_version
from uad_orchestrator.orchestration.cells.cell_run import EMBEDDING_COUNTS
from uad_orchestrator.orchestration.cells.findings.cell_warnings import project_findings
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import report_inputs
from uad_orchestrator.orchestration.execution.cell_runs import (
    CellOutcome,
    CellRunner,
    CellTask,
    Failed,
    Materialized,
    Skipped,
)
from uad_orchestrator.orchestration.execution.workers import Group, run_groups, run_here
from uad_orchestrator.orchestration.planning.plan import Plan, Planner
from uad_orchestrator.orchestration.planning.rerecording import (
    RecordedGrid,
    Rerecord,
    apply_rerecords,
    find_rerecords,
)
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.groups import embedding_recipe
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import Input, InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import (
    input_key,
    inputs_stamp,
    make_demo_images,
    open_index,
    open_state,
    open_store,
    put_back_inputs,
)
from uad_orchestrator.project import Project
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.collect import remove_dead_drafts
from uad_orchestrator.storage.provenance import ProvenanceError

OnStart = Callable[[int], None]
OnCell = Callable[[CellOutcome], None]


@dataclass
class RefreshResult:
    """What a refresh did."""

    materialized: list[Materialized] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    rerecorded: list[Rerecord] = field(default_factory=list)
    warnings: list[CellWarning] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, outcome: CellOutcome) -> None:
        """Take in what became of a cell."""
        self.materialized += outcome.materialized
        self.failed += outcome.failed
        self.skipped += outcome.skipped

    @property
    def embedded_images(self) -> int:
        """Images sent through an embedder; one that went through two embedders counts twice."""
        return sum(node.embedded_images for node in self.materialized)

    @property
    def slow_fetching(self) -> str | None:
        """A sentence where embeddings were waited for longer than it takes to compute them."""
        nodes = [node for node in self.materialized if node.fetched_embeddings]
        count = sum(node.fetched_embeddings for node in nodes)
        waited = sum(node.fetched_seconds for node in nodes)
        saved = sum(node.fetched_embeddings * node.embedded_seconds_each for node in nodes)
        if waited <= saved:
            return None
        where = "here" if any(node.embedded_views for node in nodes) else "where they were computed"
        return (
            f"{count} embeddings fetched from the store in {waited:.1f} s; computing one takes about "
            f"{saved / count:.3f} s {where}, {saved:.1f} s in all: `storage: {{embeddings: local}}` may be faster"
        )

    def to_json(self) -> dict[str, Any]:
        """``uad refresh --json``."""
        return {
            "materialized": [
                {name: value for name, value in asdict(node).items() if name not in EMBEDDING_COUNTS}
                for node in self.materialized
            ],
            "warnings": [warning.model_dump(mode="json") for warning in self.warnings],
            "failed": [asdict(node) for node in self.failed],
            "skipped": [asdict(node) for node in self.skipped],
            "inputs": [
                {"asset": found.asset, "partition": found.partition, "version": found.version}
                for found in self.inputs
            ],
            "restamped": [again.to_json() for again in self.rerecorded],
            "embedded_images": self.embedded_images,
            "embedded_views": sum(node.embedded_views for node in self.materialized),
            "fetched_embeddings": sum(node.fetched_embeddings for node in self.materialized),
            "seconds": round(self.seconds, 3),
        }


def refresh(
    project: Project,
    instance: dg.DagsterInstance,
    *,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    workers: int = 1,
    rehash: bool = False,
    within_run: str | None = None,
    on_start: OnStart = lambda cells: None,
    on_cell: OnCell = lambda outcome: None,
) -> RefreshResult:
    """Bring the selected cells up to date, recorded in Dagster's instance.

    Args:
        project: the project as its file says now.
        instance: where runs are recorded.
        selection: narrows the grid.
        workers: processes; 1 runs in this one.
        rehash: fingerprint every file anew, whatever is remembered of it; artifacts are held to their checksums.
        within_run: the run of a group of cells that this is, by its id: it has one process, and leaves the board alone.
        on_start: called once with the number of cells to run.
        on_cell: called with each cell's outcome as it ends.
    """
    started = time.perf_counter()
    fail_dead_runs(instance)
    make_demo_images(project)
    state, store = open_state(project, rehash=rehash), open_store(project)
    remove_dead_drafts(store)
    if rehash:
        set_aside_damaged(state, store, selection)
    with store.listed():
        plan = Planner(state, store, instance).plan(selection, board=not within_run)
        changed = report_inputs(instance, project, plan.inputs, store)
        put_back_inputs(store, state, [cell for cell in state.cells if selection.covers(cell)])
    result = RefreshResult(
        inputs=changed,
        failed=[Failed("dataset_category", place, None, why) for place, why in plan.unreachable.items()],
    )
    tasks = [CellTask(cell, assets, inputs_stamp(state, cell)) for cell, assets in plan.by_cell().items()]
    refresh_id = uuid4().hex
    on_start(len(tasks))
    groups = group_tasks(tasks, state)
    if within_run:
        outcomes = run_here(CellRunner(project, instance, refresh_id, within_run=within_run), groups)
    else:
        outcomes = run_groups(project, instance, refresh_id, groups, workers)
    for outcome in outcomes:
        result.add(outcome)
        on_cell(outcome)
    if tasks or plan.inputs or plan.rerecorded:
        result.rerecorded = rerecord(state, instance, selection)
    if (
        not within_run
        and selection.names("leaderboard")
        and (tasks or board_is_stale(plan) or (rehash and board_is_lost(state, store)))
    ):
        result.add(CellRunner(project, instance, refresh_id).run_leaderboard())
    result.warnings, faults = project_findings(state, store, selection)
    result.failed += [Failed("dataset_category", name, None, str(error)) for name, error in faults.items()]
    if result.materialized:
        open_index(store).settle()
    result.seconds = time.perf_counter() - started
    return result


def set_aside_damaged(state: ProjectState, store: ArtifactStore, selection: Selection) -> None:
    """Look through all artifacts that the selected cells stand on, those too that nothing is going to read.

    Contents of inputs are among them, which are put back, and the board, which is made again.
    """
    cells = [cell for cell in state.cells if selection.covers(cell)]
    for found in state.inputs(cells):
        with suppress(ArtifactError, ProvenanceError):
            store.open_dir(input_key(found))
    for cell in cells:
        for asset in STAGES:
            with suppress(InputUnavailable, ArtifactError, ProvenanceError):
                store.open_dir(cell.artifact_key(asset, state.version(asset, cell)))
    with suppress(ArtifactError, ProvenanceError):
        store.open_dir(board_key(board_version(state, store)))


def group_tasks(tasks: Sequence[CellTask], state: ProjectState) -> list[Group]:
    """Cells that share embedder, preset and category go together, so that each image is embedded once.

    Groups of one embedder stand next to each other: a worker that goes on to the next keeps its backbone.
    """

    def embeddings(cell: Cell) -> tuple[str, str]:
        return embedding_recipe(state.entry(cell)), cell.category

    ordered = sorted(tasks, key=lambda task: (*embeddings(task.cell), task.cell.detector))
    return [list(group) for _, group in groupby(ordered, key=lambda task: embeddings(task.cell))]


def rerecord(state: ProjectState, instance: dg.DagsterInstance, selection: Selection) -> list[Rerecord]:
    """Record again what Dagster has in the right version with other inputs; nothing is computed."""
    recorded = RecordedGrid(instance, state.project)
    cells = [cell for cell in state.cells if selection.covers(cell)]
    found = [r for r in find_rerecords(state, recorded, cells) if selection.names(r.asset)]
    return apply_rerecords(state, recorded, found)


def board_is_stale(plan: Plan) -> bool:
    """Whether the plan names the leaderboard."""
    return any(node.asset == "leaderboard" for node in plan.stale)


def board_is_lost(state: ProjectState, store: ArtifactStore) -> bool:
    """Whether the store does not hold the board as it should be now: it was set aside as damaged, say."""
    return not store.holds(board_key(board_version(state, store)))
