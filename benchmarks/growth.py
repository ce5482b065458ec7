"""What every operation over the grid costs at 500, 2,000 and 8,000 cells, and how steeply that grows.

CPU seconds of the command in a process of its own, start included; the exponent is fitted without the start, which a
grid of one category tells, asked in turn with each size as the machine may change its pace meanwhile. What runs beside
only adds: the least of several tries counts. One grid grows from size to size, so that 8,000 cells are made once (about
a quarter of an hour and a gigabyte, in temporary folders).
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.fresh_process import ROOT
from benchmarks.rows import BenchmarkRow

TRIES = {100: 3, 400: 3, 1_600: 2}
"""Of every operation, by the categories of the grids."""
DETECTORS = 5
"""Of each."""
STEEPEST = 1.1
SHOWS = 0.5
"""A grid takes this share of the start at least, or a tenth of a second would bend the exponent."""
HARDLY = 0.01
"""Seconds that count as the least: on a busy machine what does not grow may take less than the start did."""
FIRST_CATEGORY = "line/category_0000"
OTHER_LIMITS = {"aupro_limits": [0.2]}
"""Makes every report stale, with a reason."""


@dataclass(frozen=True)
class Operation:
    """Something that walks the grid.

    Attributes:
        name: what it is called.
        line: the command, of ``uad`` or of this module; the project's folder is added.
        most: CPU seconds that it may take at the largest size.
        above_start: whether those are beside what it takes where there is hardly a cell: bars from a time when the work
            alone was measured.
        stale: whether it is asked while every report is stale.
        grows: whether it walks the whole grid; else its cost may not depend on the grid's size.
        answers: exit statuses of an operation that is done.
    """

    name: str
    line: tuple[str, ...]
    most: float
    above_start: bool = False
    stale: bool = False
    grows: bool = True
    answers: tuple[int, ...] = (0,)


class Cost(NamedTuple):
    """What a process took: CPU seconds, and at its peak megabytes of memory."""

    seconds: float
    megabytes: float


class Costs(NamedTuple):
    """What an operation took where there is hardly a cell, and of a grid."""

    start: Cost
    grid: Cost


def _uad(*words: str) -> tuple[str, ...]:
    return ("-m", "uad_orchestrator.cli", *words, "--home")


OPERATIONS = (
    Operation("plan", _uad("plan", "--json"), 10),
    Operation("board", _uad("leaderboard", "--json"), 8),
    Operation("gc list", _uad("gc", "--dry-run", "--json"), 5, above_start=True),
    Operation("lineage rebuild", _uad("lineage", "rebuild"), 8.9, above_start=True),
    # 1: of so many cells it says that their maps will not fit on this disk, in memory, say
    Operation("check", _uad("check", "--json"), 20, answers=(0, 1)),
    Operation("tick of stale_cells", ("-m", "benchmarks.growth", "tick"), 15),
    Operation("code location", ("-m", "benchmarks.growth", "load"), 5),
    Operation("why a cell", _uad("why", "metrics_report", FIRST_CATEGORY, "patchcore_00"), 4, grows=False),
    Operation("plan, every report stale", _uad("plan", "--json"), 15, stale=True),
    Operation("board, every report stale", _uad("leaderboard", "--json"), 20, stale=True),
)


def run() -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
        _grow_to(Path(small), 1)
        found = {size: _costs(Path(small), Path(large), size) for size in TRIES}
    return [row for operation in OPERATIONS for row in _rows(operation, found)]


def _rows(operation: Operation, found: Mapping[int, Mapping[str, Costs]]) -> list[BenchmarkRow]:
    name, of_sizes = operation.name, {size * DETECTORS: of[operation.name] for size, of in found.items()}
    costs = {cells: of.grid for cells, of in of_sizes.items()}
    largest, start = max(costs), min(of.start.seconds for of in of_sizes.values())
    details = {f"{cells:,} cells, s": cost.seconds for cells, cost in costs.items()}
    details |= {"start, s": start, "peak, MB": costs[largest].megabytes}
    case, seconds = f"{largest:,} cells", costs[largest].seconds - (start if operation.above_start else 0)
    measure = f"{name}, without the start" if operation.above_start else name
    rows = [BenchmarkRow("growth", case, measure, seconds, "s", operation.most, "lower", details)]
    if operation.grows:
        slope = exponent(beside(start, {cells: cost.seconds for cells, cost in costs.items()}))
        rows.append(BenchmarkRow("growth", case, f"{name}: exponent", slope, "", STEEPEST, "lower"))
    return rows


def beside(start: float, costs: Mapping[int, float]) -> dict[int, float]:
    """What grids cost beside the start, as an exponent is fitted to it: the two largest, and others where it shows.

    Where it does not even show at the largest, what is told is how steeply all grows, the start included.

    >>> beside(2.0, {500: 2.3, 2_000: 3.2, 8_000: 6.8})
    {2000: 1.2, 8000: 4.8}
    """
    own = {cells: round(max(seconds - start, HARDLY), 6) for cells, seconds in costs.items()}
    shown = {cells for cells, cost in own.items() if cost >= SHOWS * start}
    largest = sorted(own)[-2:]
    if largest[-1] not in shown:
        return dict(costs)
    return {cells: cost for cells, cost in own.items() if cells in shown or cells in largest}


def exponent(costs: Mapping[int, float]) -> float:
    """The slope of a straight line through the logarithms of sizes and costs.

    >>> round(exponent({10: 3.0, 20: 12.0, 40: 48.0}), 6)
    2.0
    """
    sizes, seconds = ([math.log(value) for value in of] for of in (costs.keys(), costs.values()))
    middle = sum(sizes) / len(sizes)
    run, rise = (
        sum((s - middle) * value for s, value in zip(sizes, of, strict=True)) for of in (sizes, seconds)
    )
    return rise / run


def _costs(small: Path, home: Path, categories: int) -> dict[str, Costs]:
    """The costs of every operation by name, once the grid has grown to this size."""
    _grow_to(home, categories)
    tries = TRIES[categories]
    costs = {op.name: _least_costs(op, small, home, tries) for op in OPERATIONS if not op.stale}
    _both("stale", small, home)
    costs |= {op.name: _least_costs(op, small, home, tries) for op in OPERATIONS if op.stale}
    _both("fresh", small, home)
    told = ", ".join(f"{name} {of.grid.seconds:.1f} s ({of.start.seconds:.1f})" for name, of in costs.items())
    print(f"{categories * DETECTORS:,} cells: {told}", file=sys.stderr)  # the largest grid takes minutes more
    return costs


def _grow_to(home: Path, categories: int) -> None:
    """Make the grid, or have it grow.

    It grows in a process of its own: the peak memory of a process begins with the size of the one that starts it.
    """
    _cost_of(("-m", "benchmarks.growth", "grow", str(categories)), home)
    time.sleep(2.5)  # a file hashed within two seconds of its last change is hashed again
    for warming in ("plan", "leaderboard"):  # digests and findings are kept from now on, as after a refresh
        _cost_of(_uad(warming, "--json"), home)


def _both(part: str, *homes: Path) -> None:
    for home in homes:
        _cost_of(("-m", "benchmarks.growth", part), home)


def _least_costs(operation: Operation, small: Path, home: Path, tries: int) -> Costs:
    """Of the start and of the grid, asked in turn, the least of each."""
    found = [[_cost_of(operation.line, of, operation.answers) for of in (small, home)] for _ in range(tries)]
    return Costs(*map(min, zip(*found, strict=True)))


def _cost_of(line: Sequence[str], home: Path, answers: tuple[int, ...] = (0,)) -> Cost:
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen([sys.executable, *line, str(home)], stdout=said, stderr=said, cwd=ROOT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in answers:
            said.seek(0)
            raise RuntimeError(f"{' '.join(line)} failed:\n{said.read()[-4000:].decode()}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _grow(categories: str, home: Path) -> None:
    """The grid, with more cells than before, as if a refresh had computed and recorded them."""
    from benchmarks.made_up.project_grid import build_grid, record_grid
    from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
    from uad_orchestrator.project import load_project

    build_grid(home, int(categories), DETECTORS)
    with open_instance(load_project(home)) as instance:
        record_grid(home, instance)


def _stale(home: Path) -> None:
    """Settings by which every report is stale."""
    from benchmarks.made_up.project_grid import write_project

    write_project(home, DETECTORS, evaluation=OTHER_LIMITS)


def _fresh(home: Path) -> None:
    """The settings by which it was computed."""
    from benchmarks.made_up.project_grid import write_project

    write_project(home, DETECTORS)


def _tick(home: Path) -> None:
    """A tick of the sensor that asks for stale cells; of a grid without any."""
    import dagster as dg

    from uad_orchestrator.orchestration.code_location import build_definitions
    from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
    from uad_orchestrator.project import load_project

    project = load_project(home)
    sensor = build_definitions(project).get_sensor_def("stale_cells")
    with open_instance(project) as instance:
        found = sensor.evaluate_tick(dg.build_sensor_context(instance, sensor_name=sensor.name))
    if found.run_requests or "fresh" not in (found.skip_message or ""):
        raise RuntimeError(f"a grid that is up to date is asked for: {found}")


def _load(home: Path) -> None:
    """The code location, as Dagster's processes load it."""
    from uad_orchestrator.orchestration.code_location import build_definitions
    from uad_orchestrator.project import load_project

    build_definitions(load_project(home)).get_repository_def()


PARTS = {"grow": _grow, "stale": _stale, "fresh": _fresh, "tick": _tick, "load": _load}

if __name__ == "__main__":
    part, *words, folder = sys.argv[1:]
    PARTS[part](*words, Path(folder))
