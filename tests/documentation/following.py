"""A tutorial followed block by block, as a reader does who copies each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.documentation.code_blocks import ROOT, Block, blocks_of

MARKER = "tutorial"


def steps(page: str) -> Iterator[Block]:
    """The blocks of a page of ``docs`` that a reader follows."""
    return (block for block in blocks_of(ROOT / "docs" / page) if block.marker.startswith(MARKER))


def follow(block: Block, folder: Path, ports: Mapping[str, int], seconds: float | None = None) -> str:
    """Do what a block says; returns what it prints.

    Args:
        block: a file to write, by its marker, or commands to run.
        folder: where the reader is.
        ports: of those that the page names, the free ones to take instead.
        seconds: that it may take.
    """
    code = block.code
    for named, free in ports.items():
        code = code.replace(named, str(free))
    if name := block.marker.removeprefix(MARKER).removeprefix(":").strip():
        (folder / name).write_text(code)
        return ""
    runner = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[block.language]
    kept = {name: value for name, value in os.environ.items() if name not in ("UAD_HOME", "DAGSTER_HOME")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    modules = os.pathsep.join([str(ROOT), *filter(None, [kept.get("PYTHONPATH")])])
    done = subprocess.run(
        [*runner, code],
        cwd=folder,
        env={**kept, "PATH": path, "COLUMNS": "160", "PYTHONPATH": modules},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout
