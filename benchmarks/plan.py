"""``uad plan`` and an idle ``uad refresh`` over 3,225 nodes, and what a cell's run costs beside its computing.

Commands run in processes of their own; ``import dagster`` in one of its own is taken off. Dagster's own resolver is
asked about all cells of every fifth category of the same instance, and its time scaled up to all categories:
it has no bulk form, so each key costs the same.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg

from benchmarks.made_up.project_grid import build_grid, record_grid
from benchmarks.rows import BenchmarkRow
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.execution.cell_runs import QUIET, CellRunner, CellTask
from uad_orchestrator.orchestration.planning.plan import Planner
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, STAGES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import inputs_stamp, open_state, open_store
from uad_orchestrator.project import Project, load_project

REPEATS, EVERY, CELL_RUNS = 3, 5, 7
CATEGORIES, DETECTORS = 43, 15
CASE = f"{CATEGORIES} x {DETECTORS} x {len(CELL_ASSETS)}"


def run() -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        build_grid(home, CATEGORIES, DETECTORS)
        project = load_project(home)
        with open_instance(project) as instance:
            record_grid(home, instance)
            commands = _command_rows(home)
            resolver = _resolver_row(project, instance)
            cells = _cell_rows(project, instance)
    return [*commands, resolver, *cells]


def _command_rows(home: Path) -> list[BenchmarkRow]:
    bare = _fastest(lambda: _seconds([sys.executable, "-c", "import dagster"]))
    rows = []
    for command in ("plan", "refresh"):
        line = [sys.executable, "-m", "uad_orchestrator.cli", command, "--json", "--home", str(home)]
        _require_idle(command, json.loads(_output(line)))
        before = _cpu_seconds()
        ours = _fastest(lambda line=line: _seconds(line))
        cpu = (_cpu_seconds() - before) / REPEATS
        details = {"command, s": ours, "import dagster, s": bare, "command, s of CPU": cpu}
        measure = f"uad {command} above import dagster"
        rows.append(BenchmarkRow("plan", CASE, measure, ours - bare, "s", 3, "lower", details))
    return rows


def _resolver_row(project: Project, instance: dg.DagsterInstance) -> BenchmarkRow:
    def plan() -> float:
        started = time.perf_counter()
        found = Planner(open_state(project), open_store(project), instance).plan(Selection())
        assert not found.stale
        return time.perf_counter() - started

    categories = project.category_keys()
    sampled = categories[::EVERY]
    keys = [(asset, Cell(c, d).key) for c in sampled for d in project.detectors for asset in CELL_ASSETS]
    asked, stale = _ask_dagster(project, instance, keys)
    scaled, ours = asked * len(categories) / len(sampled), _fastest(plan)
    details = {
        "plan, s": ours,
        f"resolver on {len(keys)} keys, s": asked,
        f"scaled to {len(categories)} categories, s": scaled,
        "keys it calls stale": str(stale),
    }
    return BenchmarkRow(
        "plan", CASE, "plan over Dagster's stale status", scaled / ours, "x", 20, "higher", details
    )


def _ask_dagster(
    project: Project, instance: dg.DagsterInstance, keys: Sequence[tuple[str, str]]
) -> tuple[float, int]:
    """Seconds of Dagster's resolver on these (asset, partition), and how many it does not call fresh."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    graph = build_definitions(project).resolve_asset_graph()
    started = time.perf_counter()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    found = [resolver.get_status(asset_key(project, asset), partition) for asset, partition in keys]
    return time.perf_counter() - started, sum(status != StaleStatus.FRESH for status in found)


def _cell_rows(project: Project, instance: dg.DagsterInstance) -> list[BenchmarkRow]:
    """Cells computed for real, each next to an empty run of five assets in the same instance."""
    state, store = open_state(project), open_store(project)
    chosen = [Cell(category, "patchcore_00") for category in project.category_keys()[: CELL_RUNS + 1]]
    linear, alike = _empty_assets(project, alike=False), _empty_assets(project, alike=True)
    measured: dict[str, list[float]] = {name: [] for name in ("overhead", "computing", "linear", "alike")}
    runner = CellRunner(project, instance, "benchmark")
    for cell in chosen:
        run = CellRun(cell, state, store)
        for asset in STAGES:
            store.delete(run.key(asset))
        started = time.perf_counter()
        outcome = runner.run(CellTask(cell, CELL_ASSETS, inputs_stamp(state, cell)))
        wall = time.perf_counter() - started
        assert not outcome.failed, outcome.failed
        computing = sum(run.provenance(asset).seconds for asset in STAGES)
        measured["overhead"].append(wall - computing)
        measured["computing"].append(computing)
        for name, assets in (("linear", linear), ("alike", alike)):
            started = time.perf_counter()
            dg.materialize(
                assets,
                selection=[f"empty_{asset}" for asset in CELL_ASSETS],
                partition_key=cell.key,
                instance=instance,
                run_config=QUIET,
            )
            measured[name].append(time.perf_counter() - started)
    median = {name: statistics.median(values[1:]) for name, values in measured.items()}  # the first warms up
    details = {f"{name}, s": value for name, value in median.items()}
    return [
        BenchmarkRow("plan", "a cell", measure, median["overhead"] / median[name], "x", 1.3, "lower", details)
        for name, measure in (
            ("linear", "run less computing, over five empty assets in a row"),
            ("alike", "run less computing, over five empty assets that read as much"),
        )
    ]


def _empty_assets(project: Project, *, alike: bool) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Assets that do nothing, one per asset of a cell; ``alike`` reads the inputs a cell reads, too."""
    from uad_orchestrator.orchestration.assets.partitions import project_partitions
    from uad_orchestrator.orchestration.versions.graph import INPUTS, NODES

    partitions = project_partitions(project)

    def empty(asset: str, reads: Sequence[str]) -> dg.AssetsDefinition:
        @dg.asset(name=f"empty_{asset}", deps=list(reads), partitions_def=partitions.cell)
        def nothing() -> None:
            return None

        return nothing

    assets: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for position, asset in enumerate(CELL_ASSETS):
        before = [f"empty_{CELL_ASSETS[position - 1]}"] if position else []
        reads = [f"empty_{n}" if n in CELL_ASSETS else n for n in NODES[asset].reads] if alike else before
        assets.append(empty(asset, reads))
    if alike:
        assets += [
            dg.AssetSpec(name, partitions_def=partitions.of(NODES[name].dimension))
            for name in INPUTS
            if name not in CELL_ASSETS
        ]
    return assets


def _require_idle(command: str, found: dict) -> None:
    """Nothing may be stale, or the wrong thing is measured."""
    busy = found.get("stale") or found.get("materialized") or found.get("restamped")
    if busy:
        raise RuntimeError(f"uad {command} found work on a grid that is up to date: {str(busy)[:500]}")


def _output(line: Sequence[str]) -> str:
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def _seconds(line: Sequence[str]) -> float:
    started = time.perf_counter()
    _output(line)
    return time.perf_counter() - started


def _cpu_seconds() -> float:
    """Of all ended child processes: what a clock shows that no other work disturbs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _fastest(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(REPEATS))
