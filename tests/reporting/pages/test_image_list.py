"""The page of a cell in headless Chromium, from a disk: list, filters, slider and viewer, by mouse and by keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.chromium import chromium
from tests.reporting.cells import report
from tests.reporting.pages.made_reports import ODD, Reader, board, category, rows, write
from uad_orchestrator.metrics.thresholds.decision import decide
from uad_orchestrator.reporting.board.cell_warning import CellWarning

if TYPE_CHECKING:
    from playwright.sync_api import Page

DETECTORS = ("dino", "100% #1 'dino'")
TESTED = {row.image: row for row in rows(0, ODD) if row.role == "test"}
THRESHOLD = report("bottle", "dino", strength=1.5).image_operating_point.threshold or 0.0
REVIEW = 5.8
WARNED = [CellWarning(category="mvtec_ad/bottle", check="odd_images", message="m", images=ODD[:2])]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Reached from the overview; a fault of a script, or a file that is not there, fails the tests."""
    names = [("bottle", detector) for detector in DETECTORS]
    folder = tmp_path_factory.mktemp("pages") / "50% #1 'report'"
    index = write(folder, category(Reader(), DETECTORS, odd=ODD), of=board(names, WARNED))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "requestfailed",
            lambda request: faults.extend([request.url][: request.failure != "net::ERR_ABORTED"]),
        )
        page.on(
            "request", lambda request: faults.extend([request.url][: not request.url.startswith("file:")])
        )
        page.goto(index.as_uri())
        page.locator("table.sortable a", has_text="dino").last.click()
        page.locator("#image-list li").first.wait_for()
        yield page
        assert [fault for fault in faults if not fault.startswith("data:")] == []


def listed(page: Page) -> list[str]:
    """The names on the list, in order."""
    return [name.strip() for name in page.locator("#image-list .names").all_text_contents()]


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f'#list [name="{name}"]').select_option(value)


@pytest.fixture(autouse=True)
def all_images(page: Page) -> None:
    """Each test begins with the whole list and the threshold in use."""
    if page.locator("#viewer").evaluate("viewer => viewer.open"):
        page.keyboard.press("Escape")
    page.locator("#list").evaluate("form => { form.reset(); form.dispatchEvent(new Event('input')); }")
    page.locator('.slider[data-of="image"] button').evaluate("button => button.click()")
    page.wait_for_timeout(50)


def test_every_test_image_is_there_highest_score_first(page: Page) -> None:
    assert "dino" in page.locator("h1").inner_text()
    assert listed(page) == sorted(TESTED, key=lambda name: -TESTED[name].score)
    choose(page, "sort", "up")
    assert listed(page) == sorted(TESTED, key=lambda name: TESTED[name].score)
    choose(page, "sort", "type")
    assert [TESTED[name].defect_type for name in listed(page)] == sorted(
        r.defect_type for r in TESTED.values()
    )


def test_it_is_filtered_by_type_warning_and_name(page: Page) -> None:
    choose(page, "type", "hole")
    assert set(listed(page)) == {name for name, row in TESTED.items() if row.defect_type == "hole"}
    choose(page, "type", "")
    choose(page, "check", "odd images")
    assert set(listed(page)) == set(ODD[:2])
    choose(page, "check", "")
    page.locator('#list [name="name"]').fill("日本")
    assert listed(page) == [ODD[1]]
    assert page.locator("#shown").inner_text() == f"1 of {len(TESTED)}"


@pytest.mark.parametrize("decision", ["pass", "review", "reject"])
def test_decisions_are_those_of_the_package(page: Page, decision: str) -> None:
    choose(page, "decision", decision)
    expected = {name for name, row in TESTED.items() if decide(row.score, THRESHOLD, REVIEW) == decision}
    assert set(listed(page)) == expected
    said = page.locator("#image-list li > div > p:nth-child(3) .verdict").all_text_contents()
    assert len(said) == len(expected) and all(decision in text for text in said)


def test_the_list_follows_the_slider(page: Page) -> None:
    choose(page, "decision", "moved")
    assert listed(page) == []
    slider = page.locator('.slider[data-of="image"] input')
    slider.focus()
    page.keyboard.press("Home")
    page.locator("#image-list li").first.wait_for()
    moved = {name for name, row in TESTED.items() if decide(row.score, THRESHOLD, REVIEW) != "reject"}
    assert set(listed(page)) == moved
    choose(page, "decision", "wrong")
    assert set(listed(page)) == {name for name, row in TESTED.items() if row.label == 0}


def test_pictures_of_odd_names_are_shown_with_both_detectors_side_by_side(page: Page) -> None:
    for name in ODD:
        page.locator('#list [name="name"]').fill(name)
        page.locator(".look").click()
        loaded = "images => Promise.all(images.map(image => image.decode()))"
        page.locator("#viewer img").evaluate_all(loaded)
        assert page.locator("#viewer-title").inner_text() == name
        assert page.locator("#panels figcaption b:first-child").all_inner_texts() == ["image", *DETECTORS]
        widths = page.locator("#panels .stack > img:first-child").evaluate_all(
            "images => images.map(image => image.naturalWidth)"
        )
        assert widths == [32, 32, 32]
        assert (
            page.locator("#panels .over.map").count() == 2
            and page.locator("#panels .over.truth").count() == 3
        )
        assert all(
            page.locator("#panels .over").evaluate_all("images => images.map(i => i.naturalWidth > 0)")
        )
        assert all(page.locator("#panels img:first-child").evaluate_all("images => images.map(i => i.alt)"))
        page.keyboard.press("Escape")


def test_keys_walk_the_list_and_the_viewer(page: Page) -> None:
    names = listed(page)
    page.locator(".look").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    title = page.locator("#viewer-title")
    assert title.inner_text() == names[1]
    for key, place in (
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", len(names) - 1),
        ("Home", 0),
        ("ArrowLeft", 0),
    ):
        page.keyboard.press(key)
        assert title.inner_text() == names[place], key
    page.keyboard.press("m")
    assert not page.locator("#panels .over.map").first.is_visible()
    assert page.locator('[data-do="map"]').get_attribute("aria-pressed") == "false"
    page.keyboard.press("g")
    assert not page.locator("#panels .over.truth").first.is_visible()
    page.keyboard.press("m")
    page.keyboard.press("g")
    page.keyboard.press("End")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert (
        page.evaluate("document.activeElement.closest('li').querySelector('.names').textContent") == names[-1]
    )


def test_a_click_on_a_picture_shows_it_alone_and_keys_still_work(page: Page) -> None:
    names = listed(page)
    page.locator(".look").first.click()
    page.locator("#panels .stack").nth(1).click()
    assert page.locator("#panels figure:visible").count() == 1
    box = page.locator("#panels .stack:visible").bounding_box()
    assert box is not None and box["width"] > 1000
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-title").inner_text() == names[1]
    assert page.locator("#panels figure:visible").count() == 1
    page.keyboard.press("f")
    assert page.locator("#panels figure:visible").count() == 3


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator(".look").first.click()
        assert page.locator("#viewer").evaluate("viewer => viewer.scrollWidth") <= 360
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})
