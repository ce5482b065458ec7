"""Ray's head: whether runs are launched there, what it says of their jobs, and for how long it is waited for.

Not public API of Dagster here: the instance's launcher, and the client and the job's label of dagster-ray's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.instance import InstanceReference
from uad_orchestrator.orchestration.dagster_instance.settings.fitting import RAY_LAUNCHER

T = TypeVar("T")

RUN_LABEL = "dagster/run-id"
"""Label of a Ray job: the run it was made for."""

ENDED = {
    "FAILED": "failed",
    "STOPPED": "was stopped",
    "SUCCEEDED": "ended",
}
"""What Ray says of jobs that are over, in words."""


@dataclass(frozen=True)
class RayJob:
    """What Ray says of a job: PENDING, RUNNING, SUCCEEDED, STOPPED or FAILED, and why."""

    status: str
    message: str = ""


def launches_on_ray(instance: dg.DagsterInstance) -> bool:
    """Whether the instance's launcher is dagster-ray's, or ours made of it; nothing of either is imported."""
    return instance.is_persistent and names_ray(instance.get_ref())


def names_ray(settings: InstanceReference) -> bool:
    """Whether the launcher in an instance's settings is dagster-ray's, or ours made of it."""
    data = settings.run_launcher_data
    return data is not None and data.class_name == RAY_LAUNCHER


def jobs_by_run(instance: dg.DagsterInstance) -> dict[str, RayJob]:
    """Of each run the last job that was made for it: one that Dagster resumed has several."""
    jobs = instance.run_launcher.client.list_jobs()  # type: ignore[attr-defined]  # of dagster-ray's launcher
    found = {}
    for job in sorted(jobs, key=lambda job: job.start_time or 0):
        if run_id := (job.metadata or {}).get(RUN_LABEL):
            found[run_id] = RayJob(str(job.status.value), job.message or "")
    return found


def within(seconds: float, ask: Callable[[], T]) -> T:
    """The answer, or what asking raised.

    Raises:
        TimeoutError: there was none in time. The question goes on in its thread; it ends with the process.
    """
    answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put((True, ask()))
        except Exception as error:
            answers.put((False, error))

    Thread(target=answer, name="asks-ray", daemon=True).start()
    try:
        came, value = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer for {seconds:.0f} s") from None
    if not came:
        raise value
    return value
