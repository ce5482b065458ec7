"""Paths that cannot be: named with their key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.invoke import uad
from uad_orchestrator.project import ProjectError, load_project, open_project

DETECTORS = "detectors: {p: {model: vision_patchcore}}\n"
DEMO = "datasets: {demo: {}}\n"
NOBODY = "~nosuchuser/x"


@pytest.mark.parametrize("value", ['"da\\0ta"', NOBODY])
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("datasets.own.root", "datasets: {own: {layout: folder, root: PATH}}\n" + DETECTORS),
        ("datasets.own.incoming", "datasets: {own: {layout: folder, root: d, incoming: PATH}}\n" + DETECTORS),
        ("storage.root", "storage: {root: PATH}\n" + DEMO + DETECTORS),
        ("storage.local", "storage: {local: PATH}\n" + DEMO + DETECTORS),
        (
            "detectors.p.embedder.weights",
            DEMO + "detectors: {p: {model: vision_patchcore, embedder: {name: resnet18, weights: PATH}}}\n",
        ),
        (
            "detectors.p.checkpoint",
            DEMO + "detectors: {p: {model: vision_padim_anomalib, checkpoint: PATH}}\n",
        ),
        ("presets.a[0].roi.path", "presets: {a: [{roi: {path: PATH}}]}\n" + DEMO + DETECTORS),
    ],
)
def test_the_key_is_named(tmp_path: Path, key: str, text: str, value: str) -> None:
    (tmp_path / "uad.yaml").write_text(text.replace("PATH", value))
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path)
    (problem,) = caught.value.problems
    assert key in str(problem)
    assert ("there is no such user" if value == NOBODY else "NUL character") in str(problem)


def test_on_the_command_line_too(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="nosuchuser"):
        open_project(Path(NOBODY))
    said = uad("plan", "--home", NOBODY)
    assert said.exit_code == 2 and "nosuchuser" in said.stderr
    options = (
        "--dataset",
        "demo",
        "--root",
        tmp_path,
        "--model",
        "vision_patchcore",
        "--output",
        tmp_path / "a.json",
    )
    said = uad("benchmark", *options, "--set", f"embedder.weights={NOBODY}")
    assert said.exit_code == 2 and "there is no such user" in said.stderr
