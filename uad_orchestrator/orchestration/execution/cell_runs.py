"""Runs cells in this process, each as a run of the job ``cell`` in Dagster's instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.assets.jobs import benchmark_definitions, project_jobs
from uad_orchestrator.orchestration.assets.materialize import DAMAGED
from uad_orchestrator.orchestration.assets.partitions import project_partitions
from uad_orchestrator.orchestration.assets.resources import INPUTS_TAG
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.dagster_instance.dead_runs import NOT_TRIED_AGAIN, process_tags
from uad_orchestrator.orchestration.dagster_instance.event_log import data_version
from uad_orchestrator.orchestration.dagster_instance.group_tags import WITHIN
from uad_orchestrator.orchestration.dagster_instance.job_runs import (
    failed_in,
    failure_of,
    materialized_in,
    noted_in_failures,
    run_assets,
    was_interrupted,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, STAGES, Cell
from uad_orchestrator.project import Project

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster's event stream belongs into its log, not into the terminal; failures come back as outcomes."""


@dataclass(frozen=True)
class CellTask:
    """A cell with the assets of it that are to be materialised, in order of dependency.

    ``inputs`` is the stamp of the input versions that are recorded already (``resources.inputs_stamp``).
    """

    cell: Cell
    assets: tuple[str, ...]
    inputs: str = ""


@dataclass(frozen=True)
class Materialized:
    """An asset of a cell that was materialised; ``reused`` if its artifact was there already.

    ``fetched_embeddings`` came from the store and were waited for so long; to embed one would have taken
    ``embedded_seconds_each``, here or, where nothing was embedded here, on the machine that stored it.
    """

    asset: str
    category: str | None
    detector: str | None
    version: str
    reused: bool
    seconds: float
    embedded_images: int = 0
    embedded_views: int = 0
    fetched_embeddings: int = 0
    fetched_seconds: float = 0.0
    embedded_seconds_each: float = 0.0


@dataclass(frozen=True)
class Failed:
    """An asset of a cell that failed, and why."""

    asset: str
    category: str | None
    detector: str | None
    error: str


@dataclass(frozen=True)
class Skipped:
    """An asset that was not tried because one above it failed."""

    asset: str
    category: str | None
    detector: str | None


@dataclass(frozen=True)
class CellOutcome:
    """What became of a cell's assets in one run."""

    cell: Cell
    materialized: tuple[Materialized, ...] = ()
    failed: tuple[Failed, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass
class CellRunner:
    """Runs cells of one project; the embedder stays loaded between them.

    Args:
        project: its partitions and its names in Dagster; each run reads the settings again.
        instance: where the runs are recorded.
        refresh_id: stands in the tags of every run.
        devices: where this worker's networks run; empty: where the project file says.
        within_run: the run that works these through, by its id.
    """

    project: Project
    instance: dg.DagsterInstance
    refresh_id: str
    devices: tuple[str, ...] = ()
    within_run: str | None = None
    _definitions: dg.Definitions = field(init=False, repr=False)

    def __post_init__(self) -> None:
        partitions = project_partitions(self.project)
        jobs = project_jobs(self.project, partitions)
        self._definitions = benchmark_definitions(self.project, partitions, jobs, EmbedderPool(self.devices))

    def run(self, task: CellTask) -> CellOutcome:
        """Materialise a cell's assets in one run of the job ``cell``.

        Where an artifact turns out to be damaged a second run computes it again, with what failed for it.
        """
        outcome, damaged = self._attempt(task)
        for _ in STAGES:  # each attempt can meet one more
            if not damaged:
                break
            undone = [*(part.asset for part in outcome.failed), *(part.asset for part in outcome.skipped)]
            wanted = {*damaged, *undone}
            assets = tuple(asset for asset in CELL_ASSETS if asset in wanted)
            again, damaged = self._attempt(replace(task, assets=assets))
            outcome = replace(again, materialized=(*outcome.materialized, *again.materialized))
        return outcome

    def _attempt(self, task: CellTask) -> tuple[CellOutcome, list[str]]:
        """What one run did, and the assets whose artifacts it found damaged."""
        tags = {INPUTS_TAG: task.inputs} if task.inputs else {}
        result = self._execute("cell", task.assets, task.cell.key, tags)
        return read_outcome(task.cell, task.assets, result), noted_in_failures(result, DAMAGED)

    def run_leaderboard(self) -> CellOutcome:
        """Materialise the leaderboard."""
        result = self._execute("leaderboard", ("leaderboard",), None, {})
        return read_outcome(None, ("leaderboard",), result)

    def _execute(
        self, job: str, assets: tuple[str, ...], partition: str | None, tags: Mapping[str, str]
    ) -> dg.ExecuteInProcessResult:
        result = run_assets(
            self._definitions,
            name_in_dagster(self.project, job),
            [asset_key(self.project, asset) for asset in assets],
            self.instance,
            partition=partition,
            tags={**tags, **refresh_tags(self.refresh_id, self.within_run)},
            run_config=QUIET,
        )
        if was_interrupted(result):
            raise KeyboardInterrupt  # Dagster ends the run and goes on as if it had failed: the rest must not start
        return result


def refresh_tags(refresh_id: str, within_run: str | None = None) -> dict[str, str]:
    """Tags by which a run of a dead process is recognised; whoever killed it does not want the daemon to try again."""
    outer = {WITHIN: within_run} if within_run else {}
    return {"uad/refresh_id": refresh_id, **process_tags(), **NOT_TRIED_AGAIN, **outer}


def read_outcome(
    cell: Cell | None, assets: tuple[str, ...], result: dg.ExecuteInProcessResult
) -> CellOutcome:
    """What a run did, read from its events."""
    place = {"category": cell.category if cell else None, "detector": cell.detector if cell else None}
    done: dict[str, Materialized] = {}
    failed: dict[str, Failed] = {}
    for event in materialized_in(result):
        asset = event.asset_key.path[-1]
        done[asset] = _materialized(asset, place, event)
    for key, error in failed_in(result).items():
        step = key.split("__")[-1]
        asset = step if step in assets else assets[0]
        failed[asset] = Failed(asset, error=error, **place)
    if not done and not failed and (reason := failure_of(result)):
        failed[assets[0]] = Failed(assets[0], error=reason, **place)
    skipped = [asset for asset in assets if asset not in done and asset not in failed]
    return CellOutcome(
        cell or Cell("", ""),
        tuple(done.values()),
        tuple(failed.values()),
        tuple(Skipped(asset, **place) for asset in skipped),
    )


def _materialized(asset: str, place: Mapping[str, Any], event: dg.AssetMaterialization) -> Materialized:
    def value(name: str, default: Any) -> Any:
        return event.metadata[name].value if name in event.metadata else default

    return Materialized(
        asset,
        place["category"],
        place["detector"],
        version=data_version(event) or "",
        reused=bool(value("reused", False)),
        seconds=float(value("seconds", 0.0)),
        embedded_images=int(value("embedded_images", 0)),
        embedded_views=int(value("embedded_views", 0)),
        fetched_embeddings=int(value("fetched_embeddings", 0)),
        fetched_seconds=float(value("fetched_seconds", 0.0)),
        embedded_seconds_each=float(value("embedded_seconds_each", 0.0)),
    )
