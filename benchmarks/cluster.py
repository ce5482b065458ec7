"""Cells an hour on 1, 2 and 4 Ray nodes, with an embedder that takes 10 s a cell and no processor meanwhile.

All nodes are on this machine and share its cores with Dagster, PostgreSQL and the bucket; each takes one job at a time.
The embedder sleeps, as one does that waits for a GPU of its own, so that what is measured is whether jobs keep the
nodes busy. Beside it stands what a cell costs in processor seconds above one ``uad refresh`` on one machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import dagster_ray  # noqa: F401 - where it is missing this benchmark is skipped
import psutil

from benchmarks.rows import BenchmarkRow
from tests.cluster.deployment import Deployment, deployed, detector
from tests.cluster.runs import all_ended, runs
from tests.end_to_end.ui_process import Server, running_ui

NODES = (1, 2, 4)
JOBS = 3
"""That each node takes, one after another."""
SLEEP = 1.0
"""Seconds for each of a cell's 10 images."""
CASE = "an embedder of 10 s a cell"


@dataclass(frozen=True)
class _Rate:
    """What so many nodes made of their cells."""

    cells: int
    seconds: float
    cpu: float

    @property
    def an_hour(self) -> float:
        return 3600 * self.cells / self.seconds


def run() -> list[BenchmarkRow]:
    categories = [f"part{number:02}" for number in range(max(NODES) * JOBS)]
    detectors = {f"on_{nodes}": detector(4 * nodes) for nodes in NODES}
    rates: dict[int, _Rate] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        deployed(Path(folder), categories, detectors, SLEEP) as deployment,
    ):
        deployment.uad("init", "--cluster")
        deployment.set_far_apart()
        deployment.join()
        with running_ui(deployment.home) as server:
            for nodes in NODES:
                while len(deployment.cluster.nodes) < nodes:
                    deployment.join()
                rates[nodes] = _rate(deployment, server, f"on_{nodes}", categories[: nodes * JOBS])
        alone = deployment.new_home("alone", root=".uad")
        before = _cpu_seconds()
        deployment.uad("refresh", "--detector", "on_4", home=alone.home)
        compute = (_cpu_seconds() - before) / len(categories)
    return _rows(rates, compute)


def _rate(deployment: Deployment, server: Server, chosen: str, categories: Sequence[str]) -> _Rate:
    """From the first run's launch to the last one's end."""
    before, cpu = {run.run_id for run in runs(server)}, _cpu_seconds()
    narrowed = [word for category in categories for word in ("--category", f"alpha/{category}")]
    deployment.hand_over("--detector", chosen, *narrowed)
    ended = all_ended(server, len(categories), before)
    seconds = max(run.ended for run in ended) - min(run.created for run in ended)
    return _Rate(len(categories), seconds, _cpu_seconds() - cpu)


def _rows(rates: dict[int, _Rate], compute: float) -> list[BenchmarkRow]:
    one = rates[1]
    rows = []
    for nodes, bar in ((2, 1.8), (4, 3.0)):
        details = {f"cells an hour on {n}": rate.an_hour for n, rate in ((1, one), (nodes, rates[nodes]))}
        measure = f"cells an hour on {nodes} nodes over 1"
        rows.append(
            BenchmarkRow(
                "cluster", CASE, measure, rates[nodes].an_hour / one.an_hour, "x", bar, "higher", details
            )
        )
    details = {"on 1 node, s of CPU": one.cpu / one.cells, "one uad refresh, s of CPU": compute}
    measure = "a cell's run on Ray above its share of one uad refresh"
    return [
        *rows,
        BenchmarkRow(
            "cluster", CASE, measure, one.cpu / one.cells - compute, "s of CPU", 20, "lower", details
        ),
    ]


def _cpu_seconds() -> float:
    """Of this process and all below it, those that have ended too."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total
