"""Commands that keep house: gc, sql, lineage rebuild."""

from __future__ import annotations

from typing import Annotated

import typer

from uad_orchestrator.cli.grid import opened
from uad_orchestrator.cli.terminal.options import Home, Json
from uad_orchestrator.cli.terminal.output import note, print_json, speaking

lineage = typer.Typer(help="The lineage index, uad.duckdb.", no_args_is_help=True)


def gc(
    home: Home = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove versions of artifacts that are not needed any more; nothing younger than an hour."""
    from uad_orchestrator.orchestration.services.housekeeping import collect

    with speaking(), opened(home) as (project, instance):
        found = collect(project, instance, dry_run=dry_run)
        for place, why in project.unreachable.items():
            note(f"Note: {place}: {why}; what it uses is left alone")
        if as_json:
            print_json(
                {
                    "artifacts": [{"artifact": str(r.what), "bytes": r.bytes} for r in found.artifacts],
                    "leftovers": [{"path": str(r.what), "bytes": r.bytes} for r in found.leftovers],
                    "kept": found.kept,
                    "bytes": found.bytes,
                    "dry_run": found.dry_run,
                    "unreachable": dict(project.unreachable),
                }
            )
            return
        for removed in (*found.artifacts, *found.leftovers):
            typer.echo(f"{removed.bytes:>14,} {removed.what}")
        would = "would be freed" if dry_run else "freed"
        typer.echo(f"{found.bytes / 1e6:.1f} MB {would}; {found.kept} artifacts kept")


def sql(
    query: Annotated[
        str,
        typer.Argument(help="SQL over materialization, lineage, metric, scores, judgement and the views."),
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ask the lineage index; it is opened briefly, for reading."""
    from uad_orchestrator.orchestration.versions.stores import open_index, open_store
    from uad_orchestrator.project.load import open_project
    from uad_orchestrator.storage.lineage.database import LineageError

    with speaking():
        project = open_project(home)
        try:
            found = open_index(open_store(project), project.line.records).sql(query)
        except LineageError as error:
            note(f"Error: {error}")
            raise typer.Exit(2) from error
        rows = [
            [value if isinstance(value, int | float | bool) else _text(value) for value in row]
            for row in found.rows
        ]
        if as_json:
            print_json({"columns": list(found.columns), "rows": rows})
        else:
            print_table(found.columns, rows)


@lineage.command()
def rebuild(home: Home = None) -> None:
    """Make the index anew from the artifacts' provenance files."""
    from uad_orchestrator.orchestration.versions.stores import open_index, open_store
    from uad_orchestrator.project.load import open_project

    with speaking():
        project = open_project(home)
        count = open_index(open_store(project), project.line.records).rebuild()
        typer.echo(f"{count} artifacts indexed")


@lineage.callback()
def lineage_commands() -> None:
    """The lineage index, uad.duckdb."""


def print_table(columns: tuple[str, ...], rows: list[list]) -> None:
    """Rows under their column names, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
