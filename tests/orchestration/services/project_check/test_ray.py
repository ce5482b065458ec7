"""``uad check`` says of each Ray node what keeps it from starting a run; and a run lost to that is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from uad_orchestrator import __version__
from uad_orchestrator.orchestration.dagster_instance.launchers.ray_nodes import (
    PROBE,
    NodeAnswer,
    ray_launcher,
    read_answer,
)
from uad_orchestrator.orchestration.dagster_instance.settings.cluster import CLUSTER_YAML
from uad_orchestrator.orchestration.services.project_check.ray import node_problems, ray_problems


def test_each_node_is_told_what_it_lacks() -> None:
    no_module = "ModuleNotFoundError: No module named 'uad_orchestrator'"
    answers = [
        NodeAnswer("10.0.0.1", {"dagster": "0.2.0", "python": "0.2.0"}),
        NodeAnswer("10.0.0.2", {}, {"dagster": "not on the PATH, /usr/bin:/bin", "python": "not found"}),
        NodeAnswer("10.0.0.3", {"python": "0.2.0"}, {"dagster": no_module}),
        NodeAnswer("10.0.0.4", {"dagster": "0.2.0", "python": "0.1.0"}),
        NodeAnswer("10.0.0.5"),
    ]
    found = [(one.where[-1], one.problem, one.severity) for one in node_problems(answers, "0.2.0")]
    assert [(node, severity) for node, _, severity in found] == [
        ("2", "error"),
        ("2", "error"),
        ("3", "warning"),
        ("4", "error"),
        ("5", "warning"),
    ]
    words = [
        "PATH, /usr/bin:/bin. Runs of a `dagster-daemon`",
        "Runs of `uad ui`",
        no_module,
        "0.1.0",
        "not answer",
    ]
    assert all(word in problem for word, (_, problem, _) in zip(words, found, strict=True))
    (nobody,) = node_problems([], "0.2.0")
    assert "no node" in nobody.problem


@pytest.mark.parametrize("has_dagster", [True, False])
def test_the_probe_says_what_this_machine_has(has_dagster: bool, tmp_path: Path) -> None:
    """In the shell that Ray gives the entry point to."""
    (tmp_path / "dagster").symlink_to(Path(sys.executable).parent / "dagster")
    path = f"{tmp_path}:/usr/bin:/bin" if has_dagster else "/usr/bin:/bin"
    probe = PROBE.format(python=sys.executable)
    said = subprocess.run(
        probe, shell=True, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    answer = read_answer("here", f"Running entrypoint for job x: {probe}\n{said.stdout}")
    expected = NodeAnswer("here", {"dagster": __version__, "python": __version__})
    if not has_dagster:
        expected = NodeAnswer("here", {"python": __version__}, {"dagster": "not on the PATH, /usr/bin:/bin"})
    assert answer == expected
    broken = subprocess.run(
        PROBE.format(python="/no/python"), shell=True, capture_output=True, text=True, check=True
    )
    assert "python" in read_answer("here", broken.stdout).faults


def write_settings(home: Path, address: str, env_vars: str = "[]") -> Path:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "run_launcher:\n"
        "  module: uad_orchestrator.orchestration.dagster_instance.launchers.ray\n"
        "  class: RayRunLauncher\n"
        f"  config: {{ray: {{address: '{address}', env_vars: {env_vars}}}}}\n"
    )
    return home


def test_only_where_runs_are_launched_on_ray(tmp_path: Path) -> None:
    assert list(ray_problems(tmp_path)) == []
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert ray_launcher(tmp_path) is None and list(ray_problems(tmp_path)) == []
    assert not (tmp_path / "history").exists(), "looking makes no databases"


@pytest.mark.parametrize(
    "settings", ["a: [", "- a", "foo: 1", "storage: {postgres: {postgres_url: {env: UAD_UNSET}}}"]
)
def test_settings_that_dagster_refuses_are_no_fault_of_ray(tmp_path: Path, settings: str) -> None:
    """Who reads them says what is wrong."""
    (tmp_path / "dagster.yaml").write_text(settings)
    assert list(ray_problems(tmp_path)) == []


def test_a_head_whose_address_is_not_set_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UAD_RAY_ADDRESS", raising=False)
    (tmp_path / "dagster.yaml").write_text(CLUSTER_YAML.read_text())
    assert list(ray_problems(tmp_path)) == []


def test_a_head_that_does_not_answer_is_said(tmp_path: Path) -> None:
    (problem,) = ray_problems(write_settings(tmp_path / "home", "http://127.0.0.1:9"), seconds=5)
    assert (problem.where, problem.severity) == ("ray", "error")
    assert "127.0.0.1:9" in problem.problem
