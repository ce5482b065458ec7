"""The sensor ``new_checkpoints``: a tick looks at sizes and times; files are read in the cells' runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import dagster as dg

from uad_orchestrator.orchestration.automation.run_requests import (
    loaded_cells,
    only_loaded,
    request_cell,
    run_key,
    tick_result,
)
from uad_orchestrator.orchestration.automation.tick_digests import digests_within
from uad_orchestrator.orchestration.automation.weight_watch import FileChange, Watch, look_at_files
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_order, recorded_versions
from uad_orchestrator.orchestration.dagster_instance.names import name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import AssetJob, CellAtWork, cells_at_work
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.weight_paths import weight_files
from uad_orchestrator.project import Project, ProjectError, read_again
from uad_orchestrator.storage.digests import digest_of

NEW_CHECKPOINTS = "new_checkpoints"


def new_checkpoints_sensor(project: Project, job: AssetJob) -> dg.SensorDefinition:
    """Asks for the cells of a weight file that changed, once it has stood still over two looks."""
    loaded = loaded_cells(project)

    @dg.sensor(
        name=name_in_dagster(project, NEW_CHECKPOINTS),
        job=job,
        minimum_interval_seconds=project.automation.watch_checkpoints,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="A weight file changed and stands still again: its cells, and no others, are run once.",
    )
    def new_checkpoints(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            now_project = read_again(project)
        except ProjectError as error:
            return dg.SkipReason(f"uad.yaml cannot be read, nothing was looked at: {error}")
        watch = Watch.from_cursor(context.cursor)
        tick = _CheckpointTick(now_project, context.instance, watch)
        requests = tick.look(loaded)
        for fault in tick.notes:
            context.log.warning(fault)
        return tick_result(
            requests, watch.to_cursor(), tick.notes, f"{len(watch.files)} weight files: no change"
        )

    return new_checkpoints


@dataclass
class _CheckpointTick:
    """One look at all weight files of the project."""

    project: Project
    instance: dg.DagsterInstance
    watch: Watch
    notes: list[str] = field(default_factory=list)

    def look(self, loaded: frozenset[str]) -> list[dg.RunRequest]:
        """The runs to ask for; the watch remembers what was seen."""
        cells_of = self._cells_by_file(loaded)
        now = time.time()
        stamps, faults = look_at_files(list(cells_of))
        self.notes += [f"weight file {fault}" for fault in faults.values()]
        asked = dict(self.watch.waiting)
        for change in self.watch.look(stamps, now):
            for cell in self._outdated(change, cells_of[change.path]):
                asked[cell.key] = change
        if not asked:
            return []
        return self._request(asked, {cell.key for cells in cells_of.values() for cell in cells})

    def _cells_by_file(self, loaded: frozenset[str]) -> dict[str, list[Cell]]:
        cells = [Cell(category, detector) for category, detector in self.project.cells()]
        known, missing = only_loaded(cells, loaded)
        self.notes += [missing] if missing else []
        found: dict[str, list[Cell]] = {}
        for cell in known:
            for path in weight_files(self.project, cell):
                found.setdefault(path, []).append(cell)
        return found

    def _outdated(self, change: FileChange, cells: Iterable[Cell]) -> list[Cell]:
        """The cells a change is about.

        Of a file that was there when the watch began, those that were materialised from something else; what
        was never materialised is no matter of a changed checkpoint.
        """
        if not change.from_the_start:
            return list(cells)
        recorded = recorded_versions(self.instance, self.project, "checkpoint")
        state = ProjectState(self.project, digests_within(self.project, 0))
        return [
            cell
            for cell in cells
            if cell.key in recorded and recorded[cell.key] != _version_or_none(state, cell)
        ]

    def _request(self, asked: dict[str, FileChange], watched: set[str]) -> list[dg.RunRequest]:
        """Ask for the cells, except those a run is under way for: it reads the new file, or they wait."""
        fail_dead_runs(self.instance)
        at_work = cells_at_work(self.instance, self.project)
        order = recorded_order(self.instance, self.project, "memory_bank")
        self.watch.waiting = {}
        requests = []
        for key, change in sorted(asked.items()):
            if key not in watched or _reads_it_anyway(at_work.get(key), change):
                continue
            if key in at_work:
                self.watch.waiting[key] = change
                continue
            cell = Cell.from_key(key)
            name = run_key(cell, digest_of([change.path, *change.stamp]), change.number, order)
            requests.append(request_cell(self.project, cell, name, NEW_CHECKPOINTS))
        return requests


def _reads_it_anyway(run: CellAtWork | None, change: FileChange) -> bool:
    """Whether a run that is queued, or started after the file came to be as it is, takes the change along."""
    return run is not None and (run.started is None or run.started > change.since)


def _version_or_none(state: ProjectState, cell: Cell) -> str | None:
    """The version of a cell's checkpoint; None where its file was not fingerprinted since it changed."""
    try:
        return state.version("checkpoint", cell)
    except InputUnavailable:
        return None
