"""Headless Chromium for the tests that look at pages; they are skipped, with the reason, where it cannot be had."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_MISSING = (
    "needs playwright (the test extra)"
    if find_spec("playwright") is None
    else "needs chromium on the path (Debian: apt-get install chromium)"
    if CHROMIUM is None
    else ""
)

needs_chromium = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, closed at the end; a fixture that asks for it skips its tests where it is missing."""
    if _MISSING:
        pytest.skip(_MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ],
        )
        try:
            yield launched
        finally:
            launched.close()
