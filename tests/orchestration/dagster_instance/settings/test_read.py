"""Settings that are no settings: each is said in words, none ends the check, and none shows what is secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from uad_orchestrator.orchestration.dagster_instance.settings.fitting import ProjectFacts
from uad_orchestrator.orchestration.dagster_instance.settings.misfit import Misfit
from uad_orchestrator.orchestration.dagster_instance.settings.read import instance_misfits

RAY = "module: dagster_ray, class: RayRunLauncher"


def errors(home: Path, text: str) -> list[Misfit]:
    (home / "dagster.yaml").write_text(text)
    return [found for found in instance_misfits(home, {}, ProjectFacts()) if found.severity == "error"]


def test_a_line_that_cannot_be_read_is_named_without_what_it_says(tmp_path: Path) -> None:
    url = "postgresql+psycopg2://uad:hunter2: x@db/uad"  # pragma: allowlist secret
    (fault,) = errors(tmp_path, f"storage:\n  postgres:\n    postgres_url: {url}\n")
    assert "cannot be read" in fault.said and "dagster.yaml" in fault.said and "line 3" in fault.said
    assert "hunter2" not in fault.said


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("1: 2\n", "", "refused by Dagster"),
        ("storage: somewhere\n", "", "refused by Dagster"),
        ("run_monitoring: 5\n", "", "refused by Dagster"),
        (
            "run_launcher: {module: .ray, class: RayRunLauncher}\n",
            "run_launcher.module",
            "cannot be imported",
        ),
        ("run_launcher: {module: json, class: Nothing}\n", "run_launcher.class", "json has no Nothing"),
        (
            f"run_launcher: {{{RAY}, config: {{ray: {{env_vars: 5}}}}}}\n",
            "run_launcher.config",
            "must be list",
        ),
    ],
)
def test_what_is_no_setting_is_said(tmp_path: Path, text: str, key: str, words: str) -> None:
    if "dagster_ray" in text:
        pytest.importorskip("dagster_ray")
    assert any(found.key == key and words in found.said for found in errors(tmp_path, text))
