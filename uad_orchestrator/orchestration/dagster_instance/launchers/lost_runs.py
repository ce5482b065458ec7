"""Runs that were handed to Ray and got lost there: their job ended, or is not known any more, and the run goes on.

Dagster's own monitoring asks after runs that have started. One whose job failed before the run began, was stopped while
it waited, or went with its node stays STARTING until the start timeout, which a queue makes a day long.

Not public API of Dagster here: where a run came from, ``report_run_failed``, ``free_concurrency_slots_for_run``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from uad_orchestrator.orchestration.dagster_instance.dead_runs import PID
from uad_orchestrator.orchestration.dagster_instance.launchers.ray_head import (
    ENDED,
    RayJob,
    jobs_by_run,
    launches_on_ray,
    within,
)

UNKNOWN_AFTER = 300.0
"""Seconds for which a run's job may be unknown to Ray: a busy head takes its time to note it."""

ANSWER_SECONDS = 8.0
"""For which Ray's head is waited for: we give a sensor's tick 20, and it has a plan to make."""

PATH_ADVICE = (
    "`dagster` is not on the PATH of that node's raylet: start `ray start` from the environment that has it"
)
NO_DAGSTER = ("dagster: command not found", "dagster: not found", "No such file or directory: 'dagster'")
"""How a shell says that there is no such program."""


@dataclass(frozen=True)
class LaunchedRun:
    """A run that was launched and has not ended; ``since`` is when its status changed last, seconds since the epoch."""

    run_id: str
    status: str
    since: float


@dataclass(frozen=True)
class LostRuns:
    """The runs that were failed, each with the reason, and what keeps others from being judged."""

    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def told(self) -> list[str]:
        """All of it in words."""
        return [f"run {run_id[:8]} was failed: {reason}" for run_id, reason in self.failed.items()] + [
            *self.notes
        ]


def lost_runs(runs: Iterable[LaunchedRun], jobs: Mapping[str, RayJob], now: float) -> dict[str, str]:
    """The runs whose job cannot go on any more, each with the reason.

    Args:
        runs: looked up after ``jobs``: what was over then must have ended its run by now.
        jobs: of each run, by its id, the last job made for it.
        now: seconds since the epoch.

    >>> lost_runs([LaunchedRun("r", "STARTING", 0.0)], {"r": RayJob("STOPPED")}, now=1.0)
    {'r': 'its Ray job was stopped, and the run was STARTING'}
    """
    found = {}
    for run in runs:
        job = jobs.get(run.run_id)
        if job is None:
            if now - run.since > UNKNOWN_AFTER:
                found[run.run_id] = (
                    f"Ray does not know a job of it, and the run is {run.status} for {now - run.since:.0f} s: "
                    "Ray's head was started anew, say"
                )
        elif job.status in ENDED:
            found[run.run_id] = f"its Ray job {ENDED[job.status]}, and the run was {run.status}{_why(job)}"
    return found


def _why(job: RayJob) -> str:
    if job.status == "SUCCEEDED" or not job.message:
        return ""
    advice = ""
    if any(words in job.message for words in NO_DAGSTER):
        advice = f". {PATH_ADVICE}"
    return f": {job.message[-2000:].strip()}{advice}"


def fail_lost_runs(instance: dg.DagsterInstance) -> LostRuns:
    """Fail the runs that got lost on Ray, so that whoever asked for them can ask again; nothing where Ray is not used.

    Where Ray does not answer nothing is concluded, and that is said.
    """
    if not launches_on_ray(instance) or not _launched(instance):
        return LostRuns()
    try:
        jobs = within(ANSWER_SECONDS, lambda: jobs_by_run(instance))
    except Exception as error:  # a client of its own: requests, Ray, a wrong address
        said = " ".join(str(error).split())[:200]
        return LostRuns(notes=(f"Ray does not say what became of its jobs: {said}",))
    records = {record.dagster_run.run_id: record for record in _launched(instance)}
    found = lost_runs([_launched_run(record) for record in records.values()], jobs, time.time())
    for run_id, reason in found.items():
        instance.report_run_failed(records[run_id].dagster_run, reason)
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return LostRuns(found)


def _launched(instance: dg.DagsterInstance) -> list[RunRecord]:
    """The runs that a launcher has started; those that a process of ours works through by itself are others."""
    statuses = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]
    records = instance.get_run_records(RunsFilter(statuses=statuses))
    return [
        record
        for record in records
        if PID not in record.dagster_run.tags and record.dagster_run.remote_job_origin is not None
    ]


def _launched_run(record: RunRecord) -> LaunchedRun:
    run = record.dagster_run
    return LaunchedRun(run.run_id, run.status.value, record.update_timestamp.timestamp())
