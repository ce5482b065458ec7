"""``uad export onnx``: a cell, or a bundle, as one file for machines that have nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad_orchestrator.cli.infer import BundleFolder, SignedBy, Weights, inspecting
from uad_orchestrator.cli.terminal.options import Home
from uad_orchestrator.cli.terminal.output import WRONG_USAGE, note, print_json, speaking
from uad_orchestrator.cli.terminal.selecting import select_one

if TYPE_CHECKING:
    from uad_orchestrator.export.onnx import OnnxExport
    from uad_orchestrator.orchestration.cells.cell_run import CellRun


def onnx(  # noqa: PLR0913, PLR0917 - a command's options
    output: Annotated[Path, typer.Option(help="The file to write; an earlier export there is replaced.")],
    category: Annotated[
        str | None, typer.Argument(help="The cell's category.", show_default="--bundle")
    ] = None,
    detector: Annotated[
        str | None, typer.Argument(help="The cell's detector.", show_default="--bundle")
    ] = None,
    home: Home = None,
    bundle: BundleFolder = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="With --bundle: an image, or a folder of images, that it is held against."),
    ] = None,
    verify: Annotated[int, typer.Option(min=1, help="Test images that the file is held against.")] = 8,
    opset: Annotated[int, typer.Option(min=14, max=20, help="ONNX operator set.")] = 17,
    weights: Weights = None,
    require_signature: SignedBy = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """One .onnx file of a cell: image in, score and anomaly map out, held against the cell's own scores."""
    _check_usage(category, detector, bundle, images, require_signature)
    with speaking(), inspecting():
        if bundle is None:
            from uad_orchestrator.orchestration.services.onnx_export import export_cell

            exported = export_cell(_cell(home, category, detector), output, verify=verify, opset=opset)
        else:
            from uad_orchestrator.cli.terminal.inspection import output_names
            from uad_orchestrator.export.onnx import write_onnx
            from uad_orchestrator.images.formats import iter_sources
            from uad_orchestrator.inference.bundle_files import load_bundle

            model = load_bundle(bundle, weights=weights, signed_by=require_signature)
            sources = list(iter_sources(list(output_names(images or [], apart=False)), reading=model.reading))
            exported = write_onnx(model, output, sources, verify=verify, opset=opset)
    _say(exported, as_json)


def _cell(home: Path | None, category: str | None, detector: str | None) -> CellRun:
    from uad_orchestrator.orchestration.cells.cell_run import CellRun
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store
    from uad_orchestrator.project.load import open_project

    project = open_project(home)
    cell = select_one(project, [category or "*"], [detector or "*"])
    return CellRun(cell, open_state(project), open_store(project))


def _say(exported: OnnxExport, as_json: bool) -> None:
    from uad_orchestrator.export.onnx.metadata import agreement_json

    for agreement in exported.agreements:
        runtime = f"{agreement.runtime} {agreement.version}"
        off = f"scores within {agreement.score:.1e}, maps within {agreement.anomaly_map:.1e}"
        said = f"{agreement.images} images, {off} (relative)"
        if not agreement.holds:  # only another runtime than that which decides whether the file is kept
            note(f"Warning: {runtime} does not agree with our own scores: {agreement.error or said}")
        elif not as_json:
            typer.echo(f"{runtime}: {said}")
    size = exported.path.stat().st_size
    if as_json:
        verification = [agreement_json(each) for each in exported.agreements]
        values = {"output": str(exported.path), "bytes": size, "opset": exported.opset, "size": exported.size}
        print_json(values | {"verification": verification})
        return
    shape = (
        "of any size" if exported.size is None else f"of {exported.size[0]} x {exported.size[1]}, for the roi"
    )
    typer.echo(f"{exported.path}: {size / 1e6:.1f} MB, opset {exported.opset}, images {shape}")


def _check_usage(
    category: str | None,
    detector: str | None,
    bundle: Path | None,
    images: list[Path] | None,
    require_signature: Path | None,
) -> None:
    wrong = None
    if (bundle is None) == (category is None or detector is None):
        wrong = "name a category and a detector, or a --bundle"
    if (bundle is None) != (not images):
        wrong = "--images and --bundle belong together"
    if require_signature is not None and bundle is None:
        wrong = "--require-signature is for a --bundle"
    if wrong:
        note(f"Error: {wrong}")
        raise typer.Exit(WRONG_USAGE)
