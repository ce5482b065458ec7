"""The sensor of the line asks for days with new records, each once, and settles those that ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterRunStatus

from tests.inference.records.made_up import made_records, write_journal
from tests.orchestration.workshop import Workshop
from uad_orchestrator.inference.records.contents import day_stamp
from uad_orchestrator.inference.records.health import LineHealth
from uad_orchestrator.orchestration.assets.line_partitions import day_key
from uad_orchestrator.orchestration.automation import line_days
from uad_orchestrator.orchestration.automation.line_days import FIRST_WAIT, Seen
from uad_orchestrator.orchestration.cells.line_day import health_file
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.storage.atomic import write_text

CELL, OTHER = Cell("alpha/disc", "patchcore"), Cell("alpha/disc", "dino")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
TODAY, YESTERDAY = "2026-11-26", "2026-11-25"


class Line:
    """A line whose clock is set by hand, and the sensor that watches it."""

    def __init__(
        self, workshop: Workshop, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.workshop, self.instance, self.now = workshop, instance, NOON
        self.cursor: str | None = None
        self.parts = 0
        monkeypatch.setattr(line_days.time, "time", lambda: self.now)
        monkeypatch.setattr(
            line_days, "today", lambda: datetime.fromtimestamp(self.now, UTC).date().isoformat()
        )
        self.definitions = build_definitions(workshop.project)

    def record(self, day: str, cell: Cell = CELL) -> None:
        """One more part."""
        self.parts += 1
        about = {"category": cell.category, "detector": cell.detector}
        records = made_records(day, [0.5], model=f"part {self.parts}", **about)
        write_journal(self.workshop.home / "records", records)

    def read(self, day: str, cell: Cell = CELL) -> None:
        """What the run that was asked for leaves behind."""
        project = self.workshop.project
        stamp = day_stamp(self.workshop.home / "records", cell.category, cell.detector, day)
        health = LineHealth(
            category=cell.category, detector=cell.detector, day=day, records="", stamp=stamp, parts=1
        )
        write_text(health_file(project, cell, day), health.model_dump_json())

    def tick(self) -> list[dg.RunRequest]:
        with dg.build_sensor_context(
            self.instance, cursor=self.cursor, definitions=self.definitions, sensor_name="line_days"
        ) as context:
            found = self.definitions.resolve_sensor_def("line_days").evaluate_tick(context)
        self.cursor, self.reason = found.cursor, found.skip_message
        return list(found.run_requests)

    def days(self) -> list[tuple[Cell, str]]:
        requests = self.tick()
        assert len({request.run_key for request in requests}) == len(requests)
        assert {request.job_name for request in requests} <= {"line"}
        return [
            (cell, day)
            for request in requests
            for cell in (CELL, OTHER)
            for day in [str(request.partition_key).partition("|")[2]]
            if request.partition_key == str(day_key(cell, day))
        ]


def with_line(values: dict[str, Any]) -> None:
    values["detectors"].pop("bright")
    values["line"] = {"records": "records", "start": "2026-11-01"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    workshop = Workshop.build(tmp_path_factory.mktemp("days"), {"alpha": ["disc"]}, train=1)
    workshop.edit(with_line)
    return workshop


@pytest.fixture
def line(built: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Line(built.copied_to(tmp_path / "days"), instance, monkeypatch)


def test_a_day_with_new_records_is_asked_for_once(line: Line) -> None:
    assert line.days() == [] and line.reason == "no new records"
    line.record(YESTERDAY)
    line.record(YESTERDAY, OTHER)
    assert set(line.days()) == {(CELL, YESTERDAY), (OTHER, YESTERDAY)}
    assert line.days() == [], "its run is awaited"
    line.read(YESTERDAY)
    line.read(YESTERDAY, OTHER)
    assert line.days() == []
    assert Seen.from_cursor(line.cursor).settled == {CELL.key: YESTERDAY, OTHER.key: YESTERDAY}


def test_today_is_refreshed_every_some_minutes_and_once_more_after_it_ended(line: Line) -> None:
    line.record(TODAY)
    assert line.days() == [(CELL, TODAY)]
    line.read(TODAY)
    assert line.days() == []
    line.record(TODAY)
    line.now += 9 * 60
    assert line.days() == []
    line.now += 2 * 60
    assert line.days() == [(CELL, TODAY)]
    line.read(TODAY)
    line.record(TODAY)
    line.now = NOON + 12 * 3600 + 60
    assert line.days() == [(CELL, TODAY)], "yesterday by now: no waiting"
    line.read(TODAY)
    assert line.days() == []
    assert Seen.from_cursor(line.cursor).settled == {}, "its writer may still be at it"
    line.now += 600
    assert line.days() == []
    assert Seen.from_cursor(line.cursor).settled == {CELL.key: TODAY}
    line.record(TODAY)
    assert line.days() == [], "what is settled is not looked at"


def test_of_another_folder_and_of_an_earlier_start_nothing_is_settled(line: Line) -> None:
    line.record(YESTERDAY)
    line.days()
    line.read(YESTERDAY)
    assert line.days() == [] and Seen.from_cursor(line.cursor).settled
    line.record("2026-10-20")
    line.workshop.edit(lambda values: values["line"].update(start="2026-10-01"))
    line.definitions = build_definitions(line.workshop.project)
    assert line.days() == [(CELL, "2026-10-20")]
    line.read("2026-10-20")
    assert line.days() == [] and Seen.from_cursor(line.cursor).settled
    line.workshop.edit(lambda values: values["line"].update(records="moved"))
    (line.workshop.home / "records").rename(line.workshop.home / "moved")
    write_journal(
        line.workshop.home / "moved",
        made_records(YESTERDAY, [0.7], detector="patchcore", category="alpha/disc"),
        "more.jsonl",
    )
    assert line.days() == [(CELL, YESTERDAY)]


def test_a_cursor_that_is_lost_costs_no_run(line: Line) -> None:
    line.record(YESTERDAY)
    line.days()
    line.read(YESTERDAY)
    line.cursor = None
    assert line.days() == []
    line.cursor = "no json"
    assert line.days() == []
    assert Seen.from_cursor(line.cursor).settled == {CELL.key: YESTERDAY}


def test_a_tick_that_is_repeated_asks_under_the_same_key(line: Line) -> None:
    line.record(YESTERDAY)
    line.cursor = Seen().to_cursor()
    keys = []
    for _ in range(2):
        (request,) = line.tick()
        keys.append(request.run_key)
        line.cursor = Seen().to_cursor()
    assert keys[0] == keys[1]


def test_days_that_fail_are_tried_again_and_then_said(line: Line) -> None:
    line.record(YESTERDAY)
    keys = [line.tick()[0].run_key]
    line.now += FIRST_WAIT - 1
    assert line.tick() == []
    line.now += 2
    keys.append(line.tick()[0].run_key)
    line.now += 4 * FIRST_WAIT + 1
    keys.append(line.tick()[0].run_key)
    assert len(set(keys)) == 3
    line.now += 3600
    assert line.tick() == [] and "asked for 3 times and not read" in str(line.reason)
    line.record(YESTERDAY)
    assert line.days() == [(CELL, YESTERDAY)], "other records, a new beginning"


def test_a_day_at_work_is_not_asked_for(line: Line) -> None:
    line.record(YESTERDAY)
    tags = {PARTITION_TAG: str(day_key(CELL, YESTERDAY))}
    line.instance.add_run(dg.DagsterRun(job_name="line", status=DagsterRunStatus.NOT_STARTED, tags=tags))
    assert line.days() == []


def test_many_days_come_a_few_at_a_time_today_first(line: Line) -> None:
    days = [(date(2026, 11, 1) + timedelta(days=n)).isoformat() for n in range(26)]
    for day in days:
        line.record(day)
    first = line.days()
    assert len(first) == line_days.DAYS_PER_TICK
    assert first[0] == (CELL, TODAY) and [day for _, day in first[1:]] == days[:19]
    assert [day for _, day in line.days()] == days[19:25]


def test_a_tick_without_time_goes_on_where_it_stopped(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    for cell in (CELL, OTHER):
        line.record(YESTERDAY, cell)
    monkeypatch.setattr(line_days, "LOOKING_SECONDS", -1.0)
    assert line.days() == [] and "looked at in a later tick" in str(line.reason)
    first_cell = Seen.from_cursor(line.cursor).next_cell
    line.cursor = Seen(next_cell=1).to_cursor()
    assert line.days() == [] and Seen.from_cursor(line.cursor).next_cell == 1 and first_cell == 0
    monkeypatch.setattr(line_days, "LOOKING_SECONDS", 10.0)
    assert len(line.days()) == 2


def test_records_before_the_start_of_tomorrow_and_of_strange_cells_are_left(line: Line) -> None:
    line.record("2026-10-31")
    line.record("2026-11-27")
    line.record(YESTERDAY, Cell("beta/disc", "patchcore"))
    assert line.days() == [] and "not in uad.yaml: beta/disc x patchcore" in str(line.reason)


def test_records_of_days_to_come_are_said(line: Line) -> None:
    line.record("2026-11-27")
    line.now = NOON + 11.5 * 3600
    assert line.days() == [] and line.reason == "no new records", "a clock may be some minutes ahead"
    line.record("2026-11-28")
    assert line.days() == [] and "2026-11-28, a day to come: is the clock" in str(line.reason)


def test_a_project_file_that_is_broken_or_has_no_line_any_more_asks_for_nothing(line: Line) -> None:
    line.record(YESTERDAY)
    text = (line.workshop.home / "uad.yaml").read_text()
    (line.workshop.home / "uad.yaml").write_text(text.replace("line:", "lines:"))
    assert line.tick() == [] and "cannot be read" in str(line.reason)
    line.workshop.write({key: value for key, value in yaml.safe_load(text).items() if key != "line"})
    assert line.tick() == [] and "line.records" in str(line.reason)
