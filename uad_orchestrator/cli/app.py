"""The commands of ``uad``, put together.

Results go to standard output (with ``--json`` one JSON object), everything else to standard error. Exit status: 0
done, 1 a cell failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Annotated

import typer

from uad_orchestrator import __version__
from uad_orchestrator.cli import (
    grid,
    housekeeping,
    importing,
    infer,
    ingest,
    one_shot,
    review,
    robustness,
    serve,
    start,
    threshold,
    trust,
)
from uad_orchestrator.cli.export.commands import export
from uad_orchestrator.cli.terminal.output import escape_what_no_terminal_takes

COLLECTED_AFTER = (100_000, 20, 100)
"""Of Python's garbage collector: a grid is hundreds of thousands of objects that stay, looked at again and again at its
own thresholds for a fifth of a command's time."""

app = typer.Typer(
    help="Benchmarks of unsupervised visual anomaly detection: run, kept up to date, explained.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: tuple[Callable[..., None], ...] = (
    start.demo, start.init, one_shot.benchmark, grid.plan, grid.refresh, grid.why, grid.leaderboard, grid.report,
    threshold.threshold, infer.infer, serve.serve, review.review, robustness.robustness, ingest.ingest, trust.trust,
    start.check, start.ui, housekeeping.gc, housekeeping.sql,
)  # fmt: skip

for command in COMMANDS:
    app.command()(command)
app.command("intake", hidden=True, help="The earlier name of `uad ingest`.")(ingest.ingest)
app.add_typer(importing.imports, name="import")
app.add_typer(export, name="export")
app.add_typer(housekeeping.lineage, name="lineage")


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Benchmarks of unsupervised visual anomaly detection: run, kept up to date, explained."""
    escape_what_no_terminal_takes()
    gc.set_threshold(*COLLECTED_AFTER)
    if version:
        typer.echo(__version__)
        raise typer.Exit
