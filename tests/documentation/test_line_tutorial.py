"""The tutorial on the line as it stands there, with real processes: drift, alert, review, recalibration, and the alarms
are gone. Its reader presses a key for each image on the page of the review, in headless Chromium."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.chromium import chromium, needs_chromium
from tests.documentation.following import follow, steps
from tests.end_to_end.ui_process import free_port
from uad_orchestrator.metrics.intervals import rate_interval

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the test extra)")
pytestmark = [pytest.mark.end_to_end, needs_chromium]
PORTS = ("8076", "8077", "8078", "8079")
PATIENCE = 600.0
"""Seconds for a block; a busy machine needs them, an idle one a tenth."""
NOMINAL = 0.1
"""``review.from_fpr`` of the page: so many good parts are stopped."""


def test_drift_is_noticed_told_judged_and_learnt(tmp_path: Path) -> None:
    ports = {port: free_port() for port in PORTS}
    said: list[str] = []
    with ended(tmp_path):
        for block in steps("line-tutorial.md"):
            said.append(follow(block, tmp_path, ports, PATIENCE))
            if "uad review" in block.code:
                judge_all_normal(re.search(r"http://\S+", said[-1])[0])
    before, drifted, after = (counts(text) for text in said if "reject" in text and "pass" in text)
    assert stopped_share_fits(before) and stopped_share_fits(after)
    assert drifted["pass"] < 30, "most parts are stopped in weaker light"
    alerts = next(text for text in said if "look_drift warns" in text)
    assert "line7/housing x patchcore" in alerts and "brightness" in alerts
    assert alerts.count("look_drift warns") == alerts.count("alarm_rate warns") == 1
    assert "picture: True" in alerts
    why = next(text for text in said if "judged" in text)
    assert "anna" in why


def counts(text: str) -> dict[str, int]:
    """Decisions, as ``camera.py`` prints them."""
    return {word: int(number) for number, word in re.findall(r"(\d+) (pass|review|reject)", text)}


def stopped_share_fits(found: dict[str, int]) -> bool:
    """Whether as many good parts were stopped as calibration promised, or fewer, as far as so few can tell."""
    parts = sum(found.values())
    return rate_interval(parts - found["pass"], parts).low <= NOMINAL


def judge_all_normal(address: str) -> None:
    """Press ``n`` until nothing waits."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        waiting = page.locator("#count-waiting")
        sync_api.expect(waiting).not_to_have_text("", timeout=60_000)
        for left in range(int(waiting.inner_text()), 0, -1):
            sync_api.expect(waiting).to_have_text(str(left), timeout=60_000)
            page.keyboard.press("n")
        sync_api.expect(page.locator("#nothing")).to_be_visible(timeout=60_000)


@contextmanager
def ended(folder: Path) -> Iterator[None]:
    """What the page starts ends, whatever becomes of the test."""
    try:
        yield
    finally:
        for path in folder.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)
