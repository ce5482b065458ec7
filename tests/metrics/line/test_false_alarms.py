"""How often stable lines are called otherwise, and others are not, in short; at length by the benchmark ``line``."""

from __future__ import annotations

import pytest

from benchmarks.line import (
    ALARMING,
    DRIFTING,
    UNIMPORTANT,
    AlarmLine,
    Line,
    lines_that_warn,
    said_of_alarms,
    said_of_drift,
)

STABLE = (
    Line(20, 50),
    Line(60, 1000, heavy=True),
    Line(60, 400, alike=0.9),
    Line(60, 1000, heavy=True, defects=0.02),
    Line(60, 1000, step=0.5),
)


@pytest.mark.parametrize("line", STABLE, ids=lambda line: line.name)
def test_a_stable_line_is_called_so(line: Line) -> None:
    found = said_of_drift(line, 40)
    assert max(found.scores, found.looks) == 0  # one day in a thousand is allowed for
    assert found.p_small <= 0.1


@pytest.mark.parametrize("line", DRIFTING, ids=lambda line: line.name)
def test_a_drifting_line_is_called_so(line: Line) -> None:
    assert said_of_drift(line, 20).scores >= 0.85


def test_a_sure_shift_of_no_practical_size_is_none() -> None:
    assert said_of_drift(UNIMPORTANT[0], 10).scores == 0


def test_lines_are_quiet_all_year() -> None:
    assert lines_that_warn(Line(60, 200, heavy=True), 4, days=30) == 0


@pytest.mark.parametrize(
    "line", [AlarmLine(20, 5000, 0.01), AlarmLine(60, 500, defect_rate=0.005)], ids=lambda line: line.name
)
def test_promised_alarms_are_no_alarm(line: AlarmLine) -> None:
    assert said_of_alarms(line, 300) <= 0.01


@pytest.mark.parametrize("line", ALARMING, ids=lambda line: line.name)
def test_many_more_are(line: AlarmLine) -> None:
    assert said_of_alarms(line, 100) >= 0.9
