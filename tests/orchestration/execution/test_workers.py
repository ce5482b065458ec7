"""Worker processes: the same numbers whatever their count, and a dead one costs its cell only."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from tests.orchestration.workshop import Workshop
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.execution.cell_runs import CellOutcome, CellTask
from uad_orchestrator.orchestration.execution.workers import run_groups
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, Cell

DATASETS = {"alpha": ["disc", "ring"]}


def scores(home: Path) -> dict[str, list[tuple[str, float]]]:
    found = sorted((home / ".uad/artifacts/score_table").rglob("scores.parquet"))
    return {
        str(path.relative_to(home)): [(row.image, row.score) for row in read_scores(path.parent)]
        for path in found
    }


def test_same_numbers_on_any_number_of_workers(tmp_path: Path) -> None:
    one, two = (Workshop.build(tmp_path / name, DATASETS) for name in ("one", "two"))
    assert not one.refresh(workers=1).failed
    result = two.refresh(workers=2)
    assert not result.failed
    assert result.embedded_images == 40  # cells that share embeddings went to one worker
    assert len(scores(one.home)) == 6
    assert scores(one.home) == scores(two.home)


def test_a_killed_worker_costs_the_cell_in_flight(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", DATASETS)
    groups = [
        [CellTask(Cell(f"alpha/{name}", detector), CELL_ASSETS) for detector in ("dino", "patchcore")]
        for name in ("disc", "ring")
    ]
    outcomes: list[CellOutcome] = []
    killed = None
    with open_instance(workshop.project) as instance:
        for outcome in run_groups(workshop.project, instance, "test", groups, workers=2):
            outcomes.append(outcome)
            if killed is None:
                killed = next(
                    child
                    for child in psutil.Process().children()
                    if any("spawn_main" in part for part in child.cmdline())
                )
                os.kill(killed.pid, signal.SIGKILL)
    assert {outcome.cell for outcome in outcomes} == {task.cell for group in groups for task in group}
    lost = [failed for outcome in outcomes for failed in outcome.failed]
    assert len(lost) <= 1  # none, if the worker had just answered and was idle
    assert all("worker process died" in failed.error for failed in lost)
    assert not workshop.refresh().failed
    assert workshop.plan().stale == ()
