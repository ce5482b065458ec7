"""The sensor ``line_days``: asks for the days of the line that have new records. A tick looks at names, sizes, times.

What was read stands in the kept health of each day, so that a lost cursor costs a look and no run. Today is asked for
every ``line.refresh_minutes`` while records come; a day that ended once more, and is settled when that was done: from
then on it is not looked at again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from uad_orchestrator.inference.records.contents import day_stamp
from uad_orchestrator.inference.records.record_files import recorded_cells, recorded_days, today
from uad_orchestrator.orchestration.assets.line import LINE
from uad_orchestrator.orchestration.assets.line_partitions import day_key, first_day
from uad_orchestrator.orchestration.automation.run_requests import loaded_cells, only_loaded, tick_result
from uad_orchestrator.orchestration.cells.line_day import kept_health
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.names import name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import AssetJob, runs_at_work
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project, ProjectError, read_again

LINE_DAYS = "line_days"
INTERVAL = 60
DAYS_PER_TICK = 20
TRIES = 3
"""Of a day that ended, with the same records: the first, and two retries."""
FIRST_WAIT = 300.0
"""Seconds until such a day is asked for again; four times as long the next time."""
AFTER_MIDNIGHT = 300.0
"""Seconds after its end from which on no more records of a day are expected."""
LOOKING_SECONDS = 10.0
"""Of the 20 s that we give a tick, as Dagster ends one after 60."""


def line_days_sensor(project: Project, job: AssetJob) -> dg.SensorDefinition:
    """Asks for days with new records, of the cells in turn.

    Args:
        project: as the code location was loaded.
        job: ``line``.
    """
    loaded, start = loaded_cells(project), first_day(project)

    @dg.sensor(
        name=name_in_dagster(project, LINE_DAYS),
        job=job,
        minimum_interval_seconds=INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"New records of the line: today's at most every {project.line.refresh_minutes:g} minutes, a day "
        f"that ended once more. {DAYS_PER_TICK} days per tick at most.",
    )
    def line_days(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            now_project = read_again(project)
        except ProjectError as error:
            return dg.SkipReason(f"uad.yaml cannot be read, nothing was looked at: {error}")
        if now_project.line.records is None:
            return dg.SkipReason("uad.yaml says no more where records lie (line.records)")
        seen = Seen.from_cursor(context.cursor)
        seen.look_at(f"{now_project.line.records} from {start}")
        tick = _LineTick(now_project, now_project.line.records, context.instance, seen, start)
        requests = tick.ask(loaded)
        for note in tick.notes:
            context.log.warning(note)
        return tick_result(requests, seen.to_cursor(), tick.notes, "no new records")

    return line_days


@dataclass(frozen=True)
class Asked:
    """A day that was asked for: with which records, how often, and when (seconds since the epoch)."""

    stamp: str
    tries: int
    when: float

    def again(self) -> float:
        """When it is asked for again if its run came to nothing."""
        return self.when + FIRST_WAIT * 4 ** (self.tries - 1)


@dataclass
class Seen:
    """What the sensor remembers.

    Attributes:
        settled: of each cell the day up to which all is done.
        asked: the days that were asked for and not yet read, by partition key.
        next_cell: where the next tick begins, if this one's time ran out.
        place: the folder of records and the first day that all this is of; of others nothing is settled.
    """

    settled: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    next_cell: int = 0
    place: str = ""

    @classmethod
    def from_cursor(cls, text: str | None) -> Seen:
        """What the last tick remembered; nothing where that is unreadable."""
        try:
            values = json.loads(text or "{}")
            asked = {key: Asked(**entry) for key, entry in values.get("asked", {}).items()}
            settled, place = dict(values.get("settled", {})), str(values.get("place", ""))
            return cls(settled, asked, int(values.get("next_cell", 0)), place)
        except (ValueError, TypeError, AttributeError):
            return cls()

    def look_at(self, place: str) -> None:
        """Where other records are looked at than before, or earlier days, nothing of them is settled."""
        if place != self.place:
            self.settled, self.place = {}, place

    def to_cursor(self) -> str:
        """For the next tick."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class _NewRecords:
    cell: Cell
    day: str
    stamp: str
    tries: int


@dataclass
class _LineTick:
    """One look at the records of all cells."""

    project: Project
    records: Path
    instance: dg.DagsterInstance
    seen: Seen
    start: str
    notes: list[str] = field(default_factory=list)

    def ask(self, loaded: Collection[str]) -> list[dg.RunRequest]:
        """The runs to ask for: today's first, then from the oldest day on."""
        cells = self._cells(loaded)
        now, last = time.time(), today()
        at_work = self._at_work()
        found = [new for cell in self._in_turn(cells) for new in self._new(cell, last, now, at_work)]
        found.sort(key=lambda new: (new.day != last, new.day))
        return [self._request(new, now) for new in found[:DAYS_PER_TICK]]

    def _cells(self, loaded: Collection[str]) -> list[Cell]:
        cells = [Cell(category, detector) for category, detector in self.project.cells()]
        known, missing = only_loaded(cells, loaded)
        self.notes += [missing] if missing else []
        names = {(cell.category, cell.detector) for cell in cells}
        strange = [f"{category} x {name}" for category, name in recorded_cells(self.records)
                   if (category, name) not in names]  # fmt: skip
        if strange:
            self.notes.append(f"records of cells that are not in uad.yaml: {', '.join(strange[:5])}")
        return known

    def _in_turn(self, cells: list[Cell]) -> Iterator[Cell]:
        """All cells; where time runs out, the next tick goes on from there."""
        until, first = time.monotonic() + LOOKING_SECONDS, self.seen.next_cell % max(len(cells), 1)
        for place in range(len(cells)):
            at = (first + place) % len(cells)
            if time.monotonic() > until:
                self.seen.next_cell = at
                self.notes.append(f"{len(cells) - place} cells are looked at in a later tick")
                return
            yield cells[at]
        self.seen.next_cell = 0

    def _new(self, cell: Cell, last: str, now: float, at_work: Collection[str]) -> Iterator[_NewRecords]:
        """The days of a cell to ask for now."""
        settled = self.seen.settled.get(cell.key, "")
        up_to_here = True
        days = recorded_days(self.records, cell.category, cell.detector)
        # By another clock than this one: an hour ahead may be a day ahead, around midnight.
        if ahead := [day for day in days if now + 3600 < _end_of(day) - 86400]:
            self.notes.append(
                f"{cell} has records of {ahead[0]}, a day to come: is the clock of the line right?"
            )
        for day in days:
            if not max(settled, self.start) <= day <= last or day == settled:
                continue
            key = str(day_key(cell, day))
            stamp = day_stamp(self.records, cell.category, cell.detector, day)
            kept = kept_health(self.project, cell, day)
            if not stamp or (kept is not None and kept.stamp == stamp):
                if day != last:  # of today it says when it was asked for last
                    self.seen.asked.pop(key, None)
                if up_to_here and now > _end_of(day) + AFTER_MIDNIGHT:
                    self.seen.settled[cell.key] = day
                continue
            up_to_here = False
            if key not in at_work and self._is_due(key, stamp, day == last, now):
                asked = self.seen.asked.get(key)
                tries = asked.tries if asked is not None and asked.stamp == stamp else 0
                yield _NewRecords(cell, day, stamp, tries)

    def _is_due(self, key: str, stamp: str, is_today: bool, now: float) -> bool:
        asked = self.seen.asked.get(key)
        if asked is None:
            return True
        if is_today:
            return now >= asked.when + 60 * self.project.line.refresh_minutes
        if asked.stamp != stamp:
            return True
        if asked.tries >= TRIES:
            self.notes.append(f"{key} was asked for {asked.tries} times and not read: see its last run")
            return False
        return now >= asked.again()

    def _request(self, new: _NewRecords, now: float) -> dg.RunRequest:
        key = day_key(new.cell, new.day)
        self.seen.asked[str(key)] = Asked(new.stamp, new.tries + 1, now)
        return dg.RunRequest(
            run_key=f"{key}:{new.stamp}:{new.tries}",
            job_name=name_in_dagster(self.project, LINE),
            partition_key=str(key),
            tags={
                "uad/category": new.cell.category,
                "uad/detector": new.cell.detector,
                "uad/asked_by": LINE_DAYS,
            },
        )

    def _at_work(self) -> set[str]:
        fail_dead_runs(self.instance)
        runs = runs_at_work(self.instance, name_in_dagster(self.project, LINE))
        return {record.dagster_run.tags.get(PARTITION_TAG, "") for record in runs}


def _end_of(day: str) -> float:
    return datetime.combine(date.fromisoformat(day) + timedelta(days=1), datetime.min.time(), UTC).timestamp()
