"""What ``python -m tests.cluster`` tries, one after another on one deployment; each yields what did not hold."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chromium import chromium
from tests.cluster.deployment import Deployment, deployed, detector
from tests.cluster.runs import all_ended, backfills_ended, run_on, runs, waiting
from tests.cluster.same_content import contents, differences
from tests.end_to_end.ui_process import Server, running_ui
from uad_orchestrator.orchestration.versions.stores import open_store
from uad_orchestrator.project import load_project

CATEGORIES = ("bolt", "disc", "ring")
DETECTORS = {
    "grid_fine": detector(4),
    "grid_middle": detector(8),
    "grid_coarse": detector(16),
    "lost": detector(32),
    "queued_fine": detector(2),
    "queued_whole": detector(64),
}
NODES = 3
SLEEP = 1.0
"""Seconds for an image."""


@dataclass(frozen=True)
class Outcome:
    """One trial.

    Attributes:
        what: was tried.
        seconds: it took.
        faults: what did not hold.
    """

    what: str
    seconds: float
    faults: tuple[str, ...]


@contextmanager
def running(folder: Path) -> Iterator[tuple[Deployment, Server]]:
    """Three nodes, and the web server with its daemon."""
    with deployed(folder, CATEGORIES, DETECTORS, SLEEP) as deployment:
        deployment.uad("init", "--cluster")
        deployment.set_far_apart()
        for _ in range(NODES):
            deployment.join()
        with running_ui(deployment.home) as server:
            yield deployment, server


def try_all(folder: Path, trials: Sequence[Trial]) -> Iterator[Outcome]:
    """Every trial, in order.

    Args:
        folder: empty.
        trials: of ``TRIALS``.
    """
    with running(folder) as (deployment, server):
        for trial in trials:
            yield _tried(trial, deployment, server)


def _tried(trial: Trial, deployment: Deployment, server: Server) -> Outcome:
    started = time.monotonic()
    try:
        faults = tuple(trial(deployment, server))
    except Exception as error:  # a trial that breaks down is a fault, and the others are tried all the same
        faults = (f"{type(error).__name__}: {str(error)[-1500:]}",)
    return Outcome((trial.__doc__ or "").splitlines()[0].rstrip("."), time.monotonic() - started, faults)


def three_by_three(deployment: Deployment, server: Server) -> Iterator[str]:
    """3 x 3 cells on three nodes."""
    deployment.hand_over("--detector", "grid_*")
    ended = all_ended(server, 9)
    yield from (f"{run.cell}: {run.status}" for run in ended if run.status != "SUCCESS")
    ours = {run.submission for run in ended}
    used = {job["driver_node_id"] for job in deployment.cluster.jobs() if job["submission_id"] in ours}
    if len(used) != NODES:
        yield f"{len(used)} of {NODES} nodes had a run"
    backfills_ended(server)
    if stale := deployment.plan("grid_*")["stale"]:
        yield f"{len(stale)} stale when all runs had ended"


def as_on_one_machine(deployment: Deployment, server: Server) -> Iterator[str]:
    """The same artifacts as on one machine, bit for bit."""
    alone = deployment.new_home("alone", root=".uad")
    deployment.uad("refresh", "--detector", "grid_*", home=alone.home)
    ours, theirs = contents(load_project(deployment.home), "grid_*"), contents(alone.project, "grid_*")
    if not ours:
        yield "nothing was compared"
    yield from differences(ours, theirs)


def a_node_dies(deployment: Deployment, server: Server) -> Iterator[str]:
    """A node dies while its cell runs."""
    before = {run.run_id for run in runs(server)}
    deployment.hand_over("--detector", "lost")
    lost, node = run_on(server, deployment.cluster)
    node.kill()
    yield from _only_this_was_lost(server, before, lost.run_id, lost.cell, cells=3)
    deployment.join()


def a_waiting_job_is_stopped(deployment: Deployment, server: Server) -> Iterator[str]:
    """A job is stopped while it waits in Ray's queue."""
    before = {run.run_id for run in runs(server)}
    deployment.hand_over("--detector", "queued_*")
    stopped = waiting(server, deployment.cluster)
    deployment.cluster.stop_job(stopped.submission)
    yield from _only_this_was_lost(server, before, stopped.run_id, stopped.cell, cells=6)


def _only_this_was_lost(server: Server, before: set[str], lost: str, cell: str, cells: int) -> Iterator[str]:
    found = all_ended(server, cells, before)
    fates = {run.run_id: run.status for run in found}
    if fates[lost] not in ("FAILURE", "CANCELED"):
        yield f"the run of {cell} is {fates[lost]}"
    if more := [run.cell for run in found if run.status != "SUCCESS" and run.run_id != lost]:
        yield f"runs of {', '.join(more)} failed as well"
    if len(found) != cells + 1:
        yield f"{len(found)} runs for {cells} cells, of which one was lost"


def the_ui(deployment: Deployment, server: Server) -> Iterator[str]:
    """Dagster's pages over PostgreSQL."""
    asked = server.ask(
        "{assetsOrError {... on AssetConnection {nodes {key {path} assetMaterializations {partition}}}}}"
    )
    found = {
        (node["key"]["path"][-1], event["partition"])
        for node in asked["assetsOrError"]["nodes"]
        for event in node["assetMaterializations"]
    }
    grid = [name for name in DETECTORS if name.startswith("grid_")]
    for cell in (f"alpha/{category}|{name}" for category in CATEGORIES for name in grid):
        if ("metrics_report", cell) not in found:
            yield f"no metrics_report of {cell}"
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{server.url}/runs")
        page.get_by_text("Success").first.wait_for(timeout=120_000)


def two_homes_at_once(deployment: Deployment, server: Server) -> Iterator[str]:
    """Two homes compute the same cells at once: the first writer wins."""
    url = deployment.store.folder()
    homes = [deployment.new_home(name, root=url) for name in ("here", "there")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: deployment.uad("refresh", "--detector", "grid_*", home=one.home), homes))
    store = open_store(homes[0].project)
    payloads = {store.provenance(key).payload for key in store.list_all()} - {None}
    objects = deployment.objects(url)
    written = {Path(name).parent.as_posix() for name in objects if name.startswith("payloads/")}
    if strays := {folder for folder in written if not any(folder.startswith(kept) for kept in payloads)}:
        yield f"{len(strays)} folders of losers are left, such as {sorted(strays)[0]}"
    if not payloads:
        yield "no artifact was stored"
    boards = [json.loads(deployment.uad("leaderboard", "--json", home=one.home))["rows"] for one in homes]
    if boards[0] != boards[1]:
        yield "the boards differ"
    yield from differences(*(contents(one.project, "grid_*") for one in homes))


Trial = Callable[[Deployment, Server], Iterator[str]]

TRIALS: Mapping[str, Trial] = {
    trial.__name__: trial
    for trial in (
        three_by_three,
        as_on_one_machine,
        the_ui,
        a_node_dies,
        two_homes_at_once,
        a_waiting_job_is_stopped,
    )
}
