"""What the shell offers behind ``--category``, ``--detector``, ``--asset`` and ``uad why``."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.orchestration.workshop import Workshop
from uad_orchestrator.cli import app


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Workshop.build(tmp_path_factory.mktemp("completion"), {"alpha": ["disc", "ring"]}).home


def offered(*words: str, incomplete: str = "") -> list[str]:
    """What bash is given."""
    line = ["uad", *words, incomplete]
    asked = {"_UAD_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(line) - 1)}
    runner = CliRunner()
    runner.mix_stderr = False  # click before 8.2 would lay one into the other
    done = runner.invoke(app, [], env=asked, prog_name="uad")
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("command", ["plan", "refresh", "leaderboard", "infer"])
def test_categories_and_detectors_of_the_project(home: Path, command: str) -> None:
    words = (command, "--home", str(home))
    assert offered(*words, "--category") == ["alpha/disc", "alpha/ring"]
    assert offered(*words, "--category", incomplete="alpha/r") == ["alpha/ring"]
    assert offered(*words, "--detector", incomplete="p") == ["patchcore"]


def test_assets_and_what_stands_behind_them(home: Path) -> None:
    assert offered("refresh", "--asset", incomplete="memory") == ["memory_bank"]
    assert offered("why", incomplete="metrics") == ["metrics_report"]
    assert offered("why", "--home", str(home), "metrics_report") == ["alpha/disc", "alpha/ring"]
    assert offered("why", "--home", str(home), "fit_settings", incomplete="d") == ["dino"]
    assert offered("why", "--home", str(home), "metrics_report", "alpha/disc", incomplete="b") == ["bright"]


def test_without_a_project_nothing_is_offered_and_nothing_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uad.yaml").write_text("datasets: [")
    assert offered("plan", "--home", str(tmp_path), "--category") == []
    assert offered("plan", "--home", str(tmp_path / "nowhere"), "--detector") == []
    monkeypatch.delenv("UAD_HOME", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert offered("plan", "--category") == [], "the demo project is none"
