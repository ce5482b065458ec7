"""The scripts in examples/ run as they stand there, and what they print is plausible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script: str, folder: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("UAD_HOME", "DAGSTER_HOME")}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / script, folder],
        cwd=folder.parent,
        env={**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def number(name: str, text: str) -> float:
    return float(re.search(rf"{name} ([0-9.]+)", text)[1])


def test_library_alone(tmp_path):
    printed = run("library_alone.py", tmp_path / "demo")
    assert "leave_one_image_out" in printed
    assert number("image AUROC", printed) > 0.8
    assert number("recall", printed) > 0.5
    assert number("pixel_auroc", printed) > 0.8


def test_own_detector(tmp_path):
    printed = run("own_detector.py", tmp_path / "demo")
    assert number("image AUROC", printed) > 0.85
    assert number("recall", printed) > 0.5
    assert number("false positives", printed) <= 0.4


@pytest.mark.end_to_end
def test_own_dataset_is_computed_once(tmp_path):
    home = tmp_path / "mine"
    first = run("own_dataset.py", home)
    assert "line7/housing" in first and "patchcore" in first
    artifacts = sorted(home.glob(".uad/artifacts/metrics_report/line7/housing/patchcore/*"))
    assert len(artifacts) == 1
    run("own_dataset.py", home)
    assert sorted(home.glob(".uad/artifacts/metrics_report/line7/housing/patchcore/*")) == artifacts
