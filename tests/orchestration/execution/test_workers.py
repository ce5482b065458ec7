"""Worker processes: the same numbers whatever their count, and a dead one costs its cell only."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.orchestration.workshop import SIDE, Workshop
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance, reference_to
from uad_orchestrator.orchestration.execution import workers as execution_workers
from uad_orchestrator.orchestration.execution.cell_runs import CellOutcome, CellTask
from uad_orchestrator.orchestration.execution.workers import WorkerPool, run_groups
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, Cell
from uad_orchestrator.orchestration.versions.stores import open_store

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


def test_workers_take_the_devices_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    started: list[list[str]] = []

    class Pool:
        def __init__(self, project: Any, reference: Any, refresh_id: str, devices: list[str]) -> None:
            started.append(devices)

        def run(self, groups: deque[deque[CellTask]]) -> Iterator[CellOutcome]:
            yield from ()

    monkeypatch.setattr(execution_workers, "WorkerPool", Pool)
    groups = [[CellTask(Cell("alpha/disc", name), CELL_ASSETS)] for name in ("dino", "patchcore", "bright")]
    for runtime in ({"devices": [0, 1]}, {"device": "cuda"}):
        workshop.edit(lambda values, runtime=runtime: values.update(runtime=runtime))
        with open_instance(workshop.project) as instance:
            assert not list(run_groups(workshop.project, instance, "test", groups, workers=5))
    assert started == [["cuda:0", "cuda:1", "cuda:0"], ["cuda", "cuda", "cuda"]]


@pytest.mark.skipif(find_spec("torchvision") is None, reason="extra torch not installed")
def test_workers_that_share_a_device_take_turns(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path, DATASETS)

    def with_network(values: dict[str, Any]) -> None:
        settings = {"name": "resnet18", "weights": "random:0", "image_size": SIDE}
        values["detectors"] = {"cnn": {"model": "vision_patchcore", "embedder": settings}}

    workshop.edit(with_network)
    groups = [[CellTask(Cell(f"alpha/{name}", "cnn"), CELL_ASSETS)] for name in ("disc", "ring")]
    with open_instance(workshop.project) as instance:
        reference = reference_to(instance)
        pool = WorkerPool(workshop.project, reference, "test", ["cpu:0", "cpu:0"])  # it stands in for a GPU
        outcomes = list(pool.run(deque(map(deque, groups))))
    assert not [failed for outcome in outcomes for failed in outcome.failed]
    store = open_store(workshop.project)
    made = [store.provenance(key) for key in store.list_all() if key.asset in ("memory_bank", "score_table")]
    assert [artifact.device for artifact in made] == ["cpu:0"] * 4
    times = sorted((artifact.started_at.timestamp(), artifact.seconds) for artifact in made)
    assert all(start + seconds <= following for (start, seconds), (following, _) in pairwise(times))
