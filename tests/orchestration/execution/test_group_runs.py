"""One run for the cells of a group: what fails costs itself alone, and every other part of Dagster sees its cells."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._daemon.types import DaemonHeartbeat

from tests.cli.invoke import uad
from tests.orchestration.dagster_instance.contracts import contract
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.assets.cell import COMPUTE
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.backfills import BACKFILL_DAEMON
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_versions
from uad_orchestrator.orchestration.dagster_instance.group_tags import selection_tag
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.runs import (
    cells_at_work,
    cells_of_runs,
    is_last_of_backfill,
)
from uad_orchestrator.orchestration.execution.backfill import hand_over
from uad_orchestrator.orchestration.execution.group_runs import run_group
from uad_orchestrator.orchestration.planning import plan
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS
from uad_orchestrator.orchestration.versions.selection import Selection

GROUP = "alpha/disc: dino..patchcore"
CODE = """
from pathlib import Path

from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.project import load_project

defs = build_definitions(load_project(Path({home!r})))
"""
DINO, PATCHCORE, BRIGHT = (f"alpha/disc|{name}" for name in ("dino", "patchcore", "bright"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    workshop = Workshop.build(tmp_path_factory.mktemp("grouped"), {"alpha": ["disc"]}, train=4)
    workshop.edit(lambda values: values["runtime"].update(run_per="embedder"))
    return workshop


@pytest.fixture(scope="module")
def half(
    empty: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workshop, dg.ExecuteInProcessResult]:
    """The project after one run of a group in which a detector's memory bank failed."""
    workshop = empty.copied_to(tmp_path_factory.mktemp("half") / "home")
    fit = COMPUTE["memory_bank"]

    def failing(run: Any, *others: Any) -> Any:
        if run.cell.detector == "dino":
            raise ValueError("no reference fits")
        return fit(run, *others)

    with pytest.MonkeyPatch.context() as patch, open_instance(workshop.project) as instance:
        patch.setitem(COMPUTE, "memory_bank", failing)
        job = build_definitions(workshop.project).resolve_job_def("cells")
        return workshop, job.execute_in_process(instance=instance, partition_key=GROUP, raise_on_error=False)


def test_a_cell_that_fails_costs_itself_alone(half: tuple[Workshop, dg.ExecuteInProcessResult]) -> None:
    workshop, result = half
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.user_failure_data.description
    assert said == "memory_bank of alpha/disc x dino: no reference fits"
    with open_instance(workshop.project) as instance:
        assert set(recorded_versions(instance, workshop.project, "metrics_report")) == {PATCHCORE}
        inner = [run for run in instance.get_runs() if run.job_name == "cell"]
        assert {run.tags["dagster/partition"] for run in inner} == {DINO, PATCHCORE}, (
            "each cell has a run of its own"
        )
        assert {run.tags["uad/within_run"] for run in inner} == {result.run_id}
    assert {cell.key for cell in workshop.plan().by_cell()} == {DINO, BRIGHT}


def test_the_next_run_computes_what_is_stale_and_embeds_nothing_twice(
    half: tuple[Workshop, dg.ExecuteInProcessResult], tmp_path: Path
) -> None:
    workshop = half[0].copied_to(tmp_path / "home")
    with open_instance(workshop.project) as instance:
        job = build_definitions(workshop.project).resolve_job_def("cells")
        result = job.execute_in_process(instance=instance, partition_key=GROUP)
        (output,) = [event for event in result.all_events if event.is_successful_output]
        metadata = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert (metadata["computed"], metadata["embedded_images"]) == (1, 0), "the other cell embedded the images"
    assert {cell.key for cell in workshop.plan().by_cell()} == {BRIGHT}


def test_a_run_looks_at_its_own_cells_alone(
    empty: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaderboard's version is made of all cells: each node would read the images of the whole benchmark."""

    def refuse(*arguments: object) -> str:
        raise AssertionError("the leaderboard is looked at")

    monkeypatch.setattr(plan, "board_version", refuse)
    workshop = empty.copied_to(tmp_path / "home")
    with pytest.raises(AssertionError):
        workshop.plan()
    with open_instance(workshop.project) as instance:
        job = build_definitions(workshop.project).resolve_job_def("cells")
        assert job.execute_in_process(instance=instance, partition_key=GROUP).success


def test_a_run_of_several_categories_computes_the_cells_that_are_meant(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc", "ring", "star"]}, train=4)
    workshop.edit(lambda values: values["runtime"].update(run_per="embedder", categories_per_run=3))
    meant = selection_tag(Selection(categories=("disc", "ring"), detectors=("patchcore",)))
    group, definitions = "alpha/disc..star: dino..patchcore", build_definitions(workshop.project)
    with open_instance(workshop.project) as instance:
        job = definitions.resolve_job_def("cells")
        assert job.execute_in_process(instance=instance, partition_key=group, tags=meant).success
        (run,) = [run for run in instance.get_runs() if run.job_name == "cells"]
        done = set(recorded_versions(instance, workshop.project, "metrics_report"))
    assert done == {PATCHCORE, "alpha/ring|patchcore"}
    assert (run.tags["uad/category"], run.tags["uad/detector"]) == (
        "alpha/disc, alpha/ring, alpha/star",
        "dino, patchcore",
    )


def test_a_run_that_waited_is_about_the_cells_it_was_asked_for(empty: Workshop, tmp_path: Path) -> None:
    """A category that came since gives the groups other names, and one that went is nobody's."""
    workshop = empty.copied_to(tmp_path / "home")
    tags = {
        "dagster/partition": "alpha/a..disc: dino..patchcore",
        "uad/category": "alpha/a, alpha/disc",
        "uad/detector": "dino, patchcore",
        **selection_tag(Selection(detectors=("patchcore",))),
    }
    run = dg.DagsterRun(job_name="cells", tags=tags)
    assert cells_of_runs(workshop.project, [run]) == [{PATCHCORE: CELL_ASSETS}]
    with open_instance(workshop.project) as instance:
        instance.add_run(run)
        run_group(workshop.project, instance, run, print)
        assert set(recorded_versions(instance, workshop.project, "metrics_report")) == {PATCHCORE}


@pytest.mark.parametrize("tags", [{}, {"dagster/partition": "alpha/disc: gone..patchcore"}])
def test_a_run_of_no_group_says_what_to_launch(empty: Workshop, tags: dict[str, str]) -> None:
    run = dg.DagsterRun(job_name="cells", tags=tags)
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.Failure) as failed:
        run_group(empty.project, instance, run, print)
    assert "launch the job for one of its partitions" in (failed.value.description or "")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as made:
        yield made


def queue(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    """A run of the group that waits."""
    run = dg.DagsterRun(job_name="cells", tags={"dagster/partition": GROUP, **tags})
    instance.add_run(run)
    return run


def test_cells_of_a_queued_group_are_at_work(empty: Workshop, instance: dg.DagsterInstance) -> None:
    queue(instance, **selection_tag(Selection(detectors=("di*",))))
    assert set(cells_at_work(instance, empty.project)) == {DINO}
    queue(instance)
    assert set(cells_at_work(instance, empty.project)) == {DINO, PATCHCORE}


def test_runs_of_a_node_that_died_end_with_the_run_they_worked_for(instance: dg.DagsterInstance) -> None:
    """Their process is on another machine, where nobody can look it up."""
    outer = queue(instance)
    tags = {"uad/host": "node-7", "uad/pid": "12", "uad/within_run": outer.run_id}
    inner = dg.DagsterRun(job_name="cell", status=DagsterRunStatus.STARTED, tags=tags)
    instance.add_run(inner)
    assert fail_dead_runs(instance) == []
    instance.report_run_failed(outer, "its Ray job failed")
    assert fail_dead_runs(instance) == [inner.run_id]


def test_the_last_run_of_a_backfill_is_known(instance: dg.DagsterInstance) -> None:
    first, last = (queue(instance, **{"dagster/backfill": "b"}) for _ in range(2))
    queue(instance, **{"dagster/backfill": "another"})
    assert not is_last_of_backfill(instance, first)
    assert is_last_of_backfill(instance, last)
    assert is_last_of_backfill(instance, queue(instance)), "Dagster takes the tag from one tried again later"


def test_the_sensor_asks_for_groups_and_again_for_what_is_left(
    half: tuple[Workshop, dg.ExecuteInProcessResult], tmp_path: Path
) -> None:
    workshop = half[0].copied_to(tmp_path / "home")
    definitions, cursor = build_definitions(workshop.project), None
    sensor = definitions.resolve_sensor_def("stale_cells")
    asked: list[set[tuple[str, str, str]]] = []
    keys: list[str | None] = []
    with open_instance(workshop.project) as instance:
        for number in range(5):
            with dg.build_sensor_context(
                instance, cursor=cursor, definitions=definitions, sensor_name="stale_cells"
            ) as context:
                found = sensor.evaluate_tick(context)
            cursor = found.cursor
            tags = [request.tags for request in found.run_requests if request.job_name == "cells"]
            asked.append({(t["dagster/partition"], t["uad/detector"], t["uad/selection"]) for t in tags})
            keys += [request.run_key for request in found.run_requests]
            if number == 0:
                run = queue(instance, **selection_tag(Selection(detectors=("dino",))))
            elif number == 1:
                instance.report_run_failed(run, "its Ray job failed")
    (dino, bright) = (
        (group, detectors, selection_tag(Selection(("alpha/disc",), (name,)))["uad/selection"])
        for group, detectors, name in (
            (GROUP, "dino, patchcore", "dino"),
            ("alpha/disc: bright", "bright", "bright"),
        )
    )
    assert asked == [{dino, bright}, {bright}, {dino, bright}, {dino}, set()], (
        "three times each, none while at work"
    )
    assert len(set(keys)) == len(keys), "Dagster runs a key once"


def test_the_board_of_a_last_run_that_was_lost_is_asked_for_by_the_next_tick(
    half: tuple[Workshop, dg.ExecuteInProcessResult], tmp_path: Path
) -> None:
    """All cells are computed, no run is tried again, and no other of the backfill is left to make the board."""
    workshop = half[0].copied_to(tmp_path / "home")
    definitions, cursor = build_definitions(workshop.project), None
    asked: list[list[str | None]] = []
    with open_instance(workshop.project) as instance:
        for group in (GROUP, "alpha/disc: bright"):
            job = definitions.resolve_job_def("cells")
            assert job.execute_in_process(instance=instance, partition_key=group).success
        assert [node.asset for node in workshop.plan().stale] == ["leaderboard"]
        last = queue(instance, **{"dagster/backfill": "b", "uad/board": "last", "dagster/max_retries": "0"})
        for _ in range(2):
            with dg.build_sensor_context(
                instance, cursor=cursor, definitions=definitions, sensor_name="stale_cells"
            ) as context:
                found = definitions.resolve_sensor_def("stale_cells").evaluate_tick(context)
            cursor = found.cursor
            asked.append([request.job_name for request in found.run_requests])
            instance.report_run_failed(last, "its node died")
    assert asked == [[], ["leaderboard"]]


def test_a_backfill_of_groups_says_that_the_daemon_must_know_them(
    empty: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    grouped = empty.copied_to(tmp_path / "home")
    with open_instance(grouped.project) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), BACKFILL_DAEMON, "here", []))
    line = ("refresh", "--backfill", "--json", "--home", grouped.home, "--detector")
    of_groups = uad(*line, "bright")
    assert json.loads(of_groups.stdout)["cells"] == 1 and "Reload definitions" in of_groups.stderr
    grouped.edit(lambda values: values["runtime"].update(run_per="cell"))
    of_cells = uad(*line, "dino")
    assert json.loads(of_cells.stdout)["cells"] == 1 and "Reload" not in of_cells.stderr


@contract("backfills.py", "takes a backfill of a partitioned job that is added from outside")
def test_a_backfill_has_a_run_for_each_group(
    half: tuple[Workshop, dg.ExecuteInProcessResult], tmp_path: Path
) -> None:
    """Handed over by the command, made into runs by what Dagster's daemon calls."""
    from dagster._core.execution.job_backfill import execute_job_backfill_iteration
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

    workshop = half[0].copied_to(tmp_path / "home")
    workshop.edit(lambda values: values["detectors"]["bright"].update(resources={"num_gpus": 1}))
    project, code = workshop.project, tmp_path / "code.py"
    code.write_text(CODE.format(home=str(workshop.home)))
    with open_instance(project) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), BACKFILL_DAEMON, "here", []))
        found = hand_over(project, instance, Selection(categories=("disc",)))
        (stored,) = instance.get_backfills()
        assert (found.backfills, found.cells) == ((stored.backfill_id,), 2)
        assert (found.assets["metrics_report"], found.assets["leaderboard"]) == (2, 1)
        target = LoadableTargetOrigin(python_file=str(code), attribute="defs")
        place = InProcessWorkspaceLoadTarget(
            [InProcessCodeLocationOrigin(target, location_name=project.dagster.location_name)]
        )
        with WorkspaceProcessContext(instance, place) as workspace:
            execute_job_backfill_iteration(stored, logging.getLogger("quiet"), workspace, None, instance)
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": stored.backfill_id}))
        assert {run.status for run in runs} == {DagsterRunStatus.QUEUED}
        tags = {run.tags["dagster/partition"]: run.tags for run in runs}
        assert set(tags) == {GROUP, "alpha/disc: bright"}
        assert json.loads(tags["alpha/disc: bright"]["dagster-ray/config"]) == {"num_gpus": 1}
        assert "dagster-ray/config" not in tags[GROUP]
        assert all(
            one["uad/selection"] == selection_tag(Selection(("disc",)))["uad/selection"]
            for one in tags.values()
        )
        assert set(cells_at_work(instance, project)) == {DINO, PATCHCORE, BRIGHT}
