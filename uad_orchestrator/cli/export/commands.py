"""The commands of ``uad export``, put together."""

from __future__ import annotations

import typer

from uad_orchestrator.cli.export.bundle import bundle
from uad_orchestrator.cli.export.maps import maps, submission
from uad_orchestrator.cli.export.onnx import onnx

export = typer.Typer(help="Hand results over.", no_args_is_help=True)

for command in (maps, submission, onnx, bundle):
    export.command()(command)


@export.callback()
def export_commands() -> None:
    """Hand results over."""
