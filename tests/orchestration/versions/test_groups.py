"""Every cell is in one group; those of a group share all that makes it worth to compute them together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.orchestration.workshop import project_file
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.groups import cell_groups, group_of
from uad_orchestrator.project import Project, load_project

TRAINED = {"model": "vision_padim_anomalib", "train": {}}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    values = project_file({"alpha": ["disc", "ring"]})
    detectors = values["detectors"]
    detectors["dino"] = detectors["dino"] | {"repeats": {"seeds": [0, 1]}}
    detectors["on_gpu"] = detectors["patchcore"] | {"resources": {"num_gpus": 1}}
    detectors["padim"] = detectors["padim2"] = TRAINED
    (tmp_path / "uad.yaml").write_text(yaml.safe_dump(values))
    return load_project(tmp_path)


def test_the_groups_of_a_grid(project: Project) -> None:
    of_a_category = {
        "bright": ("bright",),  # a preset of its own
        "dino@seed0 +2": ("dino@seed0", "dino@seed1", "patchcore"),
        "on_gpu": ("on_gpu",),  # resources of its own
        "padim": ("padim",),
        "padim2": ("padim2",),  # networks of their own share nothing
    }
    expected = {
        f"{category}: {name}": tuple(Cell(category, detector) for detector in detectors)
        for category in ("alpha/disc", "alpha/ring")
        for name, detectors in of_a_category.items()
    }
    assert cell_groups(project) == expected


def test_every_cell_has_one(project: Project) -> None:
    groups = cell_groups(project)
    names = group_of(groups)
    assert sorted(names) == sorted(Cell(*place) for place in project.cells())
    assert all(cell in groups[name] for cell, name in names.items())
