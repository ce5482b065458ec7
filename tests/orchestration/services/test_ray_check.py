"""``uad check`` says of each Ray node what keeps it from starting a run; and a run lost to that is found."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.orchestration.dagster_instance.ray_nodes import NodeAnswer, ray_launcher
from uad_orchestrator.orchestration.services.ray_check import node_problems, ray_problems

HERE = "/opt/uad/bin/dagster"


def test_each_node_is_told_what_it_lacks() -> None:
    answers = [
        NodeAnswer("10.0.0.1", "SUCCEEDED", (HERE, "0.2.0")),
        NodeAnswer("10.0.0.2", "FAILED", ("PATH is /usr/bin:/bin",)),
        NodeAnswer("10.0.0.3", "FAILED", (HERE, "ModuleNotFoundError: No module named 'uad_orchestrator'")),
        NodeAnswer("10.0.0.4", "SUCCEEDED", (HERE, "0.1.0")),
        NodeAnswer("10.0.0.5", "PENDING"),
        NodeAnswer("10.0.0.6", "FAILED"),
    ]
    found = {
        problem.where: (problem.problem, problem.severity) for problem in node_problems(answers, "0.2.0")
    }
    assert set(found) == {f"ray node 10.0.0.{number}" for number in range(2, 7)}
    for number, words, severity in (
        (2, "PATH is /usr/bin:/bin", "error"),
        (3, "No module named 'uad_orchestrator'", "error"),
        (4, "0.1.0, this machine 0.2.0", "error"),
        (5, "did not answer", "warning"),
        (6, "not on the PATH", "error"),
    ):
        problem = found[f"ray node 10.0.0.{number}"]
        assert words in problem[0] and problem[1] == severity
    (nobody,) = node_problems([], "0.2.0")
    assert "no node" in nobody.problem


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


def test_a_head_that_does_not_answer_is_said(tmp_path: Path) -> None:
    (problem,) = ray_problems(write_settings(tmp_path / "home", "http://127.0.0.1:9"), seconds=5)
    assert (problem.where, problem.severity) == ("ray", "error")
    assert "127.0.0.1:9" in problem.problem
