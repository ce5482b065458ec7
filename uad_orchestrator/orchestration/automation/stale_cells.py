"""The sensor ``stale_cells``: asks for what the plan lists. Off until it is switched on in the UI."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from uad_orchestrator.orchestration.automation.tick_digests import LEFT_TO_THE_RUN, digests_within
from uad_orchestrator.orchestration.automation.weight_watch import look_at_files
from uad_orchestrator.orchestration.cells.board import board_version
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_order
from uad_orchestrator.orchestration.dagster_instance.launchers.lost_runs import fail_lost_runs
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import AssetJob, cells_at_work, runs_at_work
from uad_orchestrator.orchestration.planning.plan import Planner
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import open_store
from uad_orchestrator.orchestration.versions.weight_paths import weight_files
from uad_orchestrator.project import Project, ProjectError, read_again
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.digests import digest_of

STALE_CELLS = "stale_cells"
BOARD = "leaderboard"
INTERVAL = 60
CELLS_PER_TICK = 20
TRIES = 3
"""Of one version of a cell: the first, and two retries."""

HASHING_SECONDS = 10.0
"""Of the 20 s that we give a tick, as Dagster ends one after 60; planning a large grid takes some seconds."""


def stale_cells_sensor(project: Project, jobs: Sequence[AssetJob | dg.JobDefinition]) -> dg.SensorDefinition:
    """Asks for the plan's cells, a few per tick, then for the leaderboard.

    Args:
        project: as the code location was loaded.
        jobs: ``cell`` and ``leaderboard``, and ``cells`` where it is there.
    """
    loaded, groups = loaded_cells(project), loaded_groups(project)

    @dg.sensor(
        name=name_in_dagster(project, STALE_CELLS),
        jobs=jobs,
        minimum_interval_seconds=INTERVAL,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"Runs whatever `uad plan` lists: {CELLS_PER_TICK} cells per tick at most, a failed cell is "
            f"retried {TRIES - 1} times per version. Off until it is switched on."
        ),
    )
    def stale_cells(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            now_project = read_again(project)
        except ProjectError as error:
            return dg.SkipReason(f"uad.yaml cannot be read, nothing was planned: {error}")
        tries = Tries.from_cursor(context.cursor)
        tick = _StaleTick(now_project, context.instance, tries, groups)
        requests = tick.ask(loaded)
        for note in tick.notes:
            context.log.warning(note)
        return tick_result(requests, tries.to_cursor(), tick.notes, "all cells are fresh or at work")

    return stale_cells


@dataclass
class Tries:
    """How often each stale cell, and the leaderboard, was asked for in the version it should have."""

    of_key: dict[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, text: str | None) -> Tries:
        """What the last tick remembered."""
        try:
            values = json.loads(text or "{}")
            return cls({cell: (str(version), int(n)) for cell, (version, n) in values.items()})
        except (ValueError, TypeError, AttributeError):
            return cls()

    def to_cursor(self) -> str:
        """For the next tick."""
        return json.dumps(self.of_key)

    def count(self, key: str, version: str) -> int:
        """How often this version was asked for."""
        known, tries = self.of_key.get(key, ("", 0))
        return tries if known == version else 0

    def add(self, key: str, version: str) -> None:
        """It is asked for once more."""
        self.of_key[key] = (version, self.count(key, version) + 1)

    def forget_all_but(self, stale: set[str]) -> None:
        """What became fresh starts anew."""
        self.of_key = {key: entry for key, entry in self.of_key.items() if key in stale}


@dataclass(frozen=True)
class _Wanted:
    """A stale cell, what of it is to be run, and in which version."""

    cell: Cell
    assets: tuple[str, ...]
    version: str


@dataclass
class _StaleTick:
    project: Project
    instance: dg.DagsterInstance
    tries: Tries
    groups: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)

    def ask(self, loaded: frozenset[str]) -> list[dg.RunRequest]:
        """Plan, and ask for what is stale, can be computed, is not at work and has tries left."""
        fail_dead_runs(self.instance)
        # Before the plan: what ends meanwhile is looked at next time. And before the runs that got lost are failed:
        # Dagster may be about to try them again.
        at_work = cells_at_work(self.instance, self.project)
        self.notes += fail_lost_runs(self.instance).told()
        state = ProjectState(self.project, digests_within(self.project, HASHING_SECONDS))
        store = open_store(self.project)
        plan = Planner(state, store, self.instance).plan(Selection())
        stale = plan.by_cell()
        board_is_stale = any(node.asset == BOARD for node in plan.stale)
        self.tries.forget_all_but({cell.key for cell in stale} | ({BOARD} if board_is_stale else set()))
        known, missing = only_loaded(list(stale), loaded)
        self.notes += [missing] if missing else []
        wanted = [self._wanted(state, cell, stale[cell]) for cell in known if cell.key not in at_work]
        requests = self._requests([w for w in wanted if w is not None])
        if board_is_stale and not requests and not at_work:
            return self._request_board(state, store)
        return requests

    def _wanted(self, state: ProjectState, cell: Cell, stale: tuple[str, ...]) -> _Wanted | None:
        """What to run of a cell; None, with a note, where an input keeps it from being computed."""
        versions: dict[str, str] = {}
        for asset in stale:
            try:
                versions[asset] = state.version(asset, cell)
            except InputUnavailable as error:
                if LEFT_TO_THE_RUN in str(error):
                    stamps, _ = look_at_files(weight_files(self.project, cell))
                    return _Wanted(cell, CELL_ASSETS, digest_of(stamps))
                self.notes.append(f"{cell.key}: {error}")
                break
        return _Wanted(cell, tuple(versions), digest_of(versions)) if versions else None

    def _requests(self, wanted: Sequence[_Wanted]) -> list[dg.RunRequest]:
        order = recorded_order(self.instance, self.project, "memory_bank")
        of_cell = {one.cell: one for one in wanted if self._may_be_tried(one)}
        requests: list[dg.RunRequest] = []
        for group, cells in in_runs(self.project, of_cell, self.groups)[:CELLS_PER_TICK]:
            keys = {}
            for cell in cells:
                version = of_cell[cell].version
                keys[cell] = run_key(cell, version, self.tries.count(cell.key, version), order)
                self.tries.add(cell.key, version)
            requests.append(request_run(self.project, group, keys, STALE_CELLS, of_cell[cells[0]].assets))
        return requests

    def _may_be_tried(self, one: _Wanted) -> bool:
        tries = self.tries.count(one.cell.key, one.version)
        if tries >= TRIES:
            self.notes.append(f"{one.cell.key} failed {tries} times in this version: see its last run")
        return tries < TRIES

    def _request_board(self, state: ProjectState, store: ArtifactStore) -> list[dg.RunRequest]:
        version = board_version(state, store)
        tries = self.tries.count(BOARD, version)
        job = name_in_dagster(self.project, BOARD)
        if tries >= TRIES or runs_at_work(self.instance, job):
            return []
        self.tries.add(BOARD, version)
        last = self.instance.get_latest_materialization_event(asset_key(self.project, BOARD))
        key = f"{BOARD}:{version[:16]}:{tries}:{last.timestamp if last else 0}"
        return [dg.RunRequest(run_key=key, job_name=job, tags={"uad/asked_by": STALE_CELLS})]
