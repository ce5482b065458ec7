"""The settings of ``docs/how-to/cluster-runs.md``: Dagster takes them, and so does each launcher they name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.launcher import RunLauncher

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.launchers.cells import KnowsCells
from uad_orchestrator.orchestration.dagster_instance.launchers.run_tags import resource_tags
from uad_orchestrator.orchestration.versions.groups import cell_groups
from uad_orchestrator.project import Project, load_project

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "cluster-runs.md"
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]
SETTINGS = {block["run_launcher"]["class"]: block for block in BLOCKS if "run_launcher" in block}
PROJECTS = [block for block in BLOCKS if "detectors" in block]


def launcher_of(settings: dict[str, Any]) -> type[RunLauncher]:
    place = settings["run_launcher"]
    return getattr(importlib.import_module(place["module"]), place["class"])


def faults(settings: dict[str, Any]) -> list[str]:
    """What Dagster and the launcher say is wrong."""
    whole = process_config(dagster_instance_config_schema(), settings)
    own = process_config(
        resolve_to_config_type(launcher_of(settings).config_type()), settings["run_launcher"]["config"]
    )
    return [error.message for result in (whole, own) for error in result.errors or []]


def test_the_page_has_all_three() -> None:
    assert set(SETTINGS) == {"RayRunLauncher", "K8sRunLauncher", "CeleryRunLauncher"}


@pytest.mark.parametrize("name", ["RayRunLauncher", "K8sRunLauncher", "CeleryRunLauncher"])
def test_settings_are_as_dagster_and_the_launcher_have_them(name: str) -> None:
    settings = SETTINGS[name]
    assert faults(settings) == []
    timeout = settings["run_monitoring"]["start_timeout_seconds"]
    assert timeout >= 24 * 3600, "a run may wait in the cluster's queue for long"
    launcher = settings["run_launcher"]
    config = launcher["config"].get("ray", launcher["config"])
    config["addres"] = "x"
    assert faults(settings), "a key that no launcher has is noticed here"
    del config["addres"]


@contract(
    "launchers/cells.py", "asks a launcher by these methods to launch a run and whether its worker lives"
)
def test_ours_stand_before_those_of_the_packages() -> None:
    for settings in SETTINGS.values():
        ours = launcher_of(settings)
        theirs = ours.__mro__[2]
        assert ours.__mro__[1] is KnowsCells and theirs.__name__ == ours.__name__
        assert ours.launch_run is KnowsCells.launch_run and "launch_run" in vars(theirs)
        assert ours.check_run_worker_health is KnowsCells.check_run_worker_health
        assert ours.from_config_value.__func__ is theirs.from_config_value.__func__
    assert {"launch_run", "check_run_worker_health"} <= set(dir(RunLauncher))
    assert dg.DagsterInstance.add_run_tags


def test_projects_of_the_page_are_as_it_says(tmp_path: Path) -> None:
    asking, grouped, several = (_load(tmp_path, block) for block in PROJECTS)
    assert set(resource_tags(asking.detectors["large"].resources)) == set(
        re.findall(r"the tag `([\w/-]+)`", PAGE.read_text())
    )
    assert asking.detectors["small"].resources is None
    of_one, of_three = re.findall(r"`(demo/[^`]+)`", PAGE.read_text())
    assert (len(cell_groups(grouped)[of_one]), len(cell_groups(several)[of_three])) == (2, 6)


def _load(home: Path, values: dict[str, Any]) -> Project:
    (home / "uad.yaml").write_text(yaml.safe_dump(values))
    return load_project(home)
