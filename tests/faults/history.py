"""``--materializations N``: what ``uad plan`` and the UI's pages cost after N materialisations, and after 100.

They are recorded without being computed; each partition of the four stages has its share of them, in other versions.
Of the command its time on the CPU counts, which no other work on the machine lengthens; pages are timed by the clock.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus

from tests.end_to_end.ui_process import clean_environment, running_ui
from tests.faults.outcomes import Outcome, Tally
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.dagster_instance.event_log import (
    DATA_VERSION_TAG,
    PARTITION_TAG,
    materializations,
)
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.stores import open_state
from uad_orchestrator.storage.digests import digest_of

FEW = 100
MOST_MORE = 3.0
"""Seconds that anything may take longer after many materialisations than after ``FEW``."""

REPEATS = 3
PER_RUN = 5

_NODE = '{assetNodes(assetKeys: [{path: ["metrics_report"]}]) {'
PAGES = {
    "page of an asset": _NODE
    + "id staleStatus staleCauses {key {path} reason} assetMaterializations(limit: 1)"
    " {timestamp runId metadataEntries {label __typename}}}}",
    "its partitions": _NODE
    + "partitionStats {numMaterialized numFailed numPartitions} assetPartitionStatuses"
    " {... on MultiPartitionStatuses {ranges {primaryDimStartKey secondaryDim {__typename}}}}}}",
    "its events": _NODE + "assetMaterializations(limit: 100)"
    " {timestamp runId partition tags {key value} metadataEntries {label __typename}}}}",
    "one partition": _NODE + 'latestMaterializationByPartition(partitions: ["alpha/disc|patchcore"])'
    " {timestamp metadataEntries {label __typename}}}}",
    "graph of assets": '{assetsLatestInfo(assetKeys: [{path: ["metrics_report"]}, {path: ["memory_bank"]}])'
    " {id latestMaterialization {timestamp} latestRun {id status} unstartedRunIds inProgressRunIds}}",
}
"""What the UI asks for when these are opened, in little."""


def try_history(count: int, seed: int, folder: Path, *, with_ui: bool = True) -> Tally:
    """Compare the times after ``count`` materialisations with those after ``FEW``.

    Args:
        count: of materialisations.
        seed: nothing is drawn here; it stands in the outcomes.
        folder: empty.
        with_ui: whether the real web server is asked, too.
    """
    workshop = Workshop.build(folder / "home", {"alpha": ["disc", "ring"]}, train=3)
    assert not workshop.refresh().failed
    tally = Tally("materializations")
    _record(workshop, FEW, FEW)
    few = _seconds(workshop, with_ui)
    _record(workshop, count - FEW, count)
    many = _seconds(workshop, with_ui)
    for what, seconds in many.items():
        slower = f"{seconds:.2f} s after {count} materialisations, {few[what]:.2f} s after {FEW}"
        tally.figures[what] = slower
        tally.add(Outcome(what, "timed", seed, slower if seconds - few[what] > MOST_MORE else None))
    return tally


def _record(workshop: Workshop, count: int, number: int) -> None:
    """Record materialisations of every stage and cell in turn, in other versions, and then what is true."""
    project = workshop.project
    with open_instance(project) as instance:
        places = [(stage, cell.key) for cell in open_state(project).cells for stage in STAGES]
        last = {place: materializations(instance, project, *place)[0] for place in places}
        for made, place in enumerate(islice(cycle(places), count)):
            tags = {**(last[place].tags or {}), DATA_VERSION_TAG: digest_of([number, made])}
            instance.report_runless_asset_event(last[place]._replace(tags=tags))
            if made % PER_RUN == 0:
                run = dg.DagsterRun("cell", status=DagsterRunStatus.SUCCESS, tags={PARTITION_TAG: place[1]})
                instance.add_run(run)
    again = workshop.refresh()
    assert not again.failed and all(node.reused for node in again.materialized if node.detector)


def _seconds(workshop: Workshop, with_ui: bool) -> dict[str, float]:
    """Of each question the least of some tries."""
    line = [sys.executable, "-m", "uad_orchestrator.cli", "plan", "--home", str(workshop.home)]

    def plan() -> object:
        answer = subprocess.run(line, check=True, capture_output=True, text=True, env=clean_environment())
        assert "0 stale" in answer.stdout, answer.stdout
        return answer

    found = {"uad plan": _least(plan, _cpu_of_children)}
    if with_ui:
        with running_ui(workshop.home) as server:
            found |= {
                name: _least(partial(server.ask, page), time.perf_counter) for name, page in PAGES.items()
            }
    return found


def _least(measured: Callable[[], object], clock: Callable[[], float]) -> float:
    times = []
    for _ in range(REPEATS):
        started = clock()
        measured()
        times.append(clock() - started)
    return min(times)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
