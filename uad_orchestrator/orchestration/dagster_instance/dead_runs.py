"""Runs whose process is gone: a kill -9 leaves them NOT_STARTED or STARTED, and their pool slots taken.

Not public API of Dagster here: the tag of retries, ``report_run_failed`` and ``free_concurrency_slots_for_run``.
"""

from __future__ import annotations

import socket

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from uad_orchestrator.storage.processes import is_alive

NOT_TRIED_AGAIN = {"dagster/max_retries": "0"}
"""Tags of a run that the daemon does not start again when its process dies."""

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the unfinished runs of this host whose process does not live any more; returns their ids."""
    ours = RunsFilter(statuses=UNFINISHED, tags={"uad/host": socket.gethostname()})
    dead = []
    for run in (record.dagster_run for record in instance.get_run_records(ours)):
        pid, started = run.tags.get("uad/pid", ""), run.tags.get("uad/pid_started", "")
        if pid.isdigit() and not is_alive(f"{pid}.{started}"):
            instance.report_run_failed(run, f"process {pid} died before the run ended")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead.append(run.run_id)
    return dead
