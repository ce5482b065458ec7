"""The thresholds that a cell decides by: the calibrated ones, or those that people pinned; and where review begins.

Score table and map set keep the thresholds calibrated on normals. What people choose instead stands in the project
file, and is laid over them here: nothing is scored again for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from uad_orchestrator.detectors.protocol.maps import MAP_THREADS, MapRecipe
from uad_orchestrator.detectors.protocol.scoring import SCORES, ScoreRow, read_responses, read_scores
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.metrics.cell import Thresholds
from uad_orchestrator.metrics.thresholds import pinned_point
from uad_orchestrator.metrics.thresholds.decision import review_from
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint, SegmentationPoint
from uad_orchestrator.orchestration.cells.artifact_files import (
    MAPS,
    NORMAL_MAPS,
    OPERATING_POINT,
    read_map_scale,
    read_normal_maps,
    read_operating_point,
)
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.kept_findings import KeptFindings
from uad_orchestrator.postprocess.finishing import MapScale
from uad_orchestrator.postprocess.map_set import MapSet
from uad_orchestrator.project.pinning import Of
from uad_orchestrator.project.settings import CellPins
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.threads import available_threads, ordered_map


def image_point(run: CellRun) -> OperatingPoint:
    """The threshold of image scores.

    Raises:
        MissingUpstream: the score table is not there in the version it should have.
    """
    calibrated, pin = read_operating_point(run.directory("score_table", OPERATING_POINT)), _pins(run).image
    return calibrated if pin is None else pinned_point(pin, calibrated, calibration_scores(run))


def pixel_point(run: CellRun) -> OperatingPoint:
    """The threshold of the values of anomaly maps.

    Raises:
        MissingUpstream: the maps are not there in the version they should have.
    """
    calibrated = read_operating_point(run.directory("anomaly_maps", OPERATING_POINT))  # no map is read
    pin = _pins(run).pixel
    if pin is None or pin.fpr is None:
        return calibrated if pin is None else pinned_point(pin, calibrated)
    return pinned_point(pin, calibrated, calibration_maxima(run))


def review_point(run: CellRun) -> OperatingPoint | None:
    """Where review begins; None where the detector has no ``review``."""
    review = run.entry.review
    return None if review is None else review_from(calibration_scores(run), review.from_fpr, image_point(run))


def thresholds_in_use(run: CellRun) -> Thresholds:
    """All that a cell is measured at; SegF1's threshold is always that of the normals' maps."""
    maps = run.directory("anomaly_maps", OPERATING_POINT, NORMAL_MAPS)  # no map is read
    normals, origin = read_normal_maps(maps), read_operating_point(maps).origin
    segmentation = SegmentationPoint.of_normal_maps(
        normals["mean"], normals["std"], int(normals["maps"] or 0), origin
    )
    return Thresholds(image_point(run), pixel_point(run), segmentation)


def calibration_scores(run: CellRun) -> list[float]:
    """The scores of the normals that calibrate, without those that were left aside."""
    scores = run.directory("score_table", SCORES, OPERATING_POINT)
    aside = read_operating_point(scores).left_aside
    return [r.score for r in read_scores(scores) if r.role == "calibration" and r.image not in aside]


def calibration_maxima(run: CellRun) -> list[float]:
    """The largest values of these normals' maps, without those that were left aside for the pixel threshold."""
    directory = run.directory("anomaly_maps", OPERATING_POINT, NORMAL_MAPS)
    return normal_maxima(run, read_map_scale(directory), read_operating_point(directory))


def normal_maxima(run: CellRun, scale: MapScale | None, calibrated: OperatingPoint) -> list[float]:
    """Likewise, from the patch grids, before the maps are stored.

    Args:
        scale: of the normals' maps, where maps are normalised.
        calibrated: the pixel threshold, which names those that were left aside.
    """
    recipe = MapRecipe.of(run.entry.maps, run.entry.tiling)

    def largest(response: Response) -> float:
        return float(recipe.before_removal(response, scale).max())

    responses = (
        response
        for _, response in read_responses(run.directory("score_table"), role="calibration")
        if response.patch_grid is not None and response.name not in calibrated.left_aside
    )
    threads = min(available_threads(), MAP_THREADS)
    return list(ordered_map(largest, responses, threads=threads, ahead=2 * threads))


def scores_digest(versions: Mapping[str, str], of: Of) -> str:
    """A digest of what the scale of the scores depends on, of maps that of their values: other scores, another digest.

    Args:
        versions: of what a cell's artifacts read, by name; those of a metrics report will do.
        of: which threshold.

    Returns:
        12 digits; the same when only test images were added.
    """
    names = ("memory_bank", "scoring_settings", *(("map_settings",) if of == "pixel" else ()))
    return digest_of({name: versions[name] for name in names})[:12]


class MapMaximum(NamedTuple):
    """The largest value of a test image's anomaly map: above the pixel threshold, something is marked on it."""

    image: str
    maximum: float


def map_maxima(run: CellRun, rows: Iterable[ScoreRow]) -> dict[str, float]:
    """The largest values of test images' maps, by image; none of an image without a map.

    Every map is read once; what was found is kept until the maps are others.
    """
    with_maps = [row for row in rows if row.role != "calibration" and row.grid_shape is not None]
    threads = available_threads()

    def take() -> list[MapMaximum]:
        maps = MapSet(run.directory("anomaly_maps") / MAPS, run.state.manifest(run.cell.category).map_names)
        largest = ordered_map(
            lambda row: MapMaximum(row.image, float(maps.read(row.image, row.map_folder).max())),
            with_maps,
            threads=threads,
            ahead=2 * threads,
        )
        return list(largest)

    kept = KeptFindings(Path(run.state.project.storage.local), MapMaximum)
    subject = f"{run.cell.category}/{run.cell.detector}/map_maxima"
    return dict(kept.get(subject, run.key("anomaly_maps").version, take))


def _pins(run: CellRun) -> CellPins:
    return run.state.project.pins(run.cell.category, run.cell.detector)
