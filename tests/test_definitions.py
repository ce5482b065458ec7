"""The code location of ``dagster dev -m uad_orchestrator.definitions``: it loads, for any project, as one."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.workshop import Workshop


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The code location of a project with a key prefix, and another for names."""
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]}, train=1)
    workshop.edit(lambda values: values.update(dagster={"key_prefix": "line7", "name_prefix": "plant"}))
    monkeypatch.setenv("UAD_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "uad_orchestrator.definitions", raising=False)
    return importlib.import_module("uad_orchestrator.definitions").defs


def test_the_code_location_loads_whole(loaded: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(loaded)
    assert {key.path[0] for key in loaded.resolve_all_asset_keys()} == {"line7"}


def test_what_a_click_starts_runs_in_one_process(loaded: dg.Definitions) -> None:
    clicked, job = loaded.resolve_implicit_global_asset_job_def(), loaded.resolve_job_def("plant__cell")
    assert clicked.executor_def is job.executor_def is dg.in_process_executor


def test_what_a_job_has_loaded_is_not_looked_through_at_each_collection(tmp_path: Path) -> None:
    Workshop.build(tmp_path, {"alpha": ["disc"]}, train=1)
    code = "import gc, uad_orchestrator.definitions; print(gc.get_freeze_count())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "UAD_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 50_000
