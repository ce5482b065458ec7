"""Cron lines, held against Dagster: what is accepted makes a schedule that runs, what is refused says what to write."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from croniter import croniter
from dagster._utils.schedules import schedule_execution_time_iterator
from dagster._vendored.croniter import croniter as dagsters_croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uad_orchestrator.project import ProjectError, load_project
from uad_orchestrator.project.cron import cron_fault

VALUE = st.one_of(
    st.integers(0, 70).map(str),
    st.sampled_from(
        ["*", "?", "L", "W", "R", "H", "sun", "MON", "fri", "jan", "Feb", "dec", "-1", "x", "１"]
    ),
)
RANGE = st.tuples(VALUE, VALUE).map("-".join)
STEP = st.tuples(VALUE | RANGE, st.integers(0, 12).map(str)).map("/".join)
SPECIAL = st.one_of(
    st.tuples(VALUE | RANGE, VALUE).map("#".join),
    st.tuples(st.sampled_from("LWRH"), VALUE).map("".join),
    st.tuples(VALUE, st.sampled_from("LW")).map("".join),
    st.text(alphabet="0123*,-/?#LW()", min_size=1, max_size=5),
)
FIELD = st.lists(st.one_of(VALUE, VALUE, RANGE, STEP, SPECIAL), min_size=1, max_size=3).map(",".join)
MOSTLY_ANY = st.one_of(st.just("*"), st.just("0"), FIELD)
LINE = st.lists(MOSTLY_ANY, min_size=5, max_size=5).map(" ".join)


def next_run(line: str) -> datetime:
    """The next time at which Dagster's daemon would run a schedule of that cron line."""
    return next(schedule_execution_time_iterator(datetime.now(UTC).timestamp(), line, "UTC", ascending=True))


@pytest.mark.filterwarnings("ignore:Found a cron schedule with an interval greater")
@settings(deadline=None, max_examples=400)
@given(LINE | st.lists(FIELD, min_size=4, max_size=7).map(" ".join) | st.text(max_size=12))
@example("0 0 31 2 mon")  # croniter: each Monday in February; Dagster: no cron line
@example("0 0 15W * *")  # newer than Dagster's copy of croniter
@example("0 3 * * * 30")
@example(" @daily ")
@example(" 0 3  * * *")
@example("0 3 * * *")
@example("59/15 * * * *")  # croniter 7: minute 59; Dagster: each quarter of an hour
@example("0 3 * DEC/2 sat/5")
def test_what_is_accepted_is_a_schedule_that_runs(line: str) -> None:
    if cron_fault(line) is None:
        dg.ScheduleDefinition(job_name="recalibrate", cron_schedule=line)
        assert next_run(line) > datetime.now(UTC)
        assert croniter.expand(line)[0] == dagsters_croniter.expand(line)[0]


@pytest.mark.parametrize(
    "line",
    [
        "0 3 * * *",
        "*/15 6-18 * * mon-fri",
        "0 0 1,15 * *",
        "30 2 * jan-mar sun",
        "0 22-5 * * *",
        "5/15 8/4 * * *",
        "0 0 L * *",
        "0 0 ? * 1#2",
        "0 6 * * L5",
        "0 0 29 2 *",
        "0 0 * 2 mon#5",
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
    ],
)
def test_lines_people_write_pass(line: str) -> None:
    assert cron_fault(line) is None
    dg.ScheduleDefinition(job_name="recalibrate", cron_schedule=line)
    assert next_run(line) > datetime.now(UTC)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "has five fields"),
        ("daily", "is one of @hourly, @daily"),
        ("@reboot", "is one of @hourly, @daily"),
        (" @daily ", "has five fields"),
        ("0 3 * *", "(minute, hour, day of month, month, day of week), e.g. '0 3 * * *'"),
        ("0 3 * * * 0", "has five fields"),
        ("0 3 * * * 0 2030", "has five fields"),
        ("0 3\u00a0* * *", "has five fields"),
        ("60 3 * * *", "minute '60' is not understood; expected 0-59"),
        ("0 24 * * *", "hour '24' is not understood; expected 0-23"),
        ("0 3 0 * *", "day of month '0' is not understood; expected 1-31"),
        ("0 3 * 13 *", "month '13' is not understood; expected 1-12 or jan-dec"),
        ("0 3 * * mo", "day of week 'mo' is not understood; expected 0-7 or sun-sat"),
        ("0 3 * * */0", "day of week '*/0'"),
        ("a b c d e", "minute 'a'"),
        ("-5 3 * * *", "minute '-5'"),
        ("59/15 * * * *", "minute '59/15' is not understood"),
        ("0 0,23/2 * * *", "hour '0,23/2'"),
        ("0 3 31/2 * *", "day of month '31/2'"),
        ("0 3 * Dec/2 *", "month 'Dec/2'"),
        ("0 3 * * 06/1", "day of week '06/1'"),
        ("H 3 * * *", "minute 'H'"),
        ("0 r(0-5) * * *", "hour 'r(0-5)'"),
        ("0 3 15W * *", "day of month '15W'"),
        ("0 3 * * 1#6", "day of week '1#6'"),
        ("0 0 31 2 *", "day of month '31' never comes in month '2'"),
        ("0 0 31 4 *", "day of month '31' never comes in month '4'"),
        ("0 0 30,31 feb *", "day of month '30,31' never comes in month 'feb'"),
        ("0 0 31 4,6,9 *", "day of month '31' never comes in month '4,6,9'"),
    ],
)
def test_what_is_refused_is_told_what_to_write(line: str, said: str) -> None:
    fault = cron_fault(line)
    assert fault is not None and said in fault


def test_a_time_that_never_comes_is_refused_with_its_key_and_line(tmp_path: Path) -> None:
    (tmp_path / "uad.yaml").write_text(
        "datasets: {demo: {}}\n"
        "detectors: {patchcore: {model: vision_patchcore}}\n"
        "automation:\n"
        '  recalibrate: "0 0 31 2 *"\n'
    )
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.place, problem.line) == (("automation", "recalibrate"), 4)
    assert problem.what == "is '0 0 31 2 *': day of month '31' never comes in month '2'"
