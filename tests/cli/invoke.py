"""The ``uad`` command in this process."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from uad_orchestrator.cli import app


def uad(*arguments: str | Path) -> Result:
    """Run it to its end; ``stdout`` and ``stderr`` apart."""
    runner = CliRunner()
    runner.mix_stderr = False  # click before 8.2 would lay one into the other
    return runner.invoke(app, [str(argument) for argument in arguments])
