"""What ``instance.py`` takes from Dagster beside its public API, held against the installed version."""

from __future__ import annotations

import pickle
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.instance import (
    open_instance,
    open_reference,
    project_dagster_home,
    reference_to,
)
from uad_orchestrator.project import demo_project


@contract("instance.py", "opens the instance that a folder's dagster.yaml describes")
def test_an_instance_is_opened_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    project = demo_project(tmp_path)
    with open_instance(project) as instance:
        assert Path(instance.root_directory) == project_dagster_home(project)
        assert instance.run_monitoring_enabled, "our dagster.yaml switches it on"
        assert not instance.nux_enabled, "and greetings off"


@contract("instance.py", "lets another process open an instance by a reference that can be pickled")
def test_an_instance_is_opened_by_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(demo_project(tmp_path)) as instance:
        reference = pickle.loads(pickle.dumps(reference_to(instance)))
        instance.report_runless_asset_event(dg.AssetMaterialization("told_here"))
        with open_reference(reference) as again:
            assert again.get_latest_materialization_event(dg.AssetKey("told_here")) is not None
