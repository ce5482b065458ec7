"""Which partition keys a project has: Dagster launches runs of any."""

from __future__ import annotations

from pathlib import Path

import pytest

from uad_orchestrator.orchestration.assets.partitions import project_partitions
from uad_orchestrator.project import demo_project

CELL = "demo/gear|patchcore"


@pytest.mark.parametrize("key", [CELL, *CELL.split("|")])
def test_cells_categories_and_detectors_are_partitions(tmp_path: Path, key: str) -> None:
    assert project_partitions(demo_project(tmp_path)).has(key)


@pytest.mark.parametrize(
    "category", ["..", "../..", "/etc", "demo/../gear", "demo/%2e%2e", "demo/./gear", "", "demo/"]
)
def test_what_could_lead_elsewhere_is_none(tmp_path: Path, category: str) -> None:
    partitions = project_partitions(demo_project(tmp_path))
    for key in (
        category,
        f"{category}|patchcore",
        f"demo/gear|{category}",
        f"demo/gear|patchcore|{category}",
    ):
        assert not partitions.has(key), key
