"""Command ``uad ingest`` (earlier ``uad intake``): new normal images in quarantine, and taking them in after all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from uad_orchestrator.cli.terminal.options import Categories, Home, Json
from uad_orchestrator.cli.terminal.output import FAILED, WRONG_USAGE, note, print_json, speaking
from uad_orchestrator.cli.terminal.selecting import select_from

if TYPE_CHECKING:
    from uad_orchestrator.orchestration.ingestion.ingest import IngestionResult
    from uad_orchestrator.project import Project

ACCEPT_SECONDS = 10.0
"""How long a person waits for a recalibration that is at work."""


def ingest(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Only these images of the quarantine, by file name.", show_default="all"),
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Take them in: you have looked at them.")] = False,
    home: Home = None,
    category: Categories = None,
    as_json: Json = False,
) -> None:
    """List the new normal images in quarantine, with the reason, and those that wait; with --accept take them in."""
    from uad_orchestrator.project.load import open_project

    with speaking():
        project = open_project(home)
        categories = _categories(project, category)
        if accept:
            failed = _accept(project, categories, images or [], as_json)
        else:
            failed = False
            _list(project, categories, images or [], as_json)
    raise typer.Exit(FAILED if failed else 0)


def _categories(project: Project, globs: list[str] | None) -> list[str]:
    """The categories that take images in; wrong usage where there are none."""
    from uad_orchestrator.orchestration.ingestion.folders import incoming_categories
    from uad_orchestrator.orchestration.versions.graph import Cell

    found = incoming_categories(project)
    if not found:
        note("Error: no dataset has an `incoming` folder in uad.yaml (layout folder only)")
        raise typer.Exit(WRONG_USAGE)
    cells = [Cell(key, "") for key in found]
    selection = select_from(cells, globs)
    return [cell.category for cell in cells if selection.covers(cell)]


def _list(project: Project, categories: list[str], images: list[str], as_json: bool) -> None:
    from uad_orchestrator.orchestration.ingestion.folders import incoming_images, list_quarantined
    from uad_orchestrator.storage.file_names import printable

    held = [
        (category, image)
        for category in categories
        for image in list_quarantined(project.datasets[category.split("/", 1)[0]], category.split("/", 1)[1])
        if not images or image.path.name in images
    ]
    waiting = [
        (category, image.name)
        for category in categories
        for image in incoming_images(project.datasets[category.split("/", 1)[0]], category.split("/", 1)[1])
        if not images or image.name in images
    ]
    if as_json:
        print_json(
            {
                "held": [{"category": category, **image.to_json()} for category, image in held],
                "waiting": [{"category": category, "image": name} for category, name in waiting],
            }
        )
        return
    for category, image in held:
        typer.echo(f"{category}  {printable(image.path)}\n    {image.reason}")
    typer.echo(f"{len(held)} in quarantine" + ("; `uad ingest --accept` takes them in" if held else ""))
    if waiting:
        when = project.automation.recalibrate
        typer.echo(
            f"{len(waiting)} new images wait in `incoming`: the schedule `recalibrate` looks at them "
            + (f"({when}, while `uad ui` runs)" if when else "once `automation.recalibrate` has a cron line")
        )


def _accept(project: Project, categories: list[str], images: list[str], as_json: bool) -> bool:
    """Whether something could not be taken in."""
    from uad_orchestrator.orchestration.ingestion.ingest import accept_quarantined, ingestion_lock
    from uad_orchestrator.orchestration.versions.stores import open_state

    try:
        with ingestion_lock(project, timeout=ACCEPT_SECONDS):
            state = open_state(project)
            results = [accept_quarantined(state, category, images) for category in categories]
    except TimeoutError as error:
        note(f"Error: {error}")
        raise typer.Exit(FAILED) from error
    taken = sum(len(result.taken) for result in results)
    faults = [fault for result in results for fault in result.faults]
    for name in _not_found(images, results):
        faults.append(f"{name}: no such image is in quarantine")
    if as_json:
        print_json({"categories": [result.to_json() for result in results], "faults": faults})
    else:
        for fault in faults:
            note(f"Error: {fault}")
        typer.echo(f"{taken} taken in" + ("; `uad refresh` brings their cells up to date" if taken else ""))
    return bool(faults)


def _not_found(images: list[str], results: list[IngestionResult]) -> list[str]:
    return sorted(set(images) - {name for result in results for name in result.chosen})
