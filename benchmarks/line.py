"""How often a stable line is called drifting, or said to have too many alarms, and how often one that is so is; by
simulation, with the settings that a project has by default. And how long a thousand cells take to load.

Normals are few and parts are many. Each day is drawn with normals of its own; a year has the same normals throughout.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import numpy as np
import yaml
from scipy.signal import lfilter

from benchmarks.rows import BenchmarkRow
from uad_orchestrator.inference.records.health import LineHealth, Share
from uad_orchestrator.inference.records.record import LOOKS
from uad_orchestrator.metrics.line.alarms import chance_of_so_many, expected_share, promised
from uad_orchestrator.metrics.line.drift import shift_of
from uad_orchestrator.metrics.thresholds import calibrate
from uad_orchestrator.orchestration.cells.findings.line_rules import alarm_rate, look_drift, score_drift
from uad_orchestrator.project.settings import LineSettings

SETTINGS = LineSettings()
DRAWS, YEARS = 3000, 150
POWER = 0.95
"""Of the drifts that a line should notice on the day they come."""


@dataclass(frozen=True)
class Line:
    """A line as it is simulated.

    Attributes:
        normals: how many calibrate.
        parts: a day.
        heavy: log-normal instead of normal values, as scores are.
        alike: autocorrelation of parts after one another.
        step: values are rounded to it, in standard deviations; 0: not at all.
        moved: by so many standard deviations, all parts of a day.
        share_moved: of the day's parts, the last ones.
        defects: share of parts that lie far away.
        days_differ: standard deviation of the days' means, in standard deviations of parts.
    """

    normals: int
    parts: int
    heavy: bool = False
    alike: float = 0.0
    step: float = 0.0
    moved: float = 0.0
    share_moved: float = 1.0
    defects: float = 0.0
    days_differ: float = 0.0

    @property
    def name(self) -> str:
        """As the table calls it."""
        plain = Line(self.normals, self.parts)
        odd = [f"{key} {value:g}" for key, value in vars(self).items() if value != getattr(plain, key)]
        return ", ".join([f"{self.normals} normals, {self.parts} parts", *odd])

    def known(self, rng: np.random.Generator) -> np.ndarray:
        """The values of normals."""
        return self._shaped(rng.standard_normal(self.normals))

    def day(self, rng: np.random.Generator) -> np.ndarray:
        """The values of a day's parts."""
        values = rng.standard_normal(self.parts)
        if self.alike:
            values[1:] *= (1 - self.alike**2) ** 0.5
            values = lfilter([1.0], [1.0, -self.alike], values)
        values += self.days_differ * rng.standard_normal()
        values[round(self.parts * (1 - self.share_moved)) :] += self.moved
        values[rng.random(self.parts) < self.defects] = 30.0
        return self._shaped(values)

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        values = np.round(values / self.step) * self.step if self.step else values
        return np.exp(np.minimum(values, 10.0)) if self.heavy else values


STABLE = (
    *(
        Line(normals, parts, heavy=heavy)
        for normals in (20, 60, 300)
        for parts in (50, 500, 5000)
        for heavy in (False, True)
    ),
    Line(60, 1000, step=0.5),
    Line(60, 1000, alike=0.9),
    Line(300, 500, alike=0.95),
    Line(60, 1000, heavy=True, defects=0.02),
    Line(300, 5000, days_differ=0.1),
)
DRIFTING = (
    Line(20, 1000, moved=2.5),
    Line(60, 1000, moved=1.5),
    Line(60, 1000, heavy=True, moved=1.5),
    Line(300, 1000, moved=1.0),
    Line(60, 200, moved=3.0, share_moved=0.7),
    Line(60, 1000, moved=2.0, alike=0.9),
)
UNIMPORTANT = (Line(300, 20_000, moved=0.2), Line(300, 100_000, moved=0.2, heavy=True))
"""Sure, and of no practical size."""


@dataclass(frozen=True)
class AlarmLine:
    """A line whose threshold was calibrated.

    Attributes:
        normals: how many calibrated it.
        parts: a day.
        contamination: what was asked for.
        defect_rate: share of parts that are defective, and alarms.
        times: by how much more often good parts are alarms than they were.
    """

    normals: int
    parts: int
    contamination: float = 0.05
    defect_rate: float = 0.0
    times: float = 1.0

    @property
    def name(self) -> str:
        """As the table calls it."""
        return ", ".join(f"{key} {value:g}" for key, value in vars(self).items())


CALIBRATED = tuple(
    AlarmLine(normals, parts, contamination, defect_rate)
    for normals in (20, 60, 300)
    for parts in (50, 5000)
    for contamination in (0.01, 0.05)
    for defect_rate in (0.0, 0.005)
)
ALARMING = (
    AlarmLine(60, 2000, 0.05, times=18.0),
    AlarmLine(300, 2000, 0.05, times=4.0),
    AlarmLine(300, 2000, 0.01, defect_rate=0.005, times=25.0),
)
"""From about such rises on: of few normals a smaller one may be the luck of their draw, and is told on fewer days."""


def run() -> list[BenchmarkRow]:
    rows = []
    for line in STABLE:
        found = said_of_drift(line, DRAWS)
        rows.append(_row(line.name, "score_drift by chance", found.scores, 2 * SETTINGS.drift.p, "lower"))
        rows.append(_row(line.name, "look_drift by chance", found.looks, 2 * SETTINGS.drift.p, "lower"))
        rows.append(_row(line.name, "p at most 0.05", found.p_small, 0.06, "lower"))
    for line in UNIMPORTANT:
        rows.append(_row(line.name, "score_drift", said_of_drift(line, 100).scores, 0.01, "lower"))
    for line in DRIFTING:
        rows.append(_row(line.name, "score_drift", said_of_drift(line, 400).scores, POWER, "higher"))
    for alarm in CALIBRATED:
        said = said_of_alarms(alarm, DRAWS)
        rows.append(_row(alarm.name, "alarm_rate by chance", said, 2 * SETTINGS.alarms.p, "lower"))
    for alarm in ALARMING:
        rows.append(_row(alarm.name, "alarm_rate", said_of_alarms(alarm, 400), POWER, "higher"))
    for line in (Line(60, 1000, heavy=True), Line(300, 1000, heavy=True)):
        lines = lines_that_warn(line, YEARS)
        rows.append(_row(line.name, "lines that warn in a year by chance", lines, 0.05, "lower"))
    for line in (Line(60, 1000, heavy=True),):
        looks = looked_at_often(line, DRAWS // 3)
        rows.append(_row(line.name, "score_drift by chance, looked at 24 times a day", looks, 5e-3, "lower"))
    return [*rows, *_loading()]


def _loading() -> list[BenchmarkRow]:
    """A year of a thousand cells: 365,000 partitions."""
    from uad_orchestrator.orchestration.assets.line_partitions import line_partitions
    from uad_orchestrator.orchestration.code_location import build_definitions
    from uad_orchestrator.project.catalogue import installed_catalogue
    from uad_orchestrator.project.parsing.reading import project_from_text

    start = (datetime.now(UTC).date() - timedelta(days=364)).isoformat()
    categories = [f"part{number}" for number in range(100)]
    with TemporaryDirectory() as home:
        values = {
            "datasets": {"line7": {"layout": "folder", "root": home, "categories": categories}},
            "detectors": {f"detector{n}": {"model": "vision_patchcore"} for n in range(10)},
            "line": {"records": "records", "start": start},
        }
        project = project_from_text(yaml.safe_dump(values), Path(home), installed_catalogue())
        started = time.process_time()
        dg.Definitions.validate_loadable(build_definitions(project))
        loaded = time.process_time()
        keys = len(line_partitions(project).get_partition_keys())
        listed = time.process_time()
    details = {"partitions": float(keys)}
    return [
        BenchmarkRow("line", "1,000 cells, a year", "loading", loaded - started, "s", 5.0, "lower", details),
        BenchmarkRow("line", "1,000 cells, a year", "listing", listed - loaded, "s", 15.0, "lower", details),
    ]


@dataclass(frozen=True)
class Said:
    """Shares of days: on which a check warned, and on which a p-value was at most 0.05."""

    scores: float
    looks: float
    p_small: float


def said_of_drift(line: Line, draws: int, *, seed: int = 0) -> Said:
    """What both checks say of days of a line, each with other normals; its looks are independent of each other."""
    rng = np.random.default_rng(seed)
    scores = looks = small = 0
    for _ in range(draws):
        shifts = {name: shift_of(line.day(rng), line.known(rng)) for name in ("score", *LOOKS)}
        day = _day(line.parts, shifts=shifts)
        scores += not score_drift(day, SETTINGS).passed
        looks += not look_drift(day, SETTINGS).passed
        small += shifts["score"].p <= 0.05
    return Said(scores / draws, looks / draws, small / draws)


def said_of_alarms(line: AlarmLine, draws: int, *, seed: int = 0) -> float:
    """On which share of days ``alarm_rate`` warns."""
    rng = np.random.default_rng(seed)
    warned = 0
    for _ in range(draws):
        normals = rng.random(line.normals)
        threshold = calibrate(normals, line.contamination, "validation").threshold
        rate = min((1 - threshold) * line.times, 1.0)
        good = line.defect_rate + (1 - line.defect_rate) * rate
        count = int(rng.binomial(line.parts, good))
        law = promised(normals, threshold)
        assert law is not None
        share = Share(
            count=count,
            parts=line.parts,
            share=count / line.parts,
            low=0,
            high=1,
            promised=law.mean,
            expected=expected_share(law, line.defect_rate),
            p=chance_of_so_many(count, line.parts, law, line.defect_rate),
        )
        warned += not alarm_rate(_day(line.parts, shares={"rejected": share}), SETTINGS).passed
    return warned / draws


def lines_that_warn(line: Line, lines: int, *, days: int = 365, seed: int = 0) -> float:
    """The share of stable lines of which ``score_drift`` ever warns in a year, against the same normals all year."""
    rng = np.random.default_rng(seed)
    warned = 0
    for _ in range(lines):
        known = line.known(rng)
        days_of = (_day(line.parts, shifts={"score": shift_of(line.day(rng), known)}) for _ in range(days))
        warned += any(not score_drift(day, SETTINGS).passed for day in days_of)
    return warned / lines


def looked_at_often(line: Line, draws: int, *, looks: int = 24, seed: int = 0) -> float:
    """The share of stable days on which ``score_drift`` warns at any of several looks at what has come so far."""
    rng = np.random.default_rng(seed)
    warned = 0
    for _ in range(draws):
        known, parts = line.known(rng), line.day(rng)
        ends = np.linspace(0, line.parts, looks + 1).astype(int)[1:]
        so_far = (_day(int(end), shifts={"score": shift_of(parts[:end], known)}) for end in ends)
        warned += any(not score_drift(day, SETTINGS).passed for day in so_far)
    return warned / draws


def _day(parts: int, **found: object) -> LineHealth:
    return LineHealth.model_construct(
        category="line7/housing", detector="patchcore", day="2026-11-26", parts=parts, **found
    )


def _row(case: str, measure: str, value: float, bar: float, better: str) -> BenchmarkRow:
    return BenchmarkRow("line", case, measure, value, "", bar, better)
