"""A run whose Ray job cannot go on is failed with the reason; one that can is left alone, all where Ray is silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from hypothesis import given
from hypothesis import strategies as st

from tests.orchestration.dagster_instance.contracts import contract
from tests.orchestration.dagster_instance.launchers.ray_instance import (
    JobServer,
    begin,
    launched_run,
    ray_instance,
)
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.launchers import lost_runs as module
from uad_orchestrator.orchestration.dagster_instance.launchers.lost_runs import (
    LaunchedRun,
    fail_lost_runs,
    lost_runs,
)
from uad_orchestrator.orchestration.dagster_instance.launchers.ray_head import RayJob
from uad_orchestrator.project import demo_project


@dg.job
def nothing() -> None: ...


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dg.DagsterInstance, JobServer]]:
    with ray_instance(tmp_path_factory.mktemp("ray"), "dagster_ray") as made:
        yield made


@pytest.fixture
def server(on_ray: tuple[dg.DagsterInstance, JobServer]) -> Iterator[JobServer]:
    instance, server = on_ray
    yield server
    server.jobs, server.fault = [], None
    for run in instance.get_runs():
        instance.delete_run(run.run_id)


RUNS = st.builds(
    LaunchedRun, st.sampled_from("abcd"), st.sampled_from(["STARTING", "STARTED"]), st.floats(0, 1000)
)
JOBS = st.builds(
    RayJob, st.sampled_from(["PENDING", "RUNNING", "SUCCEEDED", "STOPPED", "FAILED"]), st.text(max_size=5)
)


@given(st.lists(RUNS, unique_by=lambda run: run.run_id), st.dictionaries(st.sampled_from("abcdef"), JOBS))
def test_a_run_is_lost_with_its_job_and_with_nothing_else(
    runs: list[LaunchedRun], jobs: dict[str, RayJob]
) -> None:
    found = lost_runs(runs, jobs, now=1000.0)
    for run in runs:
        if run.run_id in jobs:
            assert (run.run_id in found) is (jobs[run.run_id].status not in ("PENDING", "RUNNING"))
        else:
            assert (run.run_id in found) is (run.since < 700.0)
    assert set(found) <= {run.run_id for run in runs}


def test_the_reason_says_what_to_do_about_the_path() -> None:
    message = "Job entrypoint command failed with exit code 127, last logs: /bin/sh: 1: dagster: not found"
    reason = lost_runs([LaunchedRun("r", "STARTING", 0.0)], {"r": RayJob("FAILED", message)}, now=1.0)["r"]
    assert reason.startswith("its Ray job failed, and the run was STARTING: Job entrypoint")
    assert reason.endswith("start `ray start` from the environment that has it")


@contract(
    "launchers/lost_runs.py",
    "fails a launched run from outside, with the reason in its events, and frees its slots",
)
def test_lost_runs_are_failed_and_free_their_slots(
    on_ray: tuple[dg.DagsterInstance, JobServer], server: JobServer
) -> None:
    instance = on_ray[0]
    waits, fails, stopped, works, resumed = (launched_run(instance, nothing) for _ in range(5))
    for run in (waits, fails, stopped):
        begin(instance, run, "PIPELINE_STARTING")
    for run in (works, resumed):
        begin(instance, run, "PIPELINE_START")
    instance.event_log_storage.set_concurrency_slots("gpu", 1)
    assert instance.event_log_storage.claim_concurrency_slot("gpu", stopped.run_id, "bank").is_claimed
    server.has(waits.run_id, "PENDING")
    server.has(fails.run_id, "FAILED", "sh: 1: dagster: not found")
    server.has(stopped.run_id, "STOPPED")
    server.has(works.run_id, "RUNNING")
    server.has(resumed.run_id, "RUNNING", start_time=2)
    server.has(resumed.run_id, "FAILED", start_time=1)
    found = fail_lost_runs(instance)
    assert (set(found.failed), found.notes) == ({fails.run_id, stopped.run_id}, ())
    status = {run.run_id: run.status for run in instance.get_runs()}
    failed = {run_id for run_id, one in status.items() if one is DagsterRunStatus.FAILURE}
    assert failed == {fails.run_id, stopped.run_id}
    said = [entry.user_message or entry.message for entry in instance.all_logs(fails.run_id)]
    assert any("dagster: not found" in (text or "") for text in said)
    assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0
    assert fail_lost_runs(instance).failed == {}, "once"


def test_what_nobody_launched_is_not_judged(
    on_ray: tuple[dg.DagsterInstance, JobServer], server: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh works its runs through by itself; Ray knows no job of them."""
    instance = on_ray[0]
    refreshed = launched_run(instance, nothing, tags={"uad/pid": "1", "uad/host": "elsewhere"})
    by_hand = instance.create_run_for_job(nothing)
    launched = launched_run(instance, nothing)
    for run in (refreshed, by_hand, launched):
        begin(instance, run, "PIPELINE_START")
    assert fail_lost_runs(instance).failed == {}, "its job may not be noted yet"
    monkeypatch.setattr(module, "UNKNOWN_AFTER", -1.0)
    found = fail_lost_runs(instance)
    assert set(found.failed) == {launched.run_id}
    assert "does not know a job" in found.failed[launched.run_id]


def test_without_an_answer_nothing_is_concluded(
    on_ray: tuple[dg.DagsterInstance, JobServer], server: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = on_ray[0]
    server.fault = ConnectionError("Failed to connect to Ray")
    assert fail_lost_runs(instance).notes == (), "nobody asks while nothing is launched"
    run = launched_run(instance, nothing)
    begin(instance, run, "PIPELINE_STARTING")
    monkeypatch.setattr(module, "UNKNOWN_AFTER", -1.0)
    found = fail_lost_runs(instance)
    assert found.failed == {}
    assert found.told() == ["Ray does not say what became of its jobs: Failed to connect to Ray"]
    assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.STARTING


@pytest.mark.parametrize("sensor", ["new_checkpoints", "stale_cells"])
def test_a_tick_of_a_sensor_finds_them(
    sensor: str, on_ray: tuple[dg.DagsterInstance, JobServer], server: JobServer, tmp_path: Path
) -> None:
    instance, definitions = on_ray[0], build_definitions(demo_project(tmp_path))
    run = launched_run(instance, nothing)
    begin(instance, run, "PIPELINE_STARTING")
    server.has(run.run_id, "FAILED")
    with dg.build_sensor_context(instance, definitions=definitions, sensor_name=sensor) as context:
        definitions.resolve_sensor_def(sensor).evaluate_tick(context)
    assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE


def test_other_launchers_are_not_asked() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert fail_lost_runs(instance).told() == []
