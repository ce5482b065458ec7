"""``uad infer``: a bundle, or a cell of the project, on new images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad_orchestrator.cli.terminal.options import (
    Categories,
    Detectors,
    Home,
    Mqtt,
    Record,
    RecordMebibytes,
    Webhook,
)
from uad_orchestrator.cli.terminal.output import FAILED, INTERRUPTED, WRONG_USAGE, in_words, note
from uad_orchestrator.cli.terminal.selecting import select_one

if TYPE_CHECKING:
    from uad_orchestrator.cli.terminal.inspection import Inspection
    from uad_orchestrator.inference.bundle import Bundle

BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", help="A bundle's folder.", show_default="a cell of the project")
]
Weights = Annotated[
    Path | None, typer.Option(help="The embedder's weight file, for a bundle that was exported without it.")
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="SHA256",
        help="Load this checkpoint of the bundle, which can run code: only if you know where it comes from.",
    ),
]
SignedBy = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="KEY",
        help="Public key (PEM): take only a bundle that its owner signed.",
    ),
]
BitDepth = Annotated[
    int | None,
    typer.Option(
        min=1, max=16, help="Bits that 16-bit files really hold, e.g. 12.", show_default="as was fitted"
    ),
]
MaxMegapixels = Annotated[
    float | None,
    typer.Option(min=0.001, help="Largest image, by its header.", show_default="as was fitted"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]


def infer(  # noqa: PLR0913, PLR0917 - a command's options
    paths: Annotated[list[Path] | None, typer.Argument(help="Images, and folders of images.")] = None,
    bundle: BundleFolder = None,
    watch: Annotated[
        Path | None, typer.Option(help="Go on with what is in this folder, and what arrives in it.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; with --watch one per line and image.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row per image.")] = False,
    maps: Annotated[Path | None, typer.Option(help="Write each anomaly map here: float32 TIFF.")] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="Write a picture of each image's defects here.")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on where a file cannot be read; exit with 1 at the end.")
    ] = False,
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
    weights: Weights = None,
    trust: Trust = None,
    require_signature: SignedBy = None,
    device: Device = "auto",
    bit_depth: BitDepth = None,
    max_megapixels: MaxMegapixels = None,
    record: Record = None,
    record_mebibytes: RecordMebibytes = 1024,
    webhook: Webhook = None,
    mqtt: Mqtt = None,
) -> None:
    """Inspect images: score, label, decision, defects.

    Exit status 0 all normal, 3 something anomalous, 4 something to be reviewed and nothing anomalous, 1 an error.
    """
    from uad_orchestrator.cli.terminal.inspection import CSV, JSON, TEXT, Inspection, Outputs
    from uad_orchestrator.inference.bundle_files import load_bundle
    from uad_orchestrator.inference.line_output import LineTargets, line_output

    _check_usage(paths, watch, as_json and as_csv, require_signature is not None and bundle is None)
    if watch is not None:
        _check_outside(watch, {"--record": record, "--maps": maps, "--overlays": overlays})
    with inspecting():
        if bundle is not None:
            model = load_bundle(bundle, weights=weights, trusted=trust or (), signed_by=require_signature)
        else:
            model = cell_model(home, category, detector)
        outputs = Outputs(JSON if as_json else CSV if as_csv else TEXT, maps, overlays)
        reading = model.reading.changed(bit_depth, max_megapixels)
        with line_output(model, LineTargets(record, record_mebibytes, webhook, mqtt)) as line:
            inspection = Inspection(model, model.detector(device), outputs, reading, line)
            if watch is not None:
                _watch(inspection, watch)
            else:
                inspection.run(paths or [], keep_going=keep_going)
    raise typer.Exit(inspection.status)


def cell_model(
    home: Path | None,
    category: list[str] | None,
    detector: list[str] | None,
    false_positive_rate: float | None = None,
) -> Bundle:
    """The one cell of the project that the globs name, as a bundle; wrong usage where they name none or several."""
    from uad_orchestrator.cli.terminal.output import speaking
    from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
    from uad_orchestrator.orchestration.services.cell_bundle import cell_bundle
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store
    from uad_orchestrator.project.load import open_project

    with speaking():
        project = open_project(home)
        cell = select_one(project, category, detector)
        try:
            return cell_bundle(CellRun(cell, open_state(project), open_store(project)), false_positive_rate)
        except MissingUpstream as error:
            note(f"Error: {error}")
            raise typer.Exit(FAILED) from error


@contextmanager
def inspecting() -> Iterator[None]:
    """What keeps images from being inspected becomes a message and status 1; Ctrl-C ends quietly with 130."""
    from uad_orchestrator.detectors.anomalib.trusted_files import UntrustedFile
    from uad_orchestrator.embedders.weights import WeightsError
    from uad_orchestrator.inference.bundle import BundleError

    try:
        yield
    except KeyboardInterrupt:
        note("Stopped.")
        raise typer.Exit(INTERRUPTED) from None
    except UntrustedFile as error:
        note(f"Error: {error}. For a bundle: --trust with that digest")
        raise typer.Exit(FAILED) from error
    except (BundleError, WeightsError, ImportError, ValueError, OSError) as error:
        note(f"Error: {in_words(error)}")
        raise typer.Exit(FAILED) from error


def _watch(inspection: Inspection, folder: Path) -> None:
    from uad_orchestrator.inference.watch import arriving_images

    inspection.begin_stream()
    note(f"Watching {folder} (Ctrl-C stops)")
    arriving = arriving_images(folder, reading=inspection.reading or inspection.bundle.reading)
    inspection.stream(arriving, {}, folder, batch_size=1)


def _check_outside(watch: Path, written: Mapping[str, Path | None]) -> None:
    """What is written into the watched folder would be inspected again, without end."""
    for option, folder in written.items():
        if folder is not None and folder.resolve().is_relative_to(watch.resolve()):
            note(
                f"Error: {option} {folder} lies in the watched folder, whose images are inspected: name another"
            )
            raise typer.Exit(WRONG_USAGE)


def _check_usage(paths: list[Path] | None, watch: Path | None, two_formats: bool, no_bundle: bool) -> None:
    wrong = None
    if bool(paths) == (watch is not None):
        wrong = "name images or folders, or a folder to --watch; not both"
    if two_formats:
        wrong = "--json or --csv, not both"
    if no_bundle:
        wrong = "--require-signature is for a --bundle"
    if wrong:
        note(f"Error: {wrong}")
        raise typer.Exit(WRONG_USAGE)
