"""The command that lets checkpoints be loaded: trust."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.terminal.options import Home
from uad_orchestrator.cli.terminal.output import note, speaking


def trust(
    files: Annotated[
        list[Path], typer.Argument(help="Checkpoints; what belongs to one (.bin, .onnx.data) comes along.")
    ],
    home: Home = None,
) -> None:
    """Let checkpoints be loaded, which can run code: only files whose origin you know."""
    from uad_orchestrator.detectors.anomalib.trusted_files import checkpoint_files
    from uad_orchestrator.project.load import open_project
    from uad_orchestrator.project.trust import TRUST_FILE
    from uad_orchestrator.project.trust import trust as note_as_trusted

    with speaking():
        project_home = open_project(home).home
        every = [part for file in files for part in checkpoint_files(file)]
        for path, digest in note_as_trusted(project_home, every).items():
            typer.echo(f"{digest}  {path}")
        note(f"noted in {project_home / TRUST_FILE}; no version changes by it")
