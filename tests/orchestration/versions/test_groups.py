"""Every cell is in one group; those of a group share all that makes it worth to compute them together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.orchestration.workshop import project_file
from uad_orchestrator.orchestration.dagster_instance.group_tags import selection_of
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.groups import cell_groups, group_of, products
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
        "dino@seed0..patchcore": ("dino@seed0", "dino@seed1", "patchcore"),
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


def test_a_group_of_several_categories_is_of_neighbours_in_a_dataset(tmp_path: Path) -> None:
    values = project_file({"alpha": ["a", "b", "c"], "beta": ["a"]})
    values["runtime"].update(run_per="embedder", categories_per_run=2)
    values["detectors"] = {name: values["detectors"][name] for name in ("dino", "patchcore", "bright")}
    (tmp_path / "uad.yaml").write_text(yaml.safe_dump(values))
    groups = cell_groups(load_project(tmp_path))
    assert {name: [cell.key for cell in cells] for name, cells in groups.items() if "dino" in name} == {
        "alpha/a..b: dino..patchcore": [
            "alpha/a|dino",
            "alpha/a|patchcore",
            "alpha/b|dino",
            "alpha/b|patchcore",
        ],
        "alpha/c: dino..patchcore": ["alpha/c|dino", "alpha/c|patchcore"],
        "beta/a: dino..patchcore": ["beta/a|dino", "beta/a|patchcore"],
    }
    assert sorted(name for name in groups if "dino" not in name) == [
        "alpha/a..b: bright",
        "alpha/c: bright",
        "beta/a: bright",
    ]


def test_groups_have_names_of_their_own(tmp_path: Path) -> None:
    """Whatever names are: two groups of one name, and the cells of the first would be nobody's."""
    values = project_file({"alpha": ["disc", "ring", "disc +1", "disc.ring"]})
    values["runtime"].update(run_per="embedder", categories_per_run=2)
    dino = values["detectors"]["dino"]
    values["detectors"] = {"dino": dino, "few": dino, "dino +1": dino | {"resources": {"num_gpus": 1}}}
    (tmp_path / "uad.yaml").write_text(yaml.safe_dump(values))
    project = load_project(tmp_path)
    groups = cell_groups(project)
    assert sorted(group_of(groups)) == sorted(Cell(*place) for place in project.cells())


@given(st.sets(st.builds(Cell, st.sampled_from(["x/a", "x/b", "y/a", "x/[a]"]), st.sampled_from("uvw"))))
def test_what_is_named_by_categories_and_detectors_is_each_cell_once(cells: set[Cell]) -> None:
    parts = products(sorted(cells))
    assert sorted(cell for part in parts for cell in part) == sorted(cells)
    for part in parts:
        meant = selection_of(part)
        assert {cell for cell in cells if meant.covers(cell)} == set(part)


def test_every_cell_has_one(project: Project) -> None:
    groups = cell_groups(project)
    names = group_of(groups)
    assert sorted(names) == sorted(Cell(*place) for place in project.cells())
    assert all(cell in groups[name] for cell, name in names.items())
