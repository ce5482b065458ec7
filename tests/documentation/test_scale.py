"""The page on ten thousand categories: its tables are those of the script, and the script's sums are right."""

from __future__ import annotations

import re

import pytest

from benchmarks.growth import OPERATIONS, STEEPEST, beside, exponent
from docs.scripts import scale_figures
from docs.scripts.scale_figures import MEGABYTES, PAGE, SECONDS, Measured, written

CELLS = 10_000 * 15
NUMBER = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "million": 1e6, "h": 3600, "min": 60, "s": 1, "": 1}


def value(cell: str) -> float:
    """``31.5 TB`` as a number."""
    number, _, unit = cell.partition(" ")
    return float(number.replace(",", "")) * NUMBER[unit]


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    """The last three cells of each line of the page's tables, by its first."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {name.split(":")[0]: cells for name, *cells in lines}


def test_the_page_is_written_by_the_script() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run `python -m docs.scripts.scale_figures`"


def test_storage_requests_and_events_are_those_of_so_many_cells(rows: dict[str, list[str]]) -> None:
    maps = CELLS * 100 * 1024 * 1024 * 2  # float32, deflated to a half
    banks = CELLS * (200 * 1024 // 100) * 512 * 4
    grids = CELLS * 300 * 1024 * 4
    expected = {
        "anomaly maps": maps,
        "memory bank": banks,
        "score table": grids,
        "**all of the store**": maps + banks + grids + CELLS * 300_000,
        "embedding cache of 3 embedders, float16, on local disks": 10_000 * 3 * 300 * 1024 * 512 * 2,
        "first refresh": CELLS * 50,
        "listing 4 artifacts a cell, for a plan": CELLS * 4 / 1000,
        "rows": CELLS * 32,
        "PostgreSQL, event column": CELLS * 210_000,
        "waiting in a first refresh, 20 ms each, 16 at a time": CELLS * 50 * 0.02 / 16,
    }
    assert {name: value(rows[name][-1]) for name in expected} == pytest.approx(expected, rel=0.05)
    of_a_site = {name: value(rows[name][-2]) for name in expected}
    assert of_a_site == pytest.approx({name: all_ / 20 for name, all_ in expected.items()}, rel=0.05)


def test_time_and_memory_grow_from_the_start_by_the_cells() -> None:
    found = Measured(cells=8_000, taken=10, start=2)
    assert found.at(0) == 2 and found.at(8_000) == 10 and found.at(150_000) == pytest.approx(2 + 8 * 18.75)


def test_the_figures_are_those_of_the_benchmarks_operations_and_above_the_start(
    rows: dict[str, list[str]],
) -> None:
    assert SECONDS.keys() == MEGABYTES.keys() <= {operation.name for operation in OPERATIONS}
    for name, found in SECONDS.items():
        assert 0 < found.start < found.taken and 0 < MEGABYTES[name].start < MEGABYTES[name].taken
        told, *grown = rows[name]
        assert value(told.removesuffix(" ms")) == pytest.approx(1000 * found.each, rel=0.05)
        for cells, cell in zip((CELLS / 20, CELLS), grown, strict=True):
            seconds, size = map(value, cell.split(", "))
            assert seconds == pytest.approx(found.at(int(cells)), rel=0.1)
            assert size == pytest.approx(1e6 * MEGABYTES[name].at(int(cells)), rel=0.05)


def test_an_exponent_is_the_slope_of_logarithms() -> None:
    assert exponent({500: 3.0, 2_000: 12.0, 8_000: 48.0}) == pytest.approx(1)
    assert exponent({500: 1.0, 2_000: 16.0, 8_000: 256.0}) == pytest.approx(2)


def test_what_does_not_grow_has_no_steep_exponent() -> None:
    assert exponent(beside(3.0, {500: 3.05, 2_000: 2.95, 8_000: 3.1})) < STEEPEST


@pytest.mark.parametrize("power", [1.2, 1.5, 2.0])
@pytest.mark.parametrize("seconds", [1.0, 8.0, 60.0])
def test_what_grows_too_steeply_is_told_once_it_shows(seconds: float, power: float) -> None:
    costs = {cells: 2 + seconds * (cells / 8_000) ** power for cells in (500, 2_000, 8_000)}
    assert exponent(beside(2.0, costs)) > STEEPEST


def test_a_small_grid_counts_where_it_shows_beside_the_start() -> None:
    costs = {500: 2.9, 2_000: 2.9, 8_000: 14.0}
    assert beside(2.0, costs).keys() == {2_000, 8_000}
    assert beside(1.9, costs).keys() == {500, 2_000, 8_000}


def test_the_sites_of_the_text_are_those_of_the_tables() -> None:
    page = re.sub(r"\s+", " ", PAGE.read_text(encoding="utf-8"))
    site, every = (n * scale_figures.DETECTORS for n in (scale_figures.SITE, scale_figures.ALL))
    assert f"{scale_figures.SITE} categories per site leave each instance {site:,} cells" in page
    assert f"{every:,} cells" in page
