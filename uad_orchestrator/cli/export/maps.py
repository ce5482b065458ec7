"""``uad export maps`` and ``uad export submission``: anomaly maps for MVTec's scripts and server."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad_orchestrator.cli.terminal.options import Categories, Detectors, Home
from uad_orchestrator.cli.terminal.output import WRONG_USAGE, note, speaking
from uad_orchestrator.cli.terminal.progress import file_progress
from uad_orchestrator.cli.terminal.selecting import select

if TYPE_CHECKING:
    from collections.abc import Callable

    from uad_orchestrator.export.category_maps import CategoryMaps, Progress


def maps(
    output: Annotated[Path, typer.Option(help="The folder to write; an earlier export there is replaced.")],
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
) -> None:
    """The tree that MVTec's evaluation scripts read: OUTPUT/CATEGORY/test/DEFECT/NNN.tiff, float32."""
    from uad_orchestrator.export.map_tree import LAYOUTS, write_map_tree

    _export(write_map_tree, LAYOUTS, output, home, category, detector)


def submission(
    output: Annotated[
        Path, typer.Option(help="The .tar.gz to write; an earlier submission there is replaced.")
    ],
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
) -> None:
    """The archive that the evaluation server of MVTec AD 2 takes, of all its categories."""
    from uad_orchestrator.export.submission import write_submission

    _export(write_submission, ("mvtec_ad2",), output, home, category, detector)


def _export(
    write: Callable[[list[CategoryMaps], Path, str, Progress], Path],
    layouts: Collection[str],
    output: Path,
    home: Path | None,
    category: list[str] | None,
    detector: list[str] | None,
) -> None:
    from uad_orchestrator.export.category_maps import ExportError
    from uad_orchestrator.orchestration.services.map_exports import maps_to_export
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store
    from uad_orchestrator.project.load import open_project

    with speaking():
        project = open_project(home)
        selection = select(project, category, detector)
        try:
            name, found = maps_to_export(open_state(project), open_store(project), selection, layouts)
            with file_progress() as show:
                typer.echo(write(found, output, name, show))
        except ExportError as error:
            note(f"Error: {error}")
            raise typer.Exit(WRONG_USAGE) from error
