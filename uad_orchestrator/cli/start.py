"""Commands to begin with: demo, init, check, ui."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.grid import BoardFormat, opened, print_board, print_result, run_refresh
from uad_orchestrator.cli.terminal.options import Home, Json, Workers
from uad_orchestrator.cli.terminal.output import FAILED, note, print_json, speaking
from uad_orchestrator.cli.terminal.ports import require_free_port
from uad_orchestrator.cli.terminal.progress import file_progress
from uad_orchestrator.spelling import how_many


def demo(
    home: Annotated[Path, typer.Option(help="Where to make the demo project.")] = Path("uad-demo"),
    workers: Workers = None,
) -> None:
    """Make the demo project (generated images), refresh it, print the leaderboard and where the report is."""
    from uad_orchestrator.orchestration.services.reports import save_report
    from uad_orchestrator.project.new import write_demo_project

    with speaking():
        write_demo_project(home)
        with opened(home) as (project, instance):
            result = run_refresh(project, instance, workers=workers)
            print_board(project, BoardFormat.TABLE)
            print_result(result)
            note(f"Report: {save_report(project)}")
            note(f"Next: uad ui --home {shlex.quote(str(home))}")
    raise typer.Exit(FAILED if result.failed else 0)


def init(
    home: Home = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="For several machines: also a dagster.yaml (PostgreSQL, Ray).")
    ] = False,
) -> None:
    """Write a commented uad.yaml to start from."""
    from uad_orchestrator.orchestration.dagster_instance.settings.cluster import write_cluster_settings
    from uad_orchestrator.project.load import open_project
    from uad_orchestrator.project.new import write_new_project
    from uad_orchestrator.project.settings import PROJECT_FILE

    with speaking():
        folder = home or Path()
        if cluster and (path := folder / PROJECT_FILE).exists():
            note(f"{path} stays as it is: on several machines its storage.root is a bucket.")
        else:
            path = write_new_project(folder, cluster=cluster)
            note(
                f"{path} is written: set the dataset's root and the detectors, then run `uad check`, `uad refresh`."
            )
        if cluster:
            settings = write_cluster_settings(open_project(folder))
            note(
                f"{settings} is written: it says which variables to set; `uad check` tells what is still missing."
            )


def check(
    home: Home = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Names and headers only: no image decoded, no weights opened.")
    ] = False,
    artifacts: Annotated[
        bool, typer.Option("--artifacts", help="Read every stored file, and hold it to its checksum.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Datasets, weights, disk, versions: what is wrong, before it costs time. Exit status 1 where there are errors."""
    from uad_orchestrator.orchestration.services.project_check.check import check_project
    from uad_orchestrator.project.load import open_partly

    with speaking():
        project, faults = open_partly(home)
        with file_progress() as show:
            found = check_project(project, show, quick=quick, artifacts=artifacts, faults=faults)
        if as_json:
            print_json(found.to_json())
        else:
            for problem in sorted(found.problems, key=lambda problem: problem.severity):
                typer.echo(str(problem))
            for line in found.notes:
                typer.echo(line)
            warnings = len(found.problems) - len(found.errors)
            typer.echo(f"{how_many(len(found.errors), 'problem')}, {how_many(warnings, 'warning')}")
    raise typer.Exit(FAILED if found.errors else 0)


def ui(
    home: Home = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on localhost.")] = 3000,
) -> None:
    """Dagster's web server and daemon for this project, on localhost; Ctrl-C stops them."""
    from uad_orchestrator.orchestration.services.servers import serve_ui
    from uad_orchestrator.project.load import open_project

    with speaking():
        project = open_project(home)
        require_free_port("127.0.0.1", port)
        note(f"http://127.0.0.1:{port} (Ctrl-C stops it)")
        raise typer.Exit(serve_ui(project, port))
