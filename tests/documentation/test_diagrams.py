"""The diagrams show the code's own graph and order of imports, as they are now."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from docs.scripts import interval_pictures
from tests.documentation.code_blocks import ROOT
from uad_orchestrator.metrics.intervals import interval_of_auroc, rate_interval
from uad_orchestrator.orchestration.versions.graph import NODES

SCRIPT = ROOT / "docs" / "scripts" / "diagrams.py"


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    spec = importlib.util.spec_from_file_location("diagrams", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["assets.svg", "packages.svg"])
def test_a_diagram_is_that_of_the_code(diagrams: ModuleType, name: str) -> None:
    drawn = (ROOT / "docs" / "pictures" / name).read_text(encoding="utf-8")
    assert drawn == diagrams.DIAGRAMS[name](), "run `python docs/scripts/diagrams.py`"


@pytest.mark.parametrize("name", ["widths.svg", "ranks.svg"])
def test_a_picture_is_that_of_the_intervals(name: str) -> None:
    drawn = (ROOT / "docs" / "pictures" / name).read_text(encoding="utf-8")
    assert drawn == interval_pictures.DRAWN[name](), "run `python -m docs.scripts.interval_pictures`"


def test_the_page_on_trust_shows_every_picture_and_its_table_the_intervals_of_today() -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    assert all(f"pictures/{name}" in page for name in interval_pictures.DRAWN)
    rows = [line for line in page.splitlines() if line[:3].strip("| ").isdigit()]
    assert len(rows) == 6
    for row in rows:
        n, *told = (cell.strip() for cell in row.strip("|").split("|"))
        images = int(n)
        of = [interval_of_auroc(a, images, images) for a in (0.95, 0.99)]
        expected = [*of, rate_interval(round(0.9 * images), images)]
        assert told == [f"{low:.3f} to {high:.3f}" for low, high in expected]


def test_every_asset_has_its_place_and_every_read_its_arrow(diagrams: ModuleType) -> None:
    assert set(diagrams.PLACES) == set(NODES)
    arrows = diagrams.assets_svg().count("marker-end")
    assert arrows == sum(len(node.reads) for node in NODES.values())


def test_every_package_has_its_row_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("| package | |")[2]
    packages = {path.parent.name for path in (ROOT / "uad_orchestrator").glob("*/__init__.py")}
    assert [name for name in sorted(packages) if f"`{name}`" not in table] == []


def test_every_asset_stands_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in NODES if f"`{name}`" not in page] == []
