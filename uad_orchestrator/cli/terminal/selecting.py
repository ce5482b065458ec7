"""From ``--category``, ``--detector`` and ``--asset`` to a part of the project's grid."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import typer

from uad_orchestrator.cli.terminal.output import WRONG_USAGE, note

if TYPE_CHECKING:
    from uad_orchestrator.orchestration.versions.graph import Cell
    from uad_orchestrator.orchestration.versions.selection import Selection
    from uad_orchestrator.project import Project


def select(
    project: Project, category: list[str] | None, detector: list[str] | None, asset: str | None = None
) -> Selection:
    """The selection of the options; wrong usage where one names nothing that the project has."""
    from uad_orchestrator.orchestration.versions.graph import Cell

    return select_from([Cell(*key) for key in project.cells()], category, detector, asset)


def select_from(
    cells: Collection[Cell],
    category: list[str] | None,
    detector: list[str] | None = None,
    asset: str | None = None,
) -> Selection:
    """The same for a part of the grid."""
    from uad_orchestrator.orchestration.versions.selection import Selection

    try:
        selection = Selection(tuple(category or ["*"]), tuple(detector or ["*"]), asset)
        selection.check(cells)
    except ValueError as error:
        note(f"Error: {error}")
        raise typer.Exit(WRONG_USAGE) from error
    return selection


def select_one(project: Project, category: list[str] | None, detector: list[str] | None) -> Cell:
    """The one cell of the project that the globs name; wrong usage where they name none or several."""
    from uad_orchestrator.orchestration.versions.graph import Cell

    cells = [Cell(*key) for key in project.cells()]
    selection = select_from(cells, category, detector)
    found = [cell for cell in cells if selection.covers(cell)]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(f"category {cell.category}, detector {cell.detector}" for cell in found[:9])
    there = f"{len(found)} cells match ({listed})" if found else "no cell matches"
    note(f"Error: {there}: name one with --category and --detector, as {project.home / 'uad.yaml'} has them")
    raise typer.Exit(WRONG_USAGE)
