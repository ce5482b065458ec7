"""What each computed node of a cell does: read artifacts, call the library, write files.

No Dagster here; ``benchmark`` wraps these into assets.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uad_orchestrator.detectors.maps import MapRecipe, calibrate_maps
from uad_orchestrator.detectors.registry import StageSettings, build_detector
from uad_orchestrator.detectors.scoring import ScoreWriter, read_responses, read_scores
from uad_orchestrator.detectors.stages import DetectorState
from uad_orchestrator.metrics.evaluation import evaluate_cell
from uad_orchestrator.metrics.thresholds import calibrate
from uad_orchestrator.orchestration.cell_files import (
    CONTACT_SHEET,
    MAPS,
    METRICS_FILE,
    finite_or_none,
    read_operating_point,
    write_curves,
    write_normal_maps,
    write_operating_point,
)
from uad_orchestrator.orchestration.cell_report import GroundTruth, build_report, draw_contact_sheet
from uad_orchestrator.orchestration.cell_run import CellRun, StageResult
from uad_orchestrator.postprocess.map_set import MapSet
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

if TYPE_CHECKING:
    from uad_orchestrator.detectors.base import Detector
    from uad_orchestrator.orchestration.resources import EmbedderPool


def fit_memory_bank(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Fit the detector on the training normals; the state alone is stored."""
    detector = open_detector(run, embedders)
    manifest = run.state.manifest(run.cell.category)
    state = detector.fit_state(list(manifest.sources(manifest.train)))
    state.save(directory)
    seed = getattr(run.entry.fit, "seed", 0)
    facts = {name: value for name, value in state.facts.items() if name != "images"}  # it stands in the state
    return StageResult(
        metrics=_numbers(facts),
        facts=facts | _embedding_counts(detector),
        seeds={"fit": seed},
        device=_device(run, detector),
    )


def fill_score_table(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Score the normals that calibrate and the test images; set the image threshold."""
    detector = open_detector(run, embedders)
    manifest = run.state.manifest(run.cell.category)
    state = DetectorState.load(run.directory("memory_bank"))
    calibration, source, leave_out = detector.calibration_images(
        state, list(manifest.sources(manifest.train)), list(manifest.sources(manifest.validation))
    )
    with ScoreWriter(directory) as table:
        normals = [
            table.add(response, role="calibration").score
            for response in detector.respond(state, calibration, leave_out=leave_out)
        ]
        responses = detector.respond(state, manifest.sources(manifest.test))
        rows = [
            table.add(response, role="test", label=record.label, defect_type=record.defect_type)
            for record, response in zip(manifest.test, responses, strict=True)
        ]
    point = calibrate(normals, run.entry.scoring.contamination, source)
    write_operating_point(point, directory)
    seconds = [row.seconds for row in rows] or [float("nan")]
    facts = {
        "threshold_source": point.source,
        "n_calibration": point.n,
        "n_test": len(rows),
        **_embedding_counts(detector),
    }
    metrics = {
        "threshold": point.threshold,
        "seconds_per_image_p50": float(np.percentile(seconds, 50)),
        "seconds_per_image_p95": float(np.percentile(seconds, 95)),
    }
    seeds = {"calibration": run.entry.scoring.calibration.seed}
    return StageResult(metrics=metrics, facts=facts, seeds=seeds, device=_device(run, detector))


def make_anomaly_maps(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Make a map per test image from its patch grid; the normals' maps set the pixel threshold, and the scale
    of normalisation."""
    scores = run.directory("score_table")
    image_point = read_operating_point(scores)
    recipe = MapRecipe.of(run.entry.maps, run.entry.tiling)
    normals = calibrate_maps(
        recipe,
        lambda: (response for _, response in read_responses(scores, role="calibration")),
        image_point.contamination,
        image_point.origin,
    )
    maps, count = MapSet(directory / MAPS), 0
    for row, response in read_responses(scores, role="test"):
        made = recipe.anomaly_map(response, normals.scale, normals.point.threshold)
        maps.write(row.image, row.defect_type, made)
        count += 1
    write_operating_point(normals.point, directory)
    write_normal_maps(normals, directory)
    metrics = {
        "pixel_threshold": normals.point.threshold,
        "normal_map_mean": finite_or_none(normals.summary["mean"]),
    }
    return StageResult(metrics=metrics, facts={"maps": count, "pixel_threshold_source": normals.point.source})


def report_metrics(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Evaluate scores and maps against the ground truth; write metrics.json, curves and the contact sheet."""
    started = time.perf_counter()
    scores, maps_directory = run.directory("score_table"), run.directory("anomaly_maps")
    maps = MapSet(maps_directory / MAPS)
    truth = GroundTruth(run.state.manifest(run.cell.category))
    rows = [row for row in read_scores(scores) if row.role == "test"]
    found = evaluate_cell(
        rows,
        lambda row: maps.read(row.image, row.defect_type),
        lambda row: truth.mask(row.image),
        aupro_limits=run.state.project.evaluation.aupro_limits,
        image_point=read_operating_point(scores),
        pixel_point=read_operating_point(maps_directory),
    )
    write_curves(found.pixel_curves, directory)
    (directory / CONTACT_SHEET).write_bytes(draw_contact_sheet(run, rows, maps, truth))
    report = build_report(run, found, rows, metrics_seconds=time.perf_counter() - started)
    (directory / METRICS_FILE).write_text(report.to_json())
    return StageResult(
        metrics=report.metrics, facts={"counts": report.counts.model_dump()}, seeds=report.seeds
    )


def open_detector(run: CellRun, embedders: EmbedderPool) -> Detector:
    """The cell's detector over the project's embedding cache; the embedder is loaded when it is first needed."""
    from uad_orchestrator.detectors.embedding_stream import EmbeddingStream
    from uad_orchestrator.preprocessing.presets import resolve_preset

    entry, project = run.entry, run.state.project
    weights = run.state.weights(run.cell)
    recipe = {
        "embedder": run.state.input("fit_settings", run.cell).content["embedder"],
        "weights": run.state.input("checkpoint", run.cell).content["embedder_weights"],
        "preset": run.state.input("preprocessing_preset", run.cell).content,
    }
    stream = EmbeddingStream(
        lambda: embedders.get(entry.embedder, weights, project.runtime.device),
        lambda: recipe,
        preset=resolve_preset(entry.preset, project.presets),
        cache=EmbeddingCache(Path(project.storage.local) / "embeddings"),
        batch_size=project.runtime.batch_size,
    )
    return build_detector(
        entry.model, StageSettings(entry.fit, entry.scoring, entry.maps, entry.tiling), stream
    )


def _embedding_counts(detector: Detector) -> dict[str, int]:
    return {"embedded_images": detector.embedded_images, "embedded_views": detector.embedded_views}


def _device(run: CellRun, detector: Detector) -> str:
    """Where the embedder ran; ``cached`` where no image had to be embedded."""
    if not detector.embedded_views:
        return "cached"
    return str(getattr(detector.stream.embedder, "device", "cpu"))


def _numbers(facts: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: float(value) for name, value in facts.items() if isinstance(value, int | float)}
