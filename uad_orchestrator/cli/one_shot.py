"""``uad benchmark``: one call from a dataset's folder to metrics, without a project file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.grid import opened, print_result, run_refresh
from uad_orchestrator.cli.terminal.options import Workers
from uad_orchestrator.cli.terminal.output import FAILED, WRONG_USAGE, note, speaking


def benchmark(
    dataset: Annotated[str, typer.Option(help="The dataset's layout, which names it: mvtec_ad, folder, ...")],
    root: Annotated[Path, typer.Option(help="The dataset's folder.")],
    model: Annotated[str, typer.Option(help="The detector's model: vision_patchcore, ...")],
    output: Annotated[Path, typer.Option(help="The JSON file to write.")],
    category: Annotated[list[str] | None, typer.Option(help="A category, several times, or `all`.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. coreset.ratio=0.01."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    workers: Workers = None,
) -> None:
    """Benchmark one detector and save its metrics; a second call reuses what the first computed."""
    from uad_orchestrator.orchestration.execution.one_shot import OneShot, save_metrics

    with speaking():
        try:
            request = OneShot(dataset, root, tuple(category or ["all"]), model, tuple(settings or ()), device)
            home = request.write_project(output)
        except ValueError as error:
            note(f"Error: {error}")
            raise typer.Exit(WRONG_USAGE) from error
        with opened(home) as (project, instance):
            result = run_refresh(project, instance, workers=workers)
            print_result(result)
            written = save_metrics(project, output)
        if written:
            typer.echo(output)
        else:
            note(f"{output} is not written: there are no metrics")
    raise typer.Exit(FAILED if result.failed else 0)
