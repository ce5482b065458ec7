"""``--hours H``: ticks of sensors and schedule over H hours of a clock that is moved on: no double run, flat memory.

Meanwhile weight files change, settings are edited, images arrive; the runs asked for start late, fail or are lost.
"""

from __future__ import annotations

import gc
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import dagster as dg
import psutil
from dagster import DagsterRunStatus

from tests.faults.outcomes import Outcome, Tally
from tests.orchestration.automation.test_sensors import Ticks, change_preset, drop, with_weights
from tests.orchestration.recorded_grid import Ledger
from tests.orchestration.workshop import Workshop, normal_image, write_image
from uad_orchestrator.orchestration.automation.new_checkpoints import NEW_CHECKPOINTS
from uad_orchestrator.orchestration.automation.recalibration_schedule import RECALIBRATE
from uad_orchestrator.orchestration.automation.stale_cells import STALE_CELLS
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.versions.graph import Cell

STEP = {NEW_CHECKPOINTS: 30.0, STALE_CELLS: 60.0, RECALIBRATE: 3600.0}
"""Seconds from tick to tick, as a project has them that says nothing else (the schedule hourly)."""

CHANGES_PER_HOUR = 6.0
LOST, FAILED = 0.1, 0.1
"""Shares of runs that die before they begin, and of those that fail."""

WARM_UP = 0.2
"""Of the ticks; memory is compared from there to the end."""

FEWEST_TICKS = 1000
"""That tell something of memory: fewer are all warm-up."""

MOST_GROWTH = 8 * 2**20
"""Bytes of memory, after the warm-up. Measured: 14 MiB in the first 3,000 ticks, one step of 7, then none in 3,200."""

Clock = list[float]


def try_ticks(hours: float, seed: int, folder: Path) -> Tally:
    """Let hours pass for each sensor and for the schedule.

    Args:
        hours: of the moved clock.
        seed: of what happens.
        folder: empty.
    """
    tally = Tally("hours")
    for name, part in ((NEW_CHECKPOINTS, _checkpoints), (STALE_CELLS, _stale), (RECALIBRATE, _schedule)):
        with _moved_clock() as clock:
            faults, asked, growth = [], 0, _Growth(int(hours * 3600 / STEP[name]))
            for number, tick in enumerate(part(folder / name, clock, hours, random.Random(seed))):
                faults += [f"tick {number}: {tick.fault}"] if tick.fault else []
                asked += tick.asked
                growth.look(number)
        if growth.bytes > MOST_GROWTH and growth.ticks >= FEWEST_TICKS:
            faults.append(f"memory grew by {growth.bytes / 2**20:.1f} MiB")
        tally.add(Outcome(name, f"{growth.ticks} ticks", seed, "; ".join(faults[:5]) or None))
        tally.figures[f"{name}: runs asked for"] = str(asked)
        tally.figures[f"{name}: memory grew by"] = f"{growth.bytes / 2**20:.1f} MiB"
    return tally


class Tick(NamedTuple):
    """How many runs a tick asked for, and what was wrong with it."""

    asked: int
    fault: str | None


@dataclass
class _Run:
    """A run that was asked for; ``read`` is the state of its inputs when it began."""

    cell: str
    run_id: str
    starts: float
    ends: float
    fate: str
    read: int = 0


@dataclass
class _Daemon:
    """What Dagster's daemon and a launcher do with requests, in little."""

    ledger: Ledger
    clock: Clock
    draws: random.Random
    read: Callable[[str], int] = lambda cell: 0
    under_way: list[_Run] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def take(self, request: dg.RunRequest) -> str | None:
        """Launch a run; what is wrong with its being asked for."""
        cell = str(request.partition_key)
        if request.run_key in self.keys:
            return None  # Dagster drops it
        self.keys.add(str(request.run_key))
        double = any(run.cell == cell for run in self.under_way)
        tags = {PARTITION_TAG: cell} if request.partition_key else {}
        job = request.job_name or "cell"
        made = dg.DagsterRun(job_name=job, status=DagsterRunStatus.STARTING, tags=tags)
        self.ledger.instance.add_run(made)
        starts = self.clock[0] + self.draws.uniform(1, 120)
        fate = self.draws.choices(["lost", "failed", "done"], [LOST, FAILED, 1 - LOST - FAILED])[0]
        self.under_way.append(_Run(cell, made.run_id, starts, starts + self.draws.uniform(10, 900), fate))
        return f"{cell} was asked for while a run of it was under way" if double else None

    def work(self, done: Callable[[str, int], None]) -> None:
        """Start and end what is due; ``done`` is told of cells that were computed, and from what."""
        instance, now = self.ledger.instance, self.clock[0]
        for run in list(self.under_way):
            record = instance.get_run_by_id(run.run_id)
            if run.fate == "lost" and now >= run.starts:
                instance.report_run_failed(record, "it never began")
            elif now >= run.ends:
                done(run.cell, run.read) if run.fate == "done" else None
                event = "PIPELINE_SUCCESS" if run.fate == "done" else "PIPELINE_FAILURE"
                instance.report_dagster_event(dg.DagsterEvent(event, record.job_name), run.run_id)
            elif now >= run.starts and record.status is DagsterRunStatus.STARTING:
                instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", record.job_name), run.run_id)
                run.read = self.read(run.cell)
                continue
            else:
                continue
            self.under_way.remove(run)


def _checkpoints(home: Path, clock: Clock, hours: float, draws: random.Random) -> Iterator[Tick]:
    """``new_checkpoints``: each change of a file asks for its cells, once where the run comes through."""
    workshop = Workshop.build(home, {"alpha": ["disc", "ring"]}, train=1)
    files = {"cnn": "a.pth", "other": "b.pth"}
    for name in files.values():
        drop(workshop, name, b"0", int((clock[0] - 3600) * 1e9))
    workshop.edit(with_weights)
    served: dict[str, set[int]] = defaultdict(set)
    changes = dict.fromkeys(files.values(), 0)
    with open_instance(workshop.project) as instance:
        ticks, ledger = Ticks(workshop, instance, NEW_CHECKPOINTS), Ledger(workshop, instance)
        daemon = _Daemon(ledger, clock, draws, lambda key: changes[files[Cell.from_key(key).detector]])

        def done(key: str, read: int) -> None:
            ledger.record_again("checkpoint", Cell.from_key(key))  # as a run does, whatever is recorded
            served[key].add(read)

        ledger.record_inputs(
            Cell.from_key("alpha/disc|cnn"), ["checkpoint"]
        )  # what is imported late is in memory now
        for _ in _steps(clock, hours, STEP[NEW_CHECKPOINTS]):
            daemon.work(done)
            if draws.random() < CHANGES_PER_HOUR * STEP[NEW_CHECKPOINTS] / 3600:
                name = draws.choice(list(changes))
                changes[name] += 1
                drop(workshop, name, b"x" * (changes[name] + 1), int(clock[0] * 1e9))
            fault, requests = None, ticks.look()
            for request in requests:
                key = str(request.partition_key)
                if daemon.read(key) in served[key]:
                    fault = f"{key} was asked for again after it had been computed"
                fault = daemon.take(request) or fault
            yield Tick(len(requests), fault)


def _stale(home: Path, clock: Clock, hours: float, draws: random.Random) -> Iterator[Tick]:
    """``stale_cells``: what is stale is asked for, once where the run comes through; at the end nothing is."""
    workshop = Workshop.build(home, {"alpha": ["disc"]}, train=1)
    with open_instance(workshop.project) as instance:
        ticks, ledger = Ticks(workshop, instance, STALE_CELLS), Ledger(workshop, instance)
        daemon = _Daemon(ledger, clock, draws)
        ledger.record_all()

        def done(key: str, read: int) -> None:
            if key == "None":
                return ledger.record_board()
            ledger.record_inputs(Cell.from_key(key))
            return ledger.record_stages(Cell.from_key(key))

        for number, _ in enumerate(_steps(clock, hours, STEP[STALE_CELLS])):
            daemon.work(done)
            if draws.random() < CHANGES_PER_HOUR * STEP[STALE_CELLS] / 3600:
                change_preset(workshop, 1 + number / 10_000)
            fault, requests = None, ticks.look()
            for request in requests:
                fault = daemon.take(request) or fault
            yield Tick(len(requests), fault)


def _schedule(home: Path, clock: Clock, hours: float, draws: random.Random) -> Iterator[Tick]:
    """``recalibrate``: asks once where images have arrived, and not while the last one is at work."""
    workshop = Workshop.build(home, {"alpha": ["disc"]}, train=1)
    workshop.edit(lambda values: values["datasets"]["alpha"].update(layout="folder", incoming="arriving"))
    workshop.edit(lambda values: values.update(automation={"recalibrate": "0 * * * *"}))
    with open_instance(workshop.project) as instance:
        ticks = Ticks(workshop, instance, STALE_CELLS)
        schedule = ticks.definitions.resolve_schedule_def(RECALIBRATE)
        daemon = _Daemon(Ledger(workshop, instance), clock, draws)
        (workshop.home / "arriving/disc").mkdir(parents=True)
        arrived = workshop.home / "arriving/disc/0.png"
        for _ in _steps(clock, hours, STEP[RECALIBRATE]):
            daemon.work(lambda key, read: arrived.unlink(missing_ok=True))
            if draws.random() < 0.5:
                write_image(arrived, normal_image(1))
            with dg.build_schedule_context(
                instance, scheduled_execution_time=datetime.fromtimestamp(clock[0], UTC)
            ) as context:
                requests = schedule.evaluate_tick(context).run_requests or []
            wanted = arrived.exists() and not daemon.under_way
            fault = None if len(requests) == wanted else f"{len(requests)} runs were asked for"
            for request in requests:
                key = f"recalibrate at {clock[0]}"
                daemon.take(dg.RunRequest(run_key=key, job_name=RECALIBRATE, tags=request.tags))
            yield Tick(len(requests), fault)


def _steps(clock: Clock, hours: float, seconds: float) -> Iterator[None]:
    """Move the clock on, step by step."""
    for _ in range(int(hours * 3600 / seconds)):
        clock[0] += seconds
        yield


@contextmanager
def _moved_clock() -> Iterator[Clock]:
    """A clock that stands until it is moved, for us and for Dagster.

    Alembic keeps a handler for the end of the process for each run's database that is opened. The runs that are made up
    here are in truth other processes', so what it keeps of them is no growth of the ticks.
    """
    clock = [datetime.now(UTC).timestamp()]
    with (
        mock.patch("time.time", lambda: clock[0]),
        mock.patch("alembic.util.pyfiles.atexit", SimpleNamespace(register=lambda handler: handler)),
        mock.patch(
            "dagster._time._mockable_get_current_datetime", lambda: datetime.fromtimestamp(clock[0], UTC)
        ),
    ):
        yield clock


@dataclass
class _Growth:
    """Memory of this process, from the end of the warm-up on."""

    expected: int
    ticks: int = 0
    start: int = 0
    bytes: int = 0

    def look(self, number: int) -> None:
        """Look after a tick; seldom, it takes time."""
        self.ticks = number + 1
        if number == int(WARM_UP * self.expected):
            self.start = _resident()
        elif self.start and (self.ticks % 500 == 0 or self.ticks == self.expected):
            self.bytes = _resident() - self.start


def _resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss
