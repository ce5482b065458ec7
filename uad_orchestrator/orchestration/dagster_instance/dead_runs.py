"""Runs whose process is gone: a kill -9 leaves them NOT_STARTED or STARTED, and their pool slots taken.

Not public API of Dagster here: the tag of retries, ``report_run_failed`` and ``free_concurrency_slots_for_run``.
"""

from __future__ import annotations

import socket
import time

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from uad_orchestrator.storage.processes import FOREIGN_SECONDS, is_alive, is_visible, this_process

HOST, PID, PID_STARTED, PID_PLACE = "uad/host", "uad/pid", "uad/pid_started", "uad/pid_place"
"""Tags of a run: which process it belongs to."""

NOT_TRIED_AGAIN = {"dagster/max_retries": "0"}
"""Tags of a run that the daemon does not start again when its process dies."""

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def process_tags() -> dict[str, str]:
    """Tags that say which process a run belongs to."""
    tags = (PID, PID_STARTED, PID_PLACE)
    return {HOST: socket.gethostname(), **dict(zip(tags, this_process().split("."), strict=False))}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the unfinished runs of this host whose process does not live any more; returns their ids.

    Of a process that cannot be seen from here (a container of the same name) a run fails a day after its last change.
    """
    ours = RunsFilter(statuses=UNFINISHED, tags={HOST: socket.gethostname()})
    dead = []
    for record in instance.get_run_records(ours):
        run = record.dagster_run
        process = ".".join(run.tags.get(tag, "") for tag in (PID, PID_STARTED, PID_PLACE))
        if not run.tags.get(PID, "").isdigit():
            continue
        if is_visible(run.tags[HOST], process):
            lives = is_alive(process)
        else:
            lives = time.time() - record.update_timestamp.timestamp() < FOREIGN_SECONDS
        if not lives:
            instance.report_run_failed(run, f"process {run.tags[PID]} died before the run ended")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead.append(run.run_id)
    return dead
