"""``uad export bundle``: a cell as a folder that needs no project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.infer import BitDepth, cell_model, inspecting
from uad_orchestrator.cli.terminal.options import Categories, Detectors, Home


def bundle(
    output: Annotated[Path, typer.Option(help="The folder to write; it must not exist.")],
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
    weights: Annotated[
        bool,
        typer.Option("--weights/--no-weights", help="Copy the embedder's weight file, or only its digest."),
    ] = True,
    fpr: Annotated[
        float | None,
        typer.Option(
            "--fpr",
            help="Thresholds for this false-positive rate, from the normals' scores.",
            show_default="the cell's own thresholds",
        ),
    ] = None,
    bit_depth: BitDepth = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Private ed25519 key (PEM) to sign it with.")
    ] = None,
) -> None:
    """Write a cell as a bundle: one folder that `uad infer` and `uad serve` run without the project."""
    from uad_orchestrator.inference.bundle_files import save_bundle

    with inspecting():
        model = cell_model(home, category, detector, fpr)
        model = replace(model, reading=model.reading.changed(bit_depth))
        typer.echo(save_bundle(model, output, include_weights=weights, sign=sign))
