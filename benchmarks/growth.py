"""What every operation over the grid costs at 500, 2,000 and 8,000 cells, and how steeply that grows.

CPU seconds of the command in a process of its own, start included; the exponent is fitted without the start, which a
grid of one category tells, and over the sizes where the grid shows beside it. What runs beside only adds: of a small
grid the least of three. One grid grows from size to size, so that 8,000 cells are made once (about ten minutes and
a gigabyte, in a temporary folder).
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

SIZES = (100, 400, 1_600)
"""Categories of the grids."""
DETECTORS = 5
"""Of each."""
TRIES = 3
"""Of every operation on all grids but the largest."""
STEEPEST = 1.1
SHOWS = 0.1
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
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        start = _costs(home, 1)
        found = {size: _costs(home, size) for size in SIZES}
    return [row for operation in OPERATIONS for row in _rows(operation, start, found)]


def _rows(
    operation: Operation, start: Mapping[str, Cost], found: Mapping[int, Mapping[str, Cost]]
) -> list[BenchmarkRow]:
    name, costs = operation.name, {size * DETECTORS: of[operation.name] for size, of in found.items()}
    largest, first = max(costs), start[name].seconds
    details = {f"{cells:,} cells, s": cost.seconds for cells, cost in costs.items()}
    details |= {"start, s": first, "peak, MB": costs[largest].megabytes}
    case, seconds = f"{largest:,} cells", costs[largest].seconds - (first if operation.above_start else 0)
    measure = f"{name}, without the start" if operation.above_start else name
    rows = [BenchmarkRow("growth", case, measure, seconds, "s", operation.most, "lower", details)]
    if operation.grows:
        slope = exponent(_beside(first, {cells: cost.seconds for cells, cost in costs.items()}))
        rows.append(BenchmarkRow("growth", case, f"{name}: exponent", slope, "", STEEPEST, "lower"))
    return rows


def _beside(start: float, costs: Mapping[int, float]) -> dict[int, float]:
    """What grids cost beside the start: the two largest, and the others where it shows."""
    own = {cells: max(seconds - start, HARDLY) for cells, seconds in costs.items()}
    largest = sorted(own)[-2:]
    return {cells: cost for cells, cost in own.items() if cells in largest or cost >= SHOWS * start}


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


def _costs(home: Path, categories: int) -> dict[str, Cost]:
    """The cost of every operation by name, once the grid has grown to this size.

    It grows in a process of its own: the peak memory of a process begins with the size of the one that starts it.
    """
    _cost_of(("-m", "benchmarks.growth", "grow", str(categories)), home)
    time.sleep(2.5)  # a file hashed within two seconds of its last change is hashed again
    for warming in ("plan", "leaderboard"):  # digests and findings are kept from now on, as after a refresh
        _cost_of(_uad(warming, "--json"), home)
    tries = TRIES if categories < max(SIZES) else 1
    costs = {op.name: _least_cost(op, home, tries) for op in OPERATIONS if not op.stale}
    _cost_of(("-m", "benchmarks.growth", "stale"), home)
    costs |= {op.name: _least_cost(op, home, tries) for op in OPERATIONS if op.stale}
    _cost_of(("-m", "benchmarks.growth", "fresh"), home)
    told = ", ".join(f"{name} {cost.seconds:.1f} s" for name, cost in costs.items())
    print(f"{categories * DETECTORS:,} cells: {told}", file=sys.stderr)  # the largest grid takes minutes more
    return costs


def _least_cost(operation: Operation, home: Path, tries: int) -> Cost:
    return min(_cost_of(operation.line, home, operation.answers) for _ in range(tries))


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
