"""What each computed node of a cell does: read artifacts, call the library, write files.

No Dagster here; ``assets.cell`` wraps these into assets.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.detectors.protocol.calibration import FOLDER, largest_group
from uad_orchestrator.detectors.protocol.fitted_look import FITTED_ON, fit_noting_look
from uad_orchestrator.detectors.protocol.maps import MapRecipe, NormalMaps, calibrate_maps
from uad_orchestrator.detectors.protocol.scoring import ScoreRow, ScoreWriter, read_responses, read_scores
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.embedders.torch_embedder import CPU_BATCH
from uad_orchestrator.images.source import ImageSource, read_digest
from uad_orchestrator.metrics.bootstrap import auroc_replicates
from uad_orchestrator.metrics.cell import evaluate_cell
from uad_orchestrator.metrics.report.figures import finite_or_none
from uad_orchestrator.metrics.thresholds import calibrate, pinned_point
from uad_orchestrator.orchestration.cells.artifact_files import (
    CONTACT_SHEET,
    MAPS,
    METRICS_FILE,
    read_operating_point,
    write_curves,
    write_normal_maps,
    write_operating_point,
    write_replicates,
)
from uad_orchestrator.orchestration.cells.cell_report import (
    GroundTruthReader,
    RegionOfInterest,
    build_report,
    draw_contact_sheet,
)
from uad_orchestrator.orchestration.cells.cell_run import CellRun, StageResult
from uad_orchestrator.orchestration.cells.open_detector import open_detector, training_folder
from uad_orchestrator.orchestration.cells.points_in_use import (
    normal_maxima,
    review_point,
    thresholds_in_use,
)
from uad_orchestrator.postprocess.map_set import MapSet
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.storage.shared_embeddings import SharedEmbeddings
from uad_orchestrator.threads import available_threads, ordered_map

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.detector import Detector
    from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool


def fit_memory_bank(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Fit the detector on the training normals; the state alone is stored."""
    detector = open_detector(run, embedders)
    manifest = run.state.manifest(run.cell.category)
    state = fit_noting_look(detector.fit_state, list(manifest.sources(manifest.train)))
    state.save(directory)
    shutil.rmtree(training_folder(run), ignore_errors=True)  # the artifact has what came out of it
    seed = state.facts.get("seed", 0)
    in_state = ("images", FITTED_ON)
    facts = {name: value for name, value in state.facts.items() if name not in in_state}
    return StageResult(
        metrics=_numbers(facts),
        facts={**facts, **_embedding_counts(detector), "images_at_once": _images_at_once(detector)},
        seeds={"fit": seed},
        device=detector.device,
    )


def fill_score_table(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Score the normals that calibrate and the test images; set the image threshold."""
    detector = open_detector(run, embedders)
    manifest = run.state.manifest(run.cell.category)
    state = DetectorState.load(run.directory("memory_bank"))
    train, validation = (list(manifest.sources(part)) for part in (manifest.train, manifest.validation))
    calibration, source, leave_out = detector.calibration_images(state, train, validation)
    if source == FOLDER:
        _refuse_test_images(calibration, manifest)
    with ScoreWriter(directory) as table:
        normals = [
            table.add(response, role="calibration")
            for response in detector.calibration_responses(state, train, calibration, leave_out)
        ]
        embedders.handed_on.drop()
        responses = detector.respond(state, manifest.sources(manifest.scored))
        rows = [
            table.add(response, role=record.split, label=record.label, defect_type=record.defect_type)
            for record, response in zip(manifest.scored, responses, strict=True)
        ]
    point = calibrate(
        [row.score for row in normals],
        run.entry.scoring.contamination,
        source,
        robust=run.entry.scoring.calibration.robust,
        names=[row.image for row in normals],
        largest_group=largest_group(calibration),
    )
    write_operating_point(point, directory)
    seconds = [row.seconds for row in rows] or [float("nan")]
    facts = {
        "threshold_source": point.source,
        "n_calibration": len(normals),
        "n_test": len(rows),
        **{name: state.facts[name] for name in ("holds_normals", "transductive") if name in state.facts},
        **_embedding_counts(detector),
    }
    metrics = {
        "threshold": point.threshold,
        "seconds_per_image_p50": float(np.percentile(seconds, 50)),
        "seconds_per_image_p95": float(np.percentile(seconds, 95)),
    }
    seeds = {"calibration": run.entry.scoring.calibration.seed}
    return StageResult(metrics=metrics, facts=facts, seeds=seeds, device=detector.device)


def _refuse_test_images(calibration: Iterable[ImageSource], manifest: Manifest) -> None:
    """Calibration images that are scored, too: their thresholds would be no judges."""
    scored = {read_digest(record.digest, manifest.reading): record.path for record in manifest.scored}
    for image in calibration:
        if image.digest in scored:
            raise ValueError(
                f"calibration.folder: {image.name} is the same file as {scored[image.digest]}, which is scored: "
                "take it out, thresholds come from other images than metrics"
            )


def make_anomaly_maps(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Make a map per test image from its patch grid; the normals' maps set the pixel threshold, and the scale
    of normalisation.

    Where the model gives no maps there are none, and no pixel threshold; the reason is the point's source.
    """
    scores = run.directory("score_table")
    image_point = read_operating_point(scores)
    recipe = MapRecipe.of(run.entry.maps, run.entry.tiling)
    normals = calibrate_maps(
        recipe,
        lambda: (response for _, response in read_responses(scores, role="calibration")),
        image_point.contamination,
        image_point.origin,
        robust=run.entry.scoring.calibration.robust,
        largest_group=image_point.largest_group,
    )
    names = run.state.manifest(run.cell.category).map_names
    maps, threads = MapSet(directory / MAPS, names), available_threads()
    removal = _removal_threshold(run, normals)

    def write(scored: tuple[ScoreRow, Response]) -> Path:
        row, response = scored
        made = recipe.anomaly_map(response, normals.scale, removal)
        return maps.write(row.image, row.map_folder, made)

    with_grids = (
        (row, response)
        for row, response in read_responses(scores)
        if row.role != "calibration" and response.patch_grid is not None
    )
    count = sum(1 for _ in ordered_map(write, with_grids, threads=threads, ahead=2 * threads))
    write_operating_point(normals.point, directory)
    write_normal_maps(normals, directory)
    metrics = {
        "pixel_threshold": normals.point.threshold,
        "normal_map_mean": finite_or_none(normals.summary["mean"]),
    }
    return StageResult(metrics=metrics, facts={"maps": count, "pixel_threshold_source": normals.point.source})


def _removal_threshold(run: CellRun, normals: NormalMaps) -> float:
    """The pixel threshold that small regions are removed by: the one in use."""
    pin = run.state.project.pins(run.cell.category, run.cell.detector).pixel
    if pin is None or not run.entry.maps.min_area:
        return normals.point.threshold
    maxima = [] if pin.fpr is None else normal_maxima(run, normals.scale, normals.point)
    return pinned_point(pin, normals.point, maxima).threshold


def report_metrics(run: CellRun, embedders: EmbedderPool, directory: Path) -> StageResult:
    """Evaluate scores and maps against the ground truth; write metrics.json, curves and the contact sheet."""
    started = time.perf_counter()
    scores, maps_directory = run.directory("score_table"), run.directory("anomaly_maps")
    manifest = run.state.manifest(run.cell.category)
    maps, truth = MapSet(maps_directory / MAPS, manifest.map_names), GroundTruthReader(manifest)
    protocol = run.state.project.protocol(run.cell.dataset)
    every = read_scores(scores)
    scored = [row for row in every if row.role != "calibration"]
    rows = [row for row in scored if row.role == "test"]
    normals = [row for row in every if row.role == "calibration"]
    groups = {record.path: record.group_id or record.path for record in manifest.records}
    without_maps = any(row.grid_shape is None for row in rows)
    preset = resolve_preset(run.entry.preset, run.state.project.presets)
    roi = RegionOfInterest(preset, truth, run.state.project.evaluation.roi_metrics)
    thresholds, review = thresholds_in_use(run), review_point(run)
    held_out = (
        [] if thresholds.image.is_pinned_value else normals
    )  # theirs is the rate of calibrated thresholds
    found = evaluate_cell(
        rows,
        None if without_maps else lambda row: maps.read(row.image, row.defect_type),
        lambda row: truth.of(row.image, in_channels=bool(protocol.spro_limits)),
        protocol=protocol,
        thresholds=thresholds,
        inspected=lambda row: roi.counted(row.image),
        held_out=[row.score for row in held_out],
        held_out_groups=[groups.get(row.image, row.image) for row in held_out],
    )
    write_curves(found.pixel_curves, directory)
    replicates = None
    if not math.isnan(found.metrics["image_auroc"]):
        replicates = auroc_replicates(
            [row.image for row in rows],
            [row.score for row in rows],
            [row.defect_type if row.label else None for row in rows],
            averaged=bool(protocol.averaged_types),
        )
    write_replicates(replicates, directory)
    if rows:
        sheet = draw_contact_sheet(run, rows, None if without_maps else maps, truth)
        (directory / CONTACT_SHEET).write_bytes(sheet)
    outside, seconds = roi.report(row.image for row in rows), time.perf_counter() - started
    report = build_report(run, found, scored, thresholds, review, outside, metrics_seconds=seconds)
    (directory / METRICS_FILE).write_text(report.to_json())
    return StageResult(
        metrics=report.metrics, facts={"counts": report.counts.model_dump()}, seeds=report.seeds
    )


def _embedding_counts(detector: Detector) -> Mapping[str, int | float]:
    """How many images and views were embedded; where others came from the store, whether that was worth while."""
    counts = {"embedded_images": detector.embedded_images, "embedded_views": detector.embedded_views}
    stream, cache = detector.stream, detector.stream.cache
    if not isinstance(cache, SharedEmbeddings) or not cache.fetched:
        return counts
    views, seconds = stream.embedded_views, stream.embedded_seconds
    if not views:  # then as long as it took whoever embedded them
        views, seconds = stream.cached_views, stream.cached_seconds
    return {
        **counts,
        "fetched_embeddings": cache.fetched,
        "fetched_seconds": cache.fetch_seconds,
        "embedded_seconds_each": seconds / max(1, views),
    }


def _images_at_once(detector: Detector) -> int:
    """Images per forward pass; where all came from the cache, as the project file says."""
    stream = detector.stream
    asked = CPU_BATCH if stream.batch_size == "auto" else stream.batch_size
    return stream.images_at_once if detector.embedded_views else asked


def _numbers(facts: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: float(value) for name, value in facts.items() if isinstance(value, int | float)}
