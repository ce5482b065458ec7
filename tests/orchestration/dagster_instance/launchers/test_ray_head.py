"""Ray's head is asked where runs are launched there, for a time, and of each run the last job counts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from tests.orchestration.dagster_instance.launchers.ray_instance import JobServer, ray_instance
from uad_orchestrator.orchestration.dagster_instance.launchers.ray_head import (
    RayJob,
    jobs_by_run,
    launches_on_ray,
    within,
)


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dg.DagsterInstance, JobServer]]:
    with ray_instance(tmp_path_factory.mktemp("ray"), "dagster_ray") as made:
        yield made


def test_an_answer_is_waited_for_only_so_long() -> None:
    with pytest.raises(TimeoutError, match="no answer"):
        within(0.05, lambda: time.sleep(1))
    with pytest.raises(KeyError):
        within(5, lambda: {}["x"])
    assert within(5, lambda: 3) == 3


def test_runs_are_launched_on_ray_by_the_launcher_in_the_settings(
    on_ray: tuple[dg.DagsterInstance, JobServer],
) -> None:
    assert launches_on_ray(on_ray[0])
    with dg.DagsterInstance.ephemeral() as instance:
        assert not launches_on_ray(instance)


def test_of_a_run_with_several_jobs_the_last_counts(on_ray: tuple[dg.DagsterInstance, JobServer]) -> None:
    instance, server = on_ray
    server.has("resumed", "RUNNING", start_time=2)
    server.has("resumed", "FAILED", "its node died", start_time=1)
    server.has("other", "STOPPED")
    assert jobs_by_run(instance) == {"resumed": RayJob("RUNNING"), "other": RayJob("STOPPED")}
