"""The tutorial as it stands there, from its first line to the last, on the images that it makes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation.code_blocks import ROOT, Block, blocks_of

pytestmark = pytest.mark.end_to_end
PORT = "8077"


def steps() -> Iterator[Block]:
    """The blocks that a reader follows."""
    return (
        block for block in blocks_of(ROOT / "docs" / "tutorial.md") if block.marker.startswith("tutorial")
    )


def follow(block: Block, folder: Path, port: int) -> str:
    """Do what a block says; returns what it prints."""
    if block.language == "yaml":
        (folder / block.marker.removeprefix("tutorial: ")).write_text(block.code)
        return ""
    code = block.code.replace(PORT, str(port))
    runner = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[block.language]
    kept = {name: value for name, value in os.environ.items() if name not in ("UAD_HOME", "DAGSTER_HOME")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*runner, code],
        cwd=folder,
        env={**kept, "PATH": path, "COLUMNS": "160", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    said = [follow(block, tmp_path, free_port()) for block in steps()]
    images, settings, check, results, change, why, bundle, program, service = said
    assert (images, settings) == ("", "")
    assert "0 problems" in check
    assert "patchcore" in results and "anomalydino_8shot" in results
    assert (tmp_path / ".uad" / "report.html").stat().st_size > 100_000
    assert "scoring settings changed: contamination 0.05 -> 0.1" in change
    assert "memory_bank" not in change and "0 images embedded" in change
    assert "24 images" in why and "contamination 0.05 -> 0.1" in why
    assert "status 3" in bundle
    assert sorted(path.suffix for path in (tmp_path / "maps").rglob("*.tiff")) == [".tiff"] * 6
    assert len([path for path in (tmp_path / "overlays").rglob("*") if path.is_file()]) == 6
    assert program.count("DefectRegion(") >= 6
    assert '"label":1' in service.replace(" ", "")
