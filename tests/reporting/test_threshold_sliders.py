"""The report's sliders in headless Chromium: they say what ``Outcome`` says, by mouse, keys and on phones."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.chromium import chromium
from tests.reporting.cells import report, review, score_rows
from uad_orchestrator.metrics import Costs, Outcome
from uad_orchestrator.metrics.thresholds.decision import in_review
from uad_orchestrator.reporting.board.leaderboard import build_leaderboard
from uad_orchestrator.reporting.html_report import CellSection, write_report
from uad_orchestrator.reporting.threshold_sliders import RateTables, slider_data

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

COSTS = Costs(false_alarm=1, miss=50, defect_rate=0.002)
ROWS = score_rows(strength=1.5)
TESTED = [row for row in ROWS if row.role == "test"]
LABELS = [row.label for row in TESTED]
MAXIMA = {row.image: float(np.float32(2 * row.score + 0.1 * i % 0.7)) for i, row in enumerate(TESTED)}
REPORT = report(strength=1.5).model_copy(update={"review": review().model_copy(update={"threshold": 4.9})})
USED = REPORT.image_operating_point.threshold or math.nan
VALUES = {"image": [row.score for row in TESTED], "pixel": [MAXIMA[row.image] for row in TESTED]}


def page_file(folder: Path, costs: Costs | None = COSTS, maxima: dict[str, float] = MAXIMA) -> Path:
    path = folder / "report.html"
    board = build_leaderboard({("mvtec_ad/bottle", "patchcore"): REPORT}, costs=costs)
    sections = [CellSection(REPORT, ROWS, map_maxima=maxima)]
    write_report(path, board, sections, costs=costs, made_at=datetime(2026, 1, 1, tzinfo=UTC))
    return path


def test_the_data_are_a_value_per_labelled_test_image() -> None:
    tables = RateTables()
    data = slider_data(REPORT, ROWS, MAXIMA, tables)
    assert data is not None and data["image"]["values"] == VALUES["image"]
    assert data["pixel"]["values"] == VALUES["pixel"] and data["image"]["threshold"] == USED
    assert sorted(tables.of) == [12, 15] and len(tables.of[12]) == 13
    assert "pixel" not in (slider_data(REPORT, ROWS, {}, tables) or {})
    assert slider_data(REPORT, [row for row in ROWS if row.role == "calibration"], {}, tables) is None


def test_names_cannot_end_the_script_they_stand_in(tmp_path: Path) -> None:
    odd = "bottle/</script><b>.png"
    rows = [*ROWS, type(ROWS[0])(**{**vars(TESTED[0]), "image": odd})]
    path = tmp_path / "report.html"
    board = build_leaderboard({("mvtec_ad/bottle", "patchcore"): REPORT})
    write_report(path, board, [CellSection(REPORT, rows)])
    assert "</script><b>" not in path.read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The report, from a file, with the cell open; a request to anywhere else fails the test."""
    path = page_file(tmp_path_factory.mktemp("report"))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda request: faults.append(request.url) if not request.url.startswith("file:") else None,
        )
        page.goto(path.as_uri())
        page.locator("details.cell > summary").click()
        yield page
        assert [fault for fault in faults if not fault.startswith("data:")] == []


def slider(page: Page, of: str) -> Locator:
    return page.locator(f'.slider[data-of="{of}"]')


def figure(part: Locator, name: str) -> float | None:
    value = part.locator(f'[data-figure="{name}"]').get_attribute("data-value")
    return None if value is None else float(value)


def move(part: Locator, position: int) -> float:
    """Put a slider somewhere; the threshold there."""
    part.locator("input").evaluate(
        "(range, position) => { range.value = position; range.dispatchEvent(new Event('input', {bubbles: true})); }",
        position,
    )
    return float((part.locator("output").get_attribute("data-value") or "").replace("Infinity", "inf"))


@pytest.mark.parametrize("of", ["image", "pixel"])
def test_at_every_position_the_page_says_what_python_says(page: Page, of: str) -> None:
    part = slider(page, of)
    last = int(part.locator("input").get_attribute("max") or 0)
    thresholds = [move(part, position) for position in range(last + 1)]
    used = USED if of == "image" else 7.5
    assert thresholds == [-math.inf, *sorted({*VALUES[of], used})]
    for position in (0, 1, last // 2, last - 1, last):
        threshold = move(part, position)
        found = Outcome.of(VALUES[of], LABELS, threshold)
        assert (figure(part, "false_alarms"), figure(part, "misses")) == (found.false_alarms, found.misses)
        alarms, misses = found.per_thousand(COSTS.defect_rate)
        assert (figure(part, "false_alarms_per_1000"), figure(part, "misses_per_1000")) == (alarms, misses)
        assert figure(part, "expected_cost") == COSTS.expected(found.false_alarm_rate, found.miss_rate)
        for name, interval in (("false_alarms", found.false_alarm_interval), ("misses", found.miss_interval)):
            small = part.locator(f'[data-figure="{name}"] small')
            assert interval is not None
            assert float(small.get_attribute("data-low") or "nan") == interval.low
            assert float(small.get_attribute("data-high") or "nan") == interval.high
        for side, above in (("above", True), ("below", False)):
            moved = [
                row.image
                for row, value in zip(TESTED, VALUES[of], strict=True)
                if (value > threshold) != (value > used) and (value > threshold) == above
            ]
            place = part.locator(f'[data-side="{side}"]')
            assert place.is_visible() == bool(moved)
            if moved:
                assert re.sub(r" \(\w+\)", "", place.locator(".names").inner_text()) == ", ".join(moved)


def test_the_grey_zone_ends_at_the_slider(page: Page) -> None:
    part = slider(page, "image")
    for position in (0, 12, 20):
        threshold = move(part, position)
        for label, name in ((0, "share_in_review"), (1, "defects_in_review")):
            scores = [row.score for row in TESTED if row.label == label]
            assert figure(part, name) == in_review(scores, threshold, 4.9)
    assert not slider(page, "pixel").locator("[data-review]").first.is_visible()


def test_keys_move_it_and_a_button_brings_it_back(page: Page) -> None:
    part = slider(page, "image")
    move(part, 5)
    part.locator("input").focus()
    page.keyboard.press("ArrowRight")
    assert part.locator("input").input_value() == "6"
    page.keyboard.press("Home")
    assert "below all" in part.locator("output").inner_text()
    assert figure(part, "misses") == 0 and figure(part, "false_alarms") == 12
    page.keyboard.press("End")
    assert figure(part, "misses") == 15
    command = part.locator(".pin code").inner_text()
    assert (
        command == f"uad threshold 'mvtec_ad/bottle' 'patchcore' --value={max(VALUES['image'])} --test-labels"
    )
    part.get_by_role("button").click()
    assert "(in use)" in part.locator("output").inner_text()
    assert float(part.locator("output").get_attribute("data-value") or "nan") == USED
    assert not part.locator(".pin").is_visible()


def test_other_costs_count_at_once(page: Page) -> None:
    part, rate = slider(page, "image"), page.locator('#line input[name="defect_rate"]')
    move(part, 15)
    rate.fill("0.25")
    found = Outcome.of(VALUES["image"], LABELS, move(part, 15))
    assert figure(part, "misses_per_1000") == found.per_thousand(0.25)[1]
    rate.fill("")
    assert figure(part, "expected_cost") is None and figure(part, "false_alarms") == found.false_alarms
    rate.fill(str(COSTS.defect_rate))


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        box = slider(page, "image").locator("input").bounding_box()
        assert box is not None and box["height"] >= 40 and box["x"] >= 0 and box["x"] + box["width"] <= 360
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})
