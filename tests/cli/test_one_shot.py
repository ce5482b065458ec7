"""``uad benchmark`` writes metrics or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.cli.invoke import uad
from tests.orchestration.workshop import write_category, write_image


def benchmark(root: Path, output: Path) -> int:
    options = ("--dataset", "folder", "--root", root, "--category", "disc", "--model", "vision_patchcore")
    return uad("benchmark", *options, "--output", output).exit_code


def test_one_that_failed_writes_no_metrics(tmp_path: Path) -> None:
    root, output = tmp_path / "data", tmp_path / "disc.json"
    write_category(root / "disc", seed=0)
    broken = root / "disc/train/good/000.png"
    kept = broken.read_bytes()
    broken.write_bytes(kept[: len(kept) // 2])
    assert benchmark(root, output) == 1
    assert not output.exists()
    write_image(broken, np.full((64, 64, 3), 90, np.uint8))
    broken.write_bytes(kept)
    assert benchmark(root, output) == 0
    assert json.loads(output.read_text())["category"] == "disc"
