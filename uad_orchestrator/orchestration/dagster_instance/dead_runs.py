"""Runs whose process is gone: a kill -9 leaves them NOT_STARTED or STARTED, and their pool slots taken.

Not public API of Dagster here: the tag of retries, ``report_run_failed`` and ``free_concurrency_slots_for_run``.
"""

from __future__ import annotations

import socket
import time

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from uad_orchestrator.orchestration.dagster_instance.group_tags import WITHIN
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
    """Fail the unfinished runs whose process does not live any more, as far as it is known; returns their ids.

    A process of this host is looked up. Of one that cannot be seen from here (a container of the same name) a run fails
    a day after its last change. One of another host is over when the run is that it works for.
    """
    dead = {}
    for record in instance.get_run_records(RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        if not run.tags.get(PID, "").isdigit():
            continue
        if run.tags.get(HOST) == socket.gethostname() and not _lives(record):
            dead[run.run_id] = f"process {run.tags[PID]} died before the run ended"
        elif WITHIN in run.tags and _is_over(instance, run.tags[WITHIN]):
            dead[run.run_id] = f"run {run.tags[WITHIN]}, which worked it through, is over"
        if run.run_id in dead:
            instance.report_run_failed(run, dead[run.run_id])
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return list(dead)


def _lives(record: RunRecord) -> bool:
    tags = record.dagster_run.tags
    process = ".".join(tags.get(tag, "") for tag in (PID, PID_STARTED, PID_PLACE))
    if is_visible(tags[HOST], process):
        return is_alive(process)
    return time.time() - record.update_timestamp.timestamp() < FOREIGN_SECONDS


def _is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished
