"""What each computed node of a cell does: read artifacts, call the library, write files.

No Dagster here; ``benchmark`` wraps these into assets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uad_orchestrator.detectors.registry import StageSettings, build_detector
from uad_orchestrator.detectors.scoring import ScoreWriter, read_responses, read_scores
from uad_orchestrator.detectors.stages import DetectorState, OperatingPoint
from uad_orchestrator.metrics.thresholds import calibrate
from uad_orchestrator.orchestration.cell_run import CellRun, StageResult
from uad_orchestrator.postprocess.map_set import MapSet, NormalMapStatistics
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

if TYPE_CHECKING:
    from uad_orchestrator.detectors.base import Detector
    from uad_orchestrator.orchestration.resources import EmbedderPool

OPERATING_POINT = "operating_point.json"
MAPS = "maps"


def fit_memory_bank(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Fit the detector on the training normals; the state alone is stored."""
    detector = open_detector(run, embedders)
    manifest = run.state.manifest(run.cell.category)
    state = detector.fit_state(list(manifest.sources(manifest.train)))
    state.save(directory)
    seed = getattr(run.entry.fit, "seed", 0)
    facts = {**state.facts, **_embedding_counts(detector)}
    facts.pop("images")  # as long as the training set; it stands in the state
    return StageResult(metrics=_numbers(facts), facts=facts, seeds={"fit": seed}, device=_device(run, detector))


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
    """Make a map per test image from its patch grid; the normals' maps set the pixel threshold."""
    from uad_orchestrator.postprocess.anomaly_map import anomaly_map

    settings = run.entry.maps.model_dump()
    scores = run.directory("score_table")
    maps, normals = MapSet(directory / MAPS), NormalMapStatistics()
    count = 0
    for row, response in read_responses(scores):
        made = anomaly_map(
            response.patch_grid, response.region, response.original_size, response.input_size, **settings
        )
        if row.role == "calibration":
            normals.update(made)
        else:
            maps.write(row.image, row.defect_type, made)
            count += 1
    image_point = read_operating_point(scores)
    point = calibrate(normals.maxima, image_point.contamination, image_point.source)
    write_operating_point(point, directory)
    statistics = normals.summary()
    (directory / "normal_maps.json").write_text(json.dumps(statistics, indent=1))
    metrics = {"pixel_threshold": point.threshold, "normal_map_mean": _float(statistics["mean"])}
    return StageResult(metrics=metrics, facts={"maps": count, "pixel_threshold_source": point.source})


def write_operating_point(point: OperatingPoint, directory: Path) -> None:
    """Keep a threshold with where it comes from; NaN is written as null."""
    values = asdict(point) | {"threshold": _float(point.threshold)}
    (directory / OPERATING_POINT).write_text(json.dumps(values, indent=1))


def read_operating_point(directory: Path) -> OperatingPoint:
    """Read what ``write_operating_point`` wrote."""
    values = json.loads((directory / OPERATING_POINT).read_text())
    threshold = float("nan") if values["threshold"] is None else values["threshold"]
    return OperatingPoint(**(values | {"threshold": threshold}))


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
    return build_detector(entry.model, StageSettings(entry.fit, entry.scoring, entry.maps), stream)


def _embedding_counts(detector: Detector) -> dict[str, int]:
    return {"embedded_images": detector.embedded_images, "embedded_views": detector.embedded_views}


def _device(run: CellRun, detector: Detector) -> str:
    """Where the embedder ran; ``cached`` where no image had to be embedded."""
    if not detector.embedded_views:
        return "cached"
    return str(getattr(detector.stream.embedder, "device", "cpu"))


def _numbers(facts: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: float(value) for name, value in facts.items() if isinstance(value, int | float)}


def _float(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
