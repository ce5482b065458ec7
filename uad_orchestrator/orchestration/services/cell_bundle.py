"""A cell as a bundle: its current artifacts, without the project around them."""

from __future__ import annotations

from dataclasses import replace

from uad_orchestrator.detectors.protocol.scoring import read_responses
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.inference.bundle import Bundle, BundleError, Calibration
from uad_orchestrator.inference.model_card import model_card
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.artifact_files import (
    METRICS_FILE,
    read_map_scale,
    read_normal_maps,
)
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.findings.cell_warnings import cell_warnings
from uad_orchestrator.orchestration.cells.points_in_use import image_point, pixel_point, review_point
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.storage.provenance import PROVENANCE_FILE


def cell_bundle(run: CellRun, false_positive_rate: float | None = None) -> Bundle:
    """The bundle of a cell that is up to date.

    Args:
        false_positive_rate: thresholds for it, instead of the cell's own.

    Raises:
        MissingUpstream: the cell is not computed in the version it should have.
        BundleError: its normals cannot support that rate, or the begin of the review that it asks for.
    """
    entry = run.entry
    bundle = Bundle(
        name=str(run.cell),
        model=entry.model,
        settings=run.settings,
        embedder=entry.embedder,
        preset=resolve_preset(entry.preset, run.state.project.presets),
        weights=run.state.weights(run.cell),
        state=DetectorState.load(run.directory("memory_bank")),
        calibration=_calibration(run),
        trusted=tuple(run.state.project.trusted_checkpoints),
        reading=run.state.project.reading(run.cell.dataset),
    )
    bundle = replace(bundle, calibration=_with_normals(bundle, run))
    if false_positive_rate is not None:
        bundle = replace(bundle, calibration=_supported(bundle.calibration.at(false_positive_rate)))
    review = bundle.calibration.review_point
    if review is not None and review.reason and not bundle.calibration.image_point.reason:
        raise BundleError(
            f"{run.cell}: there is no grey zone: {review.reason}. Or take `review` out of uad.yaml"
        )
    return replace(bundle, documents=_documents(bundle, run))


def _supported(calibration: Calibration) -> Calibration:
    """The calibration, if it has the thresholds that were asked for: without them a bundle decides nothing."""
    pixels = calibration.pixel_point.reason if calibration.maxima else ""
    if reason := calibration.image_point.reason or pixels:
        raise BundleError(
            f"--fpr: {reason}. Ask for a higher rate, or add normals (a validation split of that many); without --fpr "
            "the bundle has the cell's own thresholds"
        )
    return calibration


def _calibration(run: CellRun) -> Calibration:
    maps = run.directory("anomaly_maps")
    return Calibration(
        image_point=image_point(run),
        pixel_point=pixel_point(run),
        scores=(),
        maxima=(),
        normal_maps=read_normal_maps(maps),
        map_scale=read_map_scale(maps),
        review_point=review_point(run),
    )


def _with_normals(bundle: Bundle, run: CellRun) -> Calibration:
    """The calibration with the normals' scores, and the maxima of their maps, as any threshold takes them."""
    recipe, known = bundle.detector().map_recipe, bundle.calibration
    normals = [r for row, r in read_responses(run.directory("score_table")) if row.role == "calibration"]
    return replace(
        known,
        scores=tuple(r.score for r in normals if r.name not in known.image_point.left_aside),
        maxima=tuple(
            float(recipe.before_removal(r, known.map_scale).max())
            for r in normals
            if r.patch_grid is not None and r.name not in known.pixel_point.left_aside
        ),
    )


def _documents(bundle: Bundle, run: CellRun) -> dict[str, str]:
    metrics = (run.directory("metrics_report") / METRICS_FILE).read_text()
    provenance = {
        f"provenance/{stage}.json": (run.directory(stage) / PROVENANCE_FILE).read_text() for stage in STAGES
    }
    warnings = [f"{warning.check}: {warning.message}" for warning in cell_warnings(run)]
    card = model_card(bundle, MetricsReport.from_json(metrics), warnings)
    return {"MODEL_CARD.md": card, METRICS_FILE: metrics, **provenance}
