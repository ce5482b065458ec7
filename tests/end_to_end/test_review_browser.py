"""``uad review`` in headless Chromium, at the width of a desk and of a phone: by keys, and by touch."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chromium import chromium, needs_chromium
from tests.end_to_end.ui_process import clean_environment, free_port, wait_for
from tests.orchestration.workshop import Workshop
from tests.review.line import record_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the test extra)")
pytestmark = [pytest.mark.end_to_end, needs_chromium]
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def recorded_line(home: Path) -> Workshop:
    """A project that nobody refreshed, whose line is recorded."""
    workshop = Workshop.build(home, {"line7": ["disc"]})

    def recorded(values: dict) -> None:
        values["datasets"]["line7"] |= {"layout": "folder", "incoming": "arriving"}
        values["line"] = {"records": "records"}

    workshop.edit(recorded)
    return workshop


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line that stopped four images, one by two detectors."""
    workshop = recorded_line(tmp_path_factory.mktemp("reviewed"))
    records = workshop.home / "records"
    record_image(records, 1, score=0.61, decision="review", label=0)
    record_image(records, 2, score=0.9, defective=True, warnings=["sharpness 0.02, fitted on 0.15 to 0.22"])
    record_image(records, 3, score=0.7, image="<img src=x onerror=alert(1)>.png")
    record_image(records, 4, score=0.8, defective=True)
    record_image(
        records, 5, seed=304, defective=True, detector="dino", score=2.1, threshold=1.5, review_threshold=None
    )
    return workshop.home


@contextmanager
def reviewing(home: Path) -> Iterator[str]:
    """``uad review``; the address that it prints."""
    line = [sys.executable, "-m", "uad_orchestrator.cli", "review", "--home", str(home), "--no-browser"]
    log = home / "review.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*line, "--by", "anna", "--port", str(free_port())], stderr=output, env=clean_environment()
        )
    try:
        yield wait_for(lambda: ADDRESS.search(log.read_text()), 120, "the address is printed")[0]
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def opened(browser: Browser, address: str, width: int, *, touch: bool = False) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": width, "height": 844}, has_touch=touch, timezone_id="America/New_York"
    )
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(address)
    yield page
    assert faults == []
    context.close()


def title(page: Page) -> str:
    return page.locator("#waiting-title").inner_text()


def no_wider_than_the_screen(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_line_is_reviewed_by_keys_and_by_touch(home: Path, browser: Browser) -> None:
    expect = sync_api.expect
    with reviewing(home) as address:
        with opened(browser, address, 1280) as page:
            heading, status = page.locator("#waiting-title"), page.locator("#status")
            expect(heading).to_have_text("cam-5.png")
            expect(page.locator("#about")).to_contain_text(" 2026-11-26 06:05:00 UTC ")
            assert page.url.endswith("/"), "the token does not stay in the address"
            assert page.locator("#records li").count() == 2 and "2.1" in page.locator("#records").inner_text()
            for name in ("picture", "map"):
                expect(page.locator(f"#{name}")).to_have_js_property("naturalWidth", 64)
            assert no_wider_than_the_screen(page)
            page.keyboard.press("ArrowRight")
            expect(heading).to_have_text("<img src=x onerror=alert(1)>.png")
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("d")
            page.keyboard.press("1")
            expect(status).to_contain_text("cam-5.png: defect (scratch), lies at ")
            assert len(list((home / "data/line7/disc/test/scratch").iterdir())) == 3
            page.keyboard.press("n")
            expect(status).to_contain_text("normal, lies at ")
            page.keyboard.press("z")
            expect(status).to_contain_text("undone, it waits again")
            expect(heading).to_have_text("<img src=x onerror=alert(1)>.png")
            assert not list((home / "arriving/disc").iterdir())
            page.keyboard.press("n")
            expect(page.locator("#count-waiting")).to_have_text("2")
            page.keyboard.press("u")
            expect(page.locator("#count-unsure")).to_have_text("1")
        with opened(browser, address, 390, touch=True) as page:
            expect(page.locator("#waiting-title")).to_have_text("cam-1.png")
            assert no_wider_than_the_screen(page)
            for button in page.locator("#actions button").all():
                box = button.bounding_box()
                assert box and box["height"] >= 44 and box["x"] + box["width"] <= 390
                assert box["y"] + box["height"] <= 844, "within reach without scrolling"
            page.locator("#toggle").tap()
            expect(page.locator("#mapped")).to_be_hidden()
            expect(page.locator("#plain")).to_be_visible()
            page.locator("#defect").tap()
            page.get_by_label("A new type").fill("oil stain")
            page.get_by_role("button", name="It is this").tap()
            expect(page.locator("#nothing")).to_be_visible()
            assert len(list((home / "data/line7/disc/test/oil stain").iterdir())) == 1
            page.get_by_role("button", name="Unsure 1").tap()
            page.get_by_role("button", name="Normal: cam-2.png").tap()
            expect(page.locator("#rows")).to_have_text("None.")
            assert no_wider_than_the_screen(page)
            page.get_by_role("button", name="Since recalibration").tap()
            page.get_by_role("button", name="Score them now").tap()
            expect(page.locator("#cells")).to_contain_text("uad refresh")
    assert len(list((home / "arriving/disc").iterdir())) == 2


def test_a_key_meant_for_an_image_that_somebody_else_judged_falls_on_no_other(
    tmp_path: Path, browser: Browser
) -> None:
    home = recorded_line(tmp_path / "home").home
    for number in (1, 2, 3):
        record_image(home / "records", number, score=0.7)
    with reviewing(home) as address, opened(browser, address, 1280) as page:
        expect = sync_api.expect
        expect(page.locator("#waiting-title")).to_have_text("cam-3.png")
        shown = page.request.get(page.url + "api/waiting").json()["images"][0]
        said = {"category": shown["category"], "digest": shown["digest"], "verdict": "unsure"}
        assert page.request.post(page.url + "api/judgements", data=said).status == 201
        page.evaluate("load()")
        expect(page.locator("#status")).to_contain_text("Somebody else judged that image")
        page.keyboard.press("n")
        expect(page.locator("#waiting-title")).to_have_text("cam-2.png")
        page.wait_for_timeout(1200)
        assert not list((home / "arriving/disc").glob("*")), "nothing was judged normal"
        page.keyboard.press("n")
        expect(page.locator("#status")).to_contain_text("cam-2.png: normal")
