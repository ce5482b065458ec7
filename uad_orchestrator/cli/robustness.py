"""``uad robustness``: what camera drift does to the fitted cells, the picture by which a preset is chosen."""

from __future__ import annotations

import shutil
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.terminal.options import Categories, Detectors, Home, Json
from uad_orchestrator.cli.terminal.output import FAILED, WRONG_USAGE, note, print_json, speaking
from uad_orchestrator.cli.terminal.progress import step_progress
from uad_orchestrator.cli.terminal.selecting import select


def robustness(
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
    drift: Annotated[
        str,
        typer.Option(
            help="Only these drifts: a glob over white_balance, exposure, glare, jpeg, blur, noise."
        ),
    ] = "*",
    seed: Annotated[int, typer.Option(help="Of what is drawn per image: direction, place, noise.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="The figure, PNG.", show_default="<local>/robustness.png")
    ] = None,
    as_json: Json = False,
) -> None:
    """Metrics of the fitted cells under camera drift, in five levels, per detector and preset; refits nothing."""
    from uad_orchestrator.orchestration.services.camera_drift import drifts_of, measure_cells
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store
    from uad_orchestrator.preprocessing.drift import KINDS
    from uad_orchestrator.project.load import open_project
    from uad_orchestrator.reporting.pictures.robustness_figure import robustness_figure
    from uad_orchestrator.reporting.robustness_table import robustness_table
    from uad_orchestrator.storage.atomic import new_file

    started = time.perf_counter()
    kinds = [kind for kind in KINDS if fnmatchcase(kind, drift)]
    if not kinds:
        note(f"Error: --drift: none of {', '.join(KINDS)} is {drift!r}")
        raise typer.Exit(WRONG_USAGE)
    drifts = drifts_of(kinds, seed)
    with speaking():
        project = open_project(home)
        state, store = open_state(project), open_store(project)
        selection = select(project, category, detector)
        cells = [cell for cell in state.cells if selection.covers(cell)]
        with step_progress(len(cells) * len(drifts)) as progress:
            results = measure_cells(state, store, cells, drifts, lambda cell: progress.step(str(cell)))
        rows, figure = results.rows, output or Path(project.storage.local) / "robustness.png"
        if rows:
            with new_file(figure) as aside:
                aside.write_bytes(robustness_figure(rows))
    for cell, fault in results.faults.items():
        note(f"FAILED {cell}: {fault}")
    if as_json:
        print_json(
            {
                "rows": [row.to_json() for row in rows],
                "failed": [
                    {"category": cell.category, "detector": cell.detector, "error": fault}
                    for cell, fault in results.faults.items()
                ],
                "figure": str(figure) if rows else None,
                "seconds": time.perf_counter() - started,
            }
        )
    elif rows:
        typer.echo(robustness_table(rows, shutil.get_terminal_size((120, 24)).columns), nl=False)
        typer.echo(figure)
    raise typer.Exit(FAILED if results.faults or not rows else 0)
