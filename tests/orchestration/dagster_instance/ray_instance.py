"""An instance whose runs are launched on Ray, and Ray's job server as a stand-in: no cluster is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from ray.job_submission import JobDetails

MODULE = "uad_orchestrator.orchestration.dagster_instance.launchers.ray"


@dataclass
class JobServer:
    """What dagster-ray asks of Ray's job server."""

    submitted: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[JobDetails] = field(default_factory=list)
    fault: Exception | None = None

    def submit_job(self, **job: Any) -> str:
        self.submitted.append(job)
        return str(job["submission_id"])

    def list_jobs(self) -> list[JobDetails]:
        if self.fault:
            raise self.fault
        return self.jobs

    def has(self, run_id: str, status: str, message: str = "", start_time: int = 1) -> None:
        self.jobs.append(
            JobDetails(
                type="SUBMISSION",
                submission_id=f"dagster-run-{run_id}",
                status=status,
                message=message,
                entrypoint="dagster api execute_run",
                start_time=start_time,
                metadata={"dagster/run-id": run_id},
            )
        )


@contextmanager
def ray_instance(home: Path, module: str = MODULE) -> Iterator[tuple[dg.DagsterInstance, JobServer]]:
    """A persistent instance with that launcher, and the server that its launcher asks."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(
        f"telemetry: {{enabled: false}}\n"
        f"run_launcher: {{module: {module}, class: RayRunLauncher, config: {{ray: {{address: 'http://nowhere:1'}}}}}}\n"
    )
    with dg.DagsterInstance.from_config(str(home)) as instance:
        server = JobServer()
        vars(instance.run_launcher)["client"] = server  # a cached property of dagster-ray's launcher
        yield instance, server


def launched_run(instance: dg.DagsterInstance, job: dg.JobDefinition, **values: Any) -> dg.DagsterRun:
    """A run as the web server or the daemon makes it, to be launched."""
    target = LoadableTargetOrigin(module_name="uad_orchestrator.definitions", attribute="defs")
    location = InProcessCodeLocationOrigin(target, location_name="uad_orchestrator")
    remote = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job.name)
    pointer = ModuleCodePointer("uad_orchestrator.definitions", "defs")
    return instance.create_run_for_job(
        job_def=job,
        job_code_origin=JobPythonOrigin(job.name, RepositoryPythonOrigin(sys.executable, pointer)),
        remote_job_origin=remote,
        **values,
    )


def begin(instance: dg.DagsterInstance, run: dg.DagsterRun, event: str) -> None:
    """``PIPELINE_STARTING``: handed to the launcher; ``PIPELINE_START``: its process works."""
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value=event, job_name=run.job_name), run_id=run.run_id
    )
