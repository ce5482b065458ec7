"""What ``instance.py`` takes from Dagster beside its public API, held against the installed version."""

from __future__ import annotations

import os
import pickle
import pwd
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.dagster_instance.contracts import contract
from tests.orchestration.workshop import Workshop
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
        assert (instance.run_retries_max_retries, instance.run_retries_retry_on_asset_or_op_failure) == (
            2,
            False,
        )


@contract("instance.py", "lets another process open an instance by a reference that can be pickled")
def test_an_instance_is_opened_by_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(demo_project(tmp_path)) as instance:
        reference = pickle.loads(pickle.dumps(reference_to(instance)))
        instance.report_runless_asset_event(dg.AssetMaterialization("told_here"))
        with open_reference(reference) as again:
            assert again.get_latest_materialization_event(dg.AssetKey("told_here")) is not None


def test_a_shared_home_is_opened_by_a_user_who_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs as a bare number."""

    def nameless(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nameless)
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "shared"))
    with open_instance(demo_project(tmp_path)) as instance:
        assert instance.get_runs_count() == 0


OPENS = """
import sys, time
from pathlib import Path
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.project import load_project
project = load_project(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
with open_instance(project) as instance:
    print(instance.get_runs_count())
"""


def test_projects_that_open_a_new_shared_home_at_once_do_not_break_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    homes = [Workshop.build(tmp_path / f"home{i}", {"alpha": ["disc"]}, train=1).home for i in range(4)]
    environment = os.environ | {"DAGSTER_HOME": str(shared)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENS, str(home)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for home in homes
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in said] == ["0\n"] * 4, "".join(error for _, error in said)
