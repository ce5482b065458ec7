"""The runs of cells, as the web server tells them, and which node works at one."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from tests.cluster.ray_nodes import RayCluster, RayNode
from tests.end_to_end.ui_process import Server, wait_for

PATIENCE = 600.0
"""Seconds until something comes of a run; a busy machine needs them, an idle one a tenth."""

EVERY = 1.0
"""Seconds from question to question, while many runs end: who watches takes the processors of those who work."""

_RUNS = "{runsOrError {... on Runs {results {runId status creationTime endTime tags {key value}}}}}"


@dataclass(frozen=True)
class Run:
    """A run of one cell, or of several, whose own runs are beside it.

    Attributes:
        cell: its key; of several what the run is called.
        created: when it was asked for, in seconds; ``ended``: when it ended, 0 before.
    """

    run_id: str
    cell: str
    status: str
    created: float
    ended: float

    @property
    def submission(self) -> str:
        """The name of its job on Ray."""
        return f"dagster-run-{self.run_id}"

    @property
    def under_way(self) -> bool:
        """Nothing came of it so far."""
        return self.status not in ("SUCCESS", "FAILURE", "CANCELED")


def runs(server: Server) -> list[Run]:
    """Every run of a cell, the oldest first."""
    found = []
    for run in reversed(server.ask(_RUNS)["runsOrError"]["results"]):
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        if cell := tags.get("dagster/partition"):
            ended = run["endTime"] or 0.0
            found.append(Run(run["runId"], cell, run["status"], run["creationTime"], ended))
    return found


def run_on(server: Server, cluster: RayCluster) -> tuple[Run, RayNode]:
    """A run that computes on a node which is not the head's, as soon as there is one."""

    def found() -> tuple[Run, RayNode] | None:
        for run in runs(server):
            node = cluster.node_of(run.run_id) if run.status == "STARTED" else None
            if node is not None and node is not cluster.nodes[0]:
                return run, node
        return None

    return wait_for(found, PATIENCE, "a run has started on a node")


def waiting(server: Server, cluster: RayCluster) -> Run:
    """A run whose job waits in Ray's queue, as soon as all nodes are busy."""

    def found() -> Run | None:
        status = {job["submission_id"]: job["status"] for job in cluster.jobs()}
        busy = sum(said == "RUNNING" for said in status.values())
        pending = [run for run in runs(server) if status.get(run.submission) == "PENDING"]
        return pending[-1] if pending and busy == sum(node.alive for node in cluster.nodes) else None

    return wait_for(found, PATIENCE, "a job waits")


def all_ended(server: Server, cells: int, before: Collection[str] = (), every: float = EVERY) -> list[Run]:
    """All runs, once those of so many cells have ended well and none is under way.

    Args:
        before: ids of runs that are left out.
        every: seconds from question to question.
    """

    def ended() -> list[Run] | None:
        found = [run for run in runs(server) if run.run_id not in before]
        failed = [run for run in found if run.status == "FAILURE"]
        assert len(failed) <= cells, f"{len(failed)} runs failed, the last one: {_why(server, failed[-1])}"
        done = {run.cell for run in found if run.status == "SUCCESS" and "|" in run.cell}
        return found if len(done) == cells and not any(run.under_way for run in found) else None

    return wait_for(ended, PATIENCE, f"{cells} cells are computed", every)


def backfills_ended(server: Server) -> None:
    """Wait until no backfill is under way: the board's run is its last."""

    def ended() -> bool:
        found = server.ask("{partitionBackfillsOrError {... on PartitionBackfills {results {status}}}}")
        return all(one["status"] != "REQUESTED" for one in found["partitionBackfillsOrError"]["results"])

    wait_for(ended, PATIENCE, "the backfills end", EVERY)


def _why(server: Server, run: Run) -> str:
    asked = "query ($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {... on MessageEvent {message}"
    asked += " ... on ErrorEvent {error {message causes {message}}}}}}}"
    events = server.ask(asked, id=run.run_id)["logsForRun"]["events"]
    errors = [event for event in events if event.get("error")] or events[-3:]
    return f"{run.cell}: {json.dumps(errors)[-3000:]}"
