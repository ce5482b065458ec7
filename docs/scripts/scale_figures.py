"""The figures of "Ten thousand categories": what was measured, and the arithmetic from there.

    python -m docs.scripts.scale_figures

from the repository's root writes the tables into ``docs/scale.md``; a test says when they are to be written again.
The measured figures stand below, each with what measures it; tests hold those that take no hour to measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from uad_orchestrator.orchestration.services.project_check.disk import DIMENSION, MAP_BYTES_PER_PIXEL, PATCHES
from uad_orchestrator.orchestration.versions.graph import STAGES

PAGE = Path(__file__).parents[1] / "scale.md"

SITE, ALL, DETECTORS = 500, 10_000, 15
"""Categories of one site, and of all."""
TRAIN, TEST, SIDE = 200, 100, 1024
"""Images of a category, and their side in pixels."""
CORESET, EMBEDDERS = 0.01, 3


class Measured(NamedTuple):
    """What an operation took of a grid, and of one of a few cells (``python -m benchmarks growth``).

    Attributes:
        cells: of the grid.
        taken: by the whole command.
        start: by the command where there is hardly a cell.
    """

    cells: int
    taken: float
    start: float

    @property
    def each(self) -> float:
        """Taken for a cell."""
        return (self.taken - self.start) / self.cells

    def at(self, cells: int) -> float:
        """Taken at another size: the exponents are near 1."""
        return self.start + self.each * cells


SECONDS = {
    "plan": Measured(8_000, 4.8, 2.1),
    "board": Measured(8_000, 7.5, 0.7),
    "gc list": Measured(8_000, 5.9, 1.9),
    "lineage rebuild": Measured(8_000, 8.4, 1.0),
}
"""CPU seconds."""
MEGABYTES = {
    "plan": Measured(8_000, 203, 134),
    "board": Measured(8_000, 385, 62),
    "gc list": Measured(8_000, 206, 131),
    "lineage rebuild": Measured(8_000, 494, 190),
}
"""Of memory, at the peak."""

EVENT_ROWS = 32
"""Rows of the event log of a cell's run (tests/orchestration/execution/test_object_store.py)."""
EVENT_BYTES = 210_000
"""Of them, as JSON, of a cell of small images: mostly the contact sheet that Dagster's pages show."""
RUN_FILE_BYTES = 330_000
"""Of the SQLite file that Dagster keeps for each run where it has no PostgreSQL (the same test)."""
FIRST_REQUESTS, REUSED_REQUESTS = 50, 12
"""To an object store, of a cell (the same test)."""
LISTED, PARALLEL, REQUEST_SECONDS = 1_000, 16, 0.02
"""Objects per request of a listing; requests at a time; a usual time of one."""
COMPUTING_SECONDS = 60
"""Of a cell, on whatever machine: to be measured on your own."""
REPORT_BYTES = 300_000
"""Of a metrics report: curves, replicates, contact sheet."""


def tables() -> str:
    """The page's tables, in Markdown."""
    return "\n\n".join("\n".join(part) for part in (_store(), _requests(), _events(), _time()))


def _store() -> Iterator[str]:
    patches = PATCHES * DIMENSION
    cell = {
        f"memory bank: {CORESET:.0%} of {TRAIN} x {PATCHES} patches, {DIMENSION} float32": (
            TRAIN * CORESET * patches * 4
        ),
        f"score table: patch grids of {TRAIN} + {TEST} images": (TRAIN + TEST) * PATCHES * 4,
        f"anomaly maps: {TEST} of {SIDE} x {SIDE}, deflated": TEST * SIDE * SIDE * MAP_BYTES_PER_PIXEL,
        "metrics report: figures, curves, contact sheet": REPORT_BYTES,
    }
    yield from _head("storage")
    for name, size in cell.items():
        yield _row(name, *(_bytes(size * cells) for cells in _cells()))
    yield _row("**all of the store**", *(_bytes(sum(cell.values()) * cells) for cells in _cells()))
    cache = (TRAIN + TEST) * patches * 2 * EMBEDDERS
    name = f"embedding cache of {EMBEDDERS} embedders, float16, on local disks"
    yield _row(name, *(_bytes(cache * cells / DETECTORS) for cells in _cells()))


def _requests() -> Iterator[str]:
    yield from _head("requests to an object store")
    for name, each in {
        "first refresh": FIRST_REQUESTS,
        "another machine, all reused": REUSED_REQUESTS,
    }.items():
        yield _row(name, *(_count(each * cells) for cells in _cells()))
    listings = (max(1, len(STAGES) * cells // LISTED) for cells in _cells())
    yield _row(f"listing {len(STAGES)} artifacts a cell, for a plan", *map(_count, listings))
    waits = (FIRST_REQUESTS * cells * REQUEST_SECONDS / PARALLEL for cells in _cells())
    name = f"waiting in a first refresh, {1000 * REQUEST_SECONDS:.0f} ms each, {PARALLEL} at a time"
    yield _row(name, *map(_seconds, waits))


def _events() -> Iterator[str]:
    yield from _head("Dagster's event log, of one refresh of every cell")
    yield _row("rows", *(_count(EVENT_ROWS * cells) for cells in _cells()))
    yield _row("PostgreSQL, event column", *(_bytes(EVENT_BYTES * cells) for cells in _cells()))
    yield _row("SQLite, a file for each run", *(_bytes(RUN_FILE_BYTES * cells) for cells in _cells()))


def _time() -> Iterator[str]:
    yield from _head("CPU time, memory")
    for name, seconds in SECONDS.items():
        megabytes = MEGABYTES[name]
        told = (f"{_seconds(seconds.at(n))}, {_bytes(1e6 * megabytes.at(n))}" for n in _cells()[1:])
        yield _row(name, f"{1000 * seconds.each:.2g} ms", *told)
    days = (f"{_short(COMPUTING_SECONDS * cells / 86_400)} days" for cells in _cells()[1:])
    yield _row("computing, where a cell takes a minute of a machine", "1 min", *days)


def _cells() -> tuple[int, int, int]:
    return 1, SITE * DETECTORS, ALL * DETECTORS


def _head(what: str) -> Iterator[str]:
    _, site, every = _cells()
    yield _row(what, "a cell", f"{SITE:,} categories, {site:,} cells", f"{ALL:,} categories, {every:,} cells")
    yield "|---|---:|---:|---:|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 1000 else f"{size:,.0f} TB"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number < 1e6 else f"{number / 1e6:,.3g} million"


def _seconds(seconds: float) -> str:
    for unit, most in (("s", 120), ("min", 120)):
        if seconds < most:
            return f"{_short(seconds)} {unit}"
        seconds /= 60
    return f"{_short(seconds)} h"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def written(page: str) -> str:
    """The page with the tables of today between its marks."""
    begin, end = "<!-- figures -->", "<!-- end of the figures -->"
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{tables()}\n\n{end}", page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
