"""Cells an hour on 1, 2 and 4 Ray nodes, with an embedder that takes 10 s a category and no processor meanwhile.

All nodes are on this machine and share its cores with Dagster, PostgreSQL and the bucket; each takes one job at a time.
The embedder sleeps, as one does that waits for a GPU of its own, so that what is measured is whether jobs keep the
nodes busy. Four nodes work at jobs of several cells (``run_per: embedder``, ``categories_per_run``), so that start-up
is paid once a job, and are held against one node at the same jobs: what a job starts with keeps a core busy for
seconds, and that of four nodes keeps two cores busy for as long as a category sleeps. Beside it stands what a cell
costs in processor seconds above one ``uad refresh`` on one machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster_ray  # noqa: F401 - where it is missing this benchmark is skipped

from benchmarks.cpu_meter import CpuMeter, running_meter
from benchmarks.rows import BenchmarkRow
from tests.cluster.deployment import Deployment, deployed, detector
from tests.cluster.runs import all_ended, backfills_ended, runs
from tests.end_to_end.ui_process import Server, running_ui

JOBS, JOBS_OF_GROUPS = 3, 2
"""That each node takes, one after another, at a cell a job and where cells are grouped."""
GROUP, CATEGORIES = 3, 10
"""Cells of a category in a job, and categories, where cells are grouped."""
POLL, WATCH = 30, 15.0
"""Seconds after which Dagster asks for its jobs, as it does by default, and after which this asks whether all is done:
who asks takes the processors of those who work."""
SLEEP = 1.0
"""Seconds for each of a category's 10 images."""
CASE = "an embedder of 10 s a category"
DETECTORS = {
    "single_1": detector(4),
    "single_2": detector(8),
    **{
        f"group_{nodes}_{n}": detector(cell, 0.1 * (n + 1))
        for nodes, cell in ((1, 16), (4, 32))
        for n in range(GROUP)
    },
}


@dataclass(frozen=True)
class _Work:
    """What nodes made of their cells.

    Attributes:
        cells: how many.
        seconds: from the first run's launch to the last one's end.
        cpu: seconds of processors, of everything that ran.
    """

    cells: int
    seconds: float
    cpu: float

    @property
    def an_hour(self) -> float:
        return 3600 * self.cells / self.seconds


def run() -> list[BenchmarkRow]:
    categories = [f"part{number:02}" for number in range(4 * JOBS_OF_GROUPS * CATEGORIES)]
    with (
        tempfile.TemporaryDirectory() as folder,
        deployed(Path(folder), categories, DETECTORS, SLEEP) as deployment,
        running_meter() as meter,
    ):
        work = partial(_work, deployment, meter)
        deployment.uad("init", "--cluster")
        deployment.set_far_apart(POLL)
        deployment.join()
        with running_ui(deployment.home) as server:
            single_1 = work(server, "single_1", categories[:JOBS])
            deployment.join()
            single_2 = work(server, "single_2", categories[: 2 * JOBS])
        for _ in range(2):
            deployment.join()
        grouped = {"run_per": "embedder", "categories_per_run": CATEGORIES}
        deployment.edit(lambda values: values["runtime"].update(grouped))
        with running_ui(deployment.home) as server:
            group_4 = work(server, "group_4_*", categories)
            deployment.keep(1)
            group_1 = work(server, "group_1_*", categories[: JOBS_OF_GROUPS * CATEGORIES])
        alone = deployment.new_home("alone", root=".uad")
        before = meter.seconds()
        deployment.uad("refresh", "--detector", "single_1", home=alone.home)
        compute = (meter.seconds() - before) / len(categories)
    return [
        _ratio("a cell a job, 2 nodes", single_2, single_1, 1.8),
        _ratio(f"{GROUP * CATEGORIES} cells a job, 4 nodes", group_4, group_1, 3.0),
        _overhead("a cell a job", single_1, compute, 25),
        _overhead(f"{GROUP * CATEGORIES} cells a job", group_1, compute, 12),
    ]


def _work(
    deployment: Deployment, meter: CpuMeter, server: Server, detectors: str, categories: Sequence[str]
) -> _Work:
    before, cpu = {run.run_id for run in runs(server)}, meter.seconds()
    narrowed = [word for category in categories for word in ("--category", f"alpha/{category}")]
    deployment.hand_over("--detector", detectors, *narrowed)
    cells = len(categories) * sum(Path(name).match(detectors) for name in DETECTORS)
    ended = all_ended(server, cells, before, WATCH)
    seconds = max(run.ended for run in ended) - min(run.created for run in ended)
    work = _Work(cells, seconds, meter.seconds() - cpu)
    backfills_ended(server)  # with the board's run: it would be in the way of what is measured next
    return work


def _ratio(what: str, nodes: _Work, one: _Work, bar: float) -> BenchmarkRow:
    details = {
        "cells an hour": nodes.an_hour,
        "on 1 node": one.an_hour,
        "s of CPU a cell": nodes.cpu / nodes.cells,
    }
    measure = f"{what}: cells an hour over those of 1 node"
    return BenchmarkRow("cluster", CASE, measure, nodes.an_hour / one.an_hour, "x", bar, "higher", details)


def _overhead(what: str, work: _Work, compute: float, bar: float) -> BenchmarkRow:
    details = {"on 1 node, s of CPU": work.cpu / work.cells, "in one uad refresh": compute}
    measure = f"{what}: processor seconds of a cell above those of one refresh"
    return BenchmarkRow("cluster", CASE, measure, work.cpu / work.cells - compute, "s", bar, "lower", details)
