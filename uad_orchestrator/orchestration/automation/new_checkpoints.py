"""The sensor ``new_checkpoints``: a tick looks at sizes and times; files are read in the cells' runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from uad_orchestrator.orchestration.automation.run_requests import (
    in_runs,
    loaded_cells,
    loaded_groups,
    only_loaded,
    request_run,
    run_key,
    tick_result,
)
from uad_orchestrator.orchestration.automation.tick_digests import digests_within
from uad_orchestrator.orchestration.automation.weight_watch import (
    TRIES,
    Asked,
    FileChange,
    Watch,
    look_at_files,
)
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_order, recorded_versions
from uad_orchestrator.orchestration.dagster_instance.launchers.lost_runs import fail_lost_runs
from uad_orchestrator.orchestration.dagster_instance.names import name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import (
    AssetJob,
    CellAtWork,
    cells_at_work,
    keys_of_success,
)
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.weight_paths import weight_files
from uad_orchestrator.project import Project, ProjectError, read_again
from uad_orchestrator.storage.digests import digest_of

NEW_CHECKPOINTS = "new_checkpoints"


def new_checkpoints_sensor(
    project: Project, jobs: Sequence[AssetJob | dg.JobDefinition]
) -> dg.SensorDefinition:
    """Asks for the cells of a weight file that changed, once it has stood still over two looks.

    Args:
        project: as the code location was loaded.
        jobs: ``cell``, and ``cells`` where it is there.
    """
    loaded, groups = loaded_cells(project), loaded_groups(project)

    @dg.sensor(
        name=name_in_dagster(project, NEW_CHECKPOINTS),
        jobs=jobs,
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
        tick = _CheckpointTick(now_project, context.instance, watch, groups)
        requests = tick.look(loaded)
        for fault in tick.notes:
            context.log.warning(fault)
        nothing = f"{len(watch.files)} weight files: no change"
        if watch.asked:
            nothing = f"waiting for {', '.join(sorted(watch.asked))}: asked for, not materialised yet"
        return tick_result(requests, watch.to_cursor(), tick.notes, nothing)

    return new_checkpoints


@dataclass
class _CheckpointTick:
    """One look at all weight files of the project."""

    project: Project
    instance: dg.DagsterInstance
    watch: Watch
    groups: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)

    def look(self, loaded: frozenset[str]) -> list[dg.RunRequest]:
        """The runs to ask for; the watch remembers what was seen."""
        self.notes += fail_lost_runs(self.instance).told()  # of whatever job: this sensor is always on
        cells_of = self._cells_by_file(loaded)
        now = time.time()
        stamps, faults = look_at_files(list(cells_of))
        self.notes += [f"weight file {fault}" for fault in faults.values()]
        asked = dict(self.watch.waiting)
        for change in self.watch.look(stamps, now):
            for cell in self._outdated(change, cells_of[change.path]):
                asked[cell.key] = change
        if not asked and not self.watch.asked:
            return []
        return self._request(asked, {cell.key for cells in cells_of.values() for cell in cells}, now)

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

    def _request(self, asked: dict[str, FileChange], watched: set[str], now: float) -> list[dg.RunRequest]:
        """Ask for the cells, except those a run is under way for: it reads the new file, or they wait.

        And again for those whose run died before it began, as Dagster does not: no run is there, and no result.
        """
        fail_dead_runs(self.instance)
        at_work = cells_at_work(self.instance, self.project)
        checkpoints = recorded_order(self.instance, self.project, "checkpoint")
        self.watch.waiting = {}
        self.watch.asked = {key: one for key, one in self.watch.asked.items() if key in watched}
        tries = self._lost(asked, at_work, checkpoints, now)
        asked = {key: self.watch.asked[key].change for key in tries} | asked
        keys = self._keys({key: change for key, change in asked.items() if key in watched}, tries, at_work)
        requests = []
        for group, cells in in_runs(self.project, keys, self.groups):
            request = request_run(self.project, group, {cell: keys[cell] for cell in cells}, NEW_CHECKPOINTS)
            requests.append(request)
            for key in (cell.key for cell in cells):
                self.watch.asked[key] = Asked(
                    asked[key], tries.get(key, 0) + 1, now, checkpoints.get(key, 0), str(request.run_key)
                )
        return requests

    def _keys(
        self, asked: Mapping[str, FileChange], tries: Mapping[str, int], at_work: Mapping[str, CellAtWork]
    ) -> dict[Cell, str]:
        """The cells that no run is under way for, each with what it is asked for by; others are waited for."""
        order = recorded_order(self.instance, self.project, "memory_bank")
        keys = {}
        for key, change in sorted(asked.items()):
            if _reads_it_anyway(at_work.get(key), change):
                continue
            if key in at_work:
                self.watch.waiting[key] = change
                continue
            cell, before = Cell.from_key(key), tries.get(key, 0)
            what = [change.path, *change.stamp, *([before] if before else [])]
            keys[cell] = run_key(cell, digest_of(what), change.number, order)
        return keys

    def _lost(
        self,
        asked: Mapping[str, FileChange],
        at_work: Collection[str],
        checkpoints: Mapping[str, int],
        now: float,
    ) -> dict[str, int]:
        """The cells whose run never came, and how often they were asked for; who has come is waited for no more.

        A run of a group leaves alone what is fresh: its file was written anew with what it held before.
        """
        ended = keys_of_success(self.instance, {one.run for one in self.watch.asked.values() if one.run})
        lost = {}
        for key, before in sorted(self.watch.asked.items()):
            if checkpoints.get(key, 0) > before.order or before.run in ended or key in asked:
                del self.watch.asked[key]
            elif key not in at_work and before.is_due(now):
                if before.tries < TRIES:
                    lost[key] = before.tries
                    continue
                self.notes.append(
                    f"{key} was asked for {before.tries} times and never materialised: see its runs"
                )
                del self.watch.asked[key]
        return lost


def _reads_it_anyway(run: CellAtWork | None, change: FileChange) -> bool:
    """Whether a run that is queued, or started after the file came to be as it is, takes the change along."""
    return run is not None and (run.started is None or run.started > change.since)


def _version_or_none(state: ProjectState, cell: Cell) -> str | None:
    """The version of a cell's checkpoint; None where its file was not fingerprinted since it changed."""
    try:
        return state.version("checkpoint", cell)
    except InputUnavailable:
        return None
