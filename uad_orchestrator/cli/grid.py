"""Commands over the whole grid: plan, refresh, why, leaderboard, report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad_orchestrator.cli.terminal.completion import (
    complete_asset,
    complete_category_or_detector,
    complete_detector,
)
from uad_orchestrator.cli.terminal.options import Asset, Categories, Detectors, Home, Json, Rehash, Workers
from uad_orchestrator.cli.terminal.output import FAILED, WRONG_USAGE, note, print_json, speaking
from uad_orchestrator.cli.terminal.progress import cell_progress
from uad_orchestrator.cli.terminal.selecting import select

if TYPE_CHECKING:
    import dagster as dg

    from uad_orchestrator.orchestration.execution.refresh import RefreshResult
    from uad_orchestrator.orchestration.planning.plan import Plan
    from uad_orchestrator.orchestration.versions.selection import Selection
    from uad_orchestrator.project import Project


SHOWN_WARNINGS = 20
"""Warnings of a refresh that are said in full; the others are counted."""


class BoardFormat(StrEnum):
    """How the leaderboard is printed."""

    TABLE = "table"
    JSON = "json"
    MD = "md"
    CSV = "csv"


def plan(
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
    asset: Asset = None,
    rehash: Rehash = False,
    as_json: Json = False,
) -> None:
    """What is stale and why; changes nothing."""
    from uad_orchestrator.orchestration.planning.plan import Planner
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store

    with speaking(), opened(home) as (project, instance):
        state = open_state(project, rehash=rehash)
        found = Planner(state, open_store(project), instance).plan(select(project, category, detector, asset))
        if as_json:
            print_json(found.to_json())
        else:
            print_plan(found)
    raise typer.Exit(FAILED if found.unreachable else 0)


def refresh(
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
    asset: Asset = None,
    workers: Workers = None,
    rehash: Rehash = False,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Hand the cells to the running daemon, as a Dagster backfill.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring every stale cell up to date, through Dagster."""
    with speaking(), opened(home) as (project, instance):
        if backfill:
            hand_to_daemon(project, instance, select(project, category, detector, asset), rehash, as_json)
            return
        result = run_refresh(
            project, instance, select(project, category, detector, asset), workers=workers, rehash=rehash
        )
        if as_json:
            print_json(result.to_json())
        else:
            print_result(result)
    raise typer.Exit(FAILED if result.failed else 0)


def leaderboard(
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
    format: Annotated[BoardFormat, typer.Option(help="How to print it.")] = BoardFormat.TABLE,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Best first in each category: image_auroc, recall, cost, ...",
            show_default="by name",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """All cells side by side."""
    from uad_orchestrator.project.load import open_project

    with speaking():
        project = open_project(home)
        selection = select(project, category, detector)
        print_board(project, BoardFormat.JSON if as_json else format, selection, sort)
    raise typer.Exit(FAILED if say_unreachable(selection.away(project)) else 0)


def report(
    home: Home = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="A folder for the pages, or, where it ends in .html, a single file.",
            show_default="<local>/report",
        ),
    ] = None,
    single_file: Annotated[
        bool,
        typer.Option("--single-file", help="One file without the lists of images, <local>/report.html."),
    ] = False,
) -> None:
    """The HTML report: pages with every test image, or a single file; without a network. Prints what to open."""
    from uad_orchestrator.orchestration.services.reports import save_report
    from uad_orchestrator.project.load import open_project
    from uad_orchestrator.reporting.pages.report_folder import NotAReport

    with speaking():
        project = open_project(home)
        try:
            typer.echo(save_report(project, output, single_file=single_file))
        except NotAReport as error:
            note(f"Error: {error}")
            raise typer.Exit(WRONG_USAGE) from error
    raise typer.Exit(FAILED if say_unreachable(project.unreachable) else 0)


def why(
    asset: Annotated[
        str,
        typer.Argument(
            help="metrics_report, memory_bank, normal_images, leaderboard, ...", autocompletion=complete_asset
        ),
    ],
    category: Annotated[
        str | None,
        typer.Argument(
            help="dataset/category; for an asset of detectors, the detector.",
            autocompletion=complete_category_or_detector,
        ),
    ] = None,
    detector: Annotated[
        str | None, typer.Argument(help="The detector's name.", autocompletion=complete_detector)
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="What changed since this version (its first digits, or: previous).")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The lineage of an artifact, down to images, settings and weights; or what changed in it."""
    from uad_orchestrator.orchestration.planning.why import WhyError, explain
    from uad_orchestrator.orchestration.versions.graph import NODES
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store
    from uad_orchestrator.project.load import open_project

    if asset in NODES and NODES[asset].dimension == "detector" and detector is None:
        category, detector = None, category
    with speaking():
        project = open_project(home)
        try:
            found = explain(open_state(project), open_store(project), asset, category, detector, since=since)
        except WhyError as error:
            note(f"Error: {error}")
            raise typer.Exit(WRONG_USAGE) from error
        print_json(found.to_json()) if as_json else typer.echo(str(found))


@contextmanager
def opened(home: Path | None) -> Iterator[tuple[Project, dg.DagsterInstance]]:
    """The project and Dagster's instance in use."""
    from uad_orchestrator.garbage import keep_what_is_loaded
    from uad_orchestrator.orchestration.dagster_instance.connections.held import held_connections
    from uad_orchestrator.orchestration.dagster_instance.event_log import other_prefixes
    from uad_orchestrator.orchestration.dagster_instance.instance import (
        damage_named,
        open_instance,
    )
    from uad_orchestrator.project import PROJECT_FILE, open_project

    project = open_project(home)
    with open_instance(project) as instance, damage_named(project), held_connections(instance):
        keep_what_is_loaded()
        for prefix in other_prefixes(instance, project):
            note(
                f"Note: in this Dagster instance the project's assets are under the key prefix {list(prefix)}, none "
                f"under {list(project.dagster.key_prefix)}, where uad looks. If a component's defs.yaml gives that "
                f"prefix, write `dagster: {{key_prefix: {list(prefix)}, name_prefix: {list(prefix)}}}` into "
                f"{project.home / PROJECT_FILE}, too"
            )
        yield project, instance


def run_refresh(
    project: Project,
    instance: dg.DagsterInstance,
    selection: Selection | None = None,
    *,
    workers: int | None = None,
    rehash: bool = False,
) -> RefreshResult:
    """Refresh with a progress bar on standard error."""
    from uad_orchestrator.orchestration.execution.refresh import refresh as refresh_project
    from uad_orchestrator.orchestration.versions.selection import Selection

    with cell_progress() as progress:
        return refresh_project(
            project,
            instance,
            selection=selection or Selection(),
            workers=workers or project.runtime.workers,
            rehash=rehash,
            on_start=progress.start,
            on_cell=progress.advance,
        )


def hand_to_daemon(
    project: Project, instance: dg.DagsterInstance, selection: Selection, rehash: bool, as_json: bool
) -> None:
    """Leave the stale cells to the running daemon."""
    from uad_orchestrator.orchestration.dagster_instance.backfills import NoDaemonError
    from uad_orchestrator.orchestration.execution.backfill import hand_over

    try:
        found = hand_over(project, instance, selection, rehash=rehash)
    except NoDaemonError as error:
        note(f"Error: {error}")
        raise typer.Exit(WRONG_USAGE) from error
    if as_json:
        print_json(found.to_json())
    else:
        if found.left_out:
            typer.echo(f"{found.left_out}: see `uad ui`")
        if found.backfills:
            named = f"backfill{'s' * (len(found.backfills) > 1)} {', '.join(found.backfills)}"
            typer.echo(f"{found.cells} cells handed to the daemon as {named}: see `uad ui`")
        elif not found.left_out:
            typer.echo("nothing is stale")
    if found.cells and project.runtime.run_per == "embedder":
        note(
            "The daemon's definitions must be those of now: where detectors, categories or categories_per_run changed "
            "since it read them, it fails all groups of cells. Then choose Reload definitions, and hand over again"
        )


def print_plan(found: Plan) -> None:
    """The plan for a person; what keeps several assets from being computed is said once."""
    from uad_orchestrator.orchestration.planning.plan import CANNOT

    said: set[str] = set()
    for node in found.stale:
        where = f"{node.category} x {node.detector}" if node.category else ""
        reasons = "; ".join(node.reasons)
        shown = f"{CANNOT}, as above" if reasons in said and reasons.startswith(CANNOT) else reasons
        typer.echo(f"{node.asset:15} {where:40} {shown}")
        said.add(reasons)
    say_unreachable(found.unreachable)
    if found.new:
        typer.echo(f'new: {", ".join(found.new)}. A running `uad ui` shows them after "Reload definitions"')
    again = f", {len(found.rerecorded)} to be recorded again" if found.rerecorded else ""
    typer.echo(f"{len(found.stale)} stale, {found.fresh} fresh{again} ({found.seconds:.2f} s)")


def say_unreachable(places: Mapping[str, str]) -> bool:
    """Name the datasets and categories that cannot be read now; returns whether there are any."""
    for place, why in places.items():
        note(f"Error: {place}: {why}")
    return bool(places)


def print_result(result: RefreshResult) -> None:
    """What a refresh did, for a person: failures in full."""
    for failed in result.failed:
        where = " x ".join(part for part in (failed.category, failed.detector) if part)
        note(f"FAILED {failed.asset}{' of ' * bool(where)}{where}: {failed.error}")
    for warning in result.warnings[:SHOWN_WARNINGS]:
        note(f"Warning: {warning}")
    if (more := len(result.warnings) - SHOWN_WARNINGS) > 0:
        note(f"... and {more} more warnings: `uad leaderboard --json`, or the report, have all")
    if result.slow_fetching:
        note(f"Note: {result.slow_fetching}")
    reused = sum(node.reused for node in result.materialized)
    counts = f"{len(result.failed)} failed, {len(result.skipped)} skipped, {len(result.warnings)} warnings"
    typer.echo(
        f"{len(result.materialized)} materialised ({reused} reused), {counts}; "
        f"{result.embedded_images} images embedded; {result.seconds:.1f} s"
    )


def print_board(
    project: Project, style: BoardFormat, selection: Selection | None = None, sort: str | None = None
) -> None:
    """The leaderboard on standard output; of all cells where none are selected. ``cost`` sorts by the expected cost."""
    from uad_orchestrator.orchestration.cells.board import current_board
    from uad_orchestrator.orchestration.versions.selection import Selection
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store
    from uad_orchestrator.reporting.board.board_text import render_leaderboard

    metric = "expected_cost" if sort == "cost" else sort
    if metric == "expected_cost" and project.costs is None:
        note(
            "Error: --sort cost needs what wrong decisions cost: add e.g. "
            f"`costs: {{false_alarm: 1, miss: 50, defect_rate: 0.002}}` to {project.home / 'uad.yaml'}"
        )
        raise typer.Exit(WRONG_USAGE)
    board = current_board(open_state(project), open_store(project), selection or Selection())
    if metric is not None:
        try:
            board = board.sorted_by(metric)
        except ValueError as error:
            note(f"Error: {error}")
            raise typer.Exit(WRONG_USAGE) from error
    width = shutil.get_terminal_size((120, 24)).columns
    typer.echo(render_leaderboard(board, style.value, width=width, sorted_by=metric), nl=False)
