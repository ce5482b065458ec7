"""The site as it is built: strictly, with everything public in its reference, and nothing loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from tests.documentation.code_blocks import ROOT
from tests.documentation.test_public_names import PACKAGES, PublicName, public_names

pytest.importorskip("mkdocs", reason="needs the docs extra")
LOADED_BY = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
LINKS_THAT_LOAD_NOTHING = {"canonical", "next", "prev"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loads(HTMLParser):
    """Collects what a page has the browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and set((values.get("rel") or "").split()) <= LINKS_THAT_LOAD_NOTHING:
            return
        self.found += [address for address in (values.get(LOADED_BY.get(tag, "")),) if address]


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.found
        assert [address for address in loads.found if re.match(r"(\w+:)?//", address)] == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)]*", sheet.read_text()) == [], sheet


@pytest.mark.parametrize("public", public_names(), ids=".".join)
def test_a_public_name_stands_in_the_reference(site: Path, public: PublicName) -> None:
    package = public.package.removeprefix("uad_orchestrator.")
    page = (site / "api" / f"{package}.html").read_text(encoding="utf-8")
    same_named_module = f"{public.package}.{public.name}.{public.name}"
    anchors = {f'id="{public.package}.{public.name}"', f'id="{same_named_module}"'}
    assert any(anchor in page for anchor in anchors)


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"([\w/-]+\.md)$", navigation, re.MULTILINE)) == pages
    assert {f"api/{package}.md" for package in PACKAGES} <= pages


def test_the_theme_fetches_no_fonts() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    assert not {"extra_javascript", "repo_url"} & set(settings)
