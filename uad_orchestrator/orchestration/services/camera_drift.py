"""The robustness benchmark: fitted cells on test images that a drifting camera might have taken.

Nothing is fitted or calibrated anew: memory bank and thresholds come from the store. Embeddings of drifted
images are cached like any other, so that detectors share them and a second call embeds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.metrics.catalogue import averaged, headlines
from uad_orchestrator.metrics.cell import Thresholds, evaluate_cell
from uad_orchestrator.metrics.report.figures import finite_or_none
from uad_orchestrator.orchestration.cells.artifact_files import read_map_scale
from uad_orchestrator.orchestration.cells.cell_report import GroundTruthReader, RegionOfInterest
from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.cells.open_detector import open_detector
from uad_orchestrator.orchestration.cells.points_in_use import thresholds_in_use
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.preprocessing.drift import LEVELS, Drift, DriftKind, drifted
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.reporting.robustness_table import RobustnessRow
from uad_orchestrator.storage.artifacts import ArtifactStore


def drifts_of(kinds: Iterable[DriftKind], seed: int) -> list[Drift | None]:
    """No drift, then each kind in all its levels."""
    return [None, *(Drift(kind, level, seed) for kind in kinds for level in range(1, LEVELS + 1))]


@dataclass(frozen=True)
class DriftResults:
    """What drift does to several cells.

    Attributes:
        rows: a row per cell and drift, cell by cell.
        faults: why a cell could not be measured; it has no rows.
    """

    rows: list[RobustnessRow] = field(default_factory=list)
    faults: dict[Cell, str] = field(default_factory=dict)


def measure_cells(
    state: ProjectState,
    store: ArtifactStore,
    cells: Iterable[Cell],
    drifts: Sequence[Drift | None],
    on_step: Callable[[Cell], None] = lambda cell: None,
) -> DriftResults:
    """``measure_robustness`` of several cells, with one embedder for all that share it; a fault costs its own cell.

    Args:
        state: the project as it is now.
        store: where its artifacts are.
        cells: those to measure.
        drifts: what happens to the test images; None: nothing.
        on_step: called with the cell after each drift.
    """
    results, embedders = DriftResults(), EmbedderPool()
    for cell in cells:
        run = CellRun(cell, state, store)
        try:
            results.rows.extend(list(measure_robustness(run, embedders, drifts, partial(on_step, cell))))
        except (MissingUpstream, InputUnavailable, ValueError) as error:
            results.faults[cell] = str(error)
    return results


def measure_robustness(
    run: CellRun,
    embedders: EmbedderPool,
    drifts: Sequence[Drift | None],
    on_step: Callable[[], None] = lambda: None,
) -> Iterator[RobustnessRow]:
    """A row for each drift of one cell, in order.

    Args:
        run: a cell that is fitted and calibrated.
        drifts: what happens to the test images; None: nothing.
        on_step: called after each of them.

    Raises:
        MissingUpstream: the cell is not fitted in its current version; names the command.
        InputUnavailable: an image or a weight file cannot be read.
    """
    cell = FittedCell.open(run, embedders)
    for drift in drifts:
        yield cell.measure(drift)
        on_step()


@dataclass(frozen=True)
class FittedCell:
    """A cell's detector with its memory bank and thresholds."""

    run: CellRun
    detector: Detector
    state: DetectorState
    points: Thresholds

    @classmethod
    def open(cls, run: CellRun, embedders: EmbedderPool) -> FittedCell:
        """The cell from the store."""
        state = DetectorState.load(run.directory("memory_bank"))
        maps = run.directory("anomaly_maps")
        points = thresholds_in_use(run)
        detector = open_detector(run, embedders)
        detector.restore(state, points.image, points.pixel, read_map_scale(maps))
        return cls(run, detector, state, points)

    def measure(self, drift: Drift | None) -> RobustnessRow:
        """The metrics of the test images under a drift."""
        project, entry = self.run.state.project, self.run.entry
        manifest = self.run.state.manifest(self.run.cell.category)
        truth, protocol = GroundTruthReader(manifest), project.protocol(self.run.cell.dataset)
        sources = [
            source if drift is None else drifted(source, drift) for source in manifest.sources(manifest.test)
        ]
        responses = self.detector.respond(self.state, sources)
        rows = [
            _ScoredTest(record.path, record.label, record.defect_type, response)
            for record, response in zip(manifest.test, responses, strict=True)
        ]
        roi = RegionOfInterest(
            resolve_preset(entry.preset, project.presets), truth, project.evaluation.roi_metrics
        )
        by_name = {row.image: row.response for row in rows}
        without_maps = any(row.response.patch_grid is None for row in rows)
        found = evaluate_cell(
            rows,
            None if without_maps else lambda row: self.detector.anomaly_map(by_name[row.image]),
            lambda row: truth.of(row.image, in_channels=bool(protocol.spro_limits)),
            protocol=protocol,
            thresholds=self.points,
            inspected=lambda row: roi.counted(row.image),
        )
        always = [metric.name for metric in headlines("image", "pixel") if metric.always]
        shown = (*always, *protocol.overlap_names)
        metrics = {name: finite_or_none(found.metrics[name]) for name in shown}
        at_threshold = found.image_point.figures()
        at = {metric.name: at_threshold[metric.name] for metric in averaged("operating point")}
        kind, level = (None, 0) if drift is None else (drift.kind, drift.level)
        return RobustnessRow(
            self.run.cell.category, self.run.cell.detector, entry.preset, kind, level, metrics | at
        )


@dataclass(frozen=True)
class _ScoredTest:
    """A test image with the response to it under a drift."""

    image: str
    label: int
    defect_type: str
    response: Response

    @property
    def score(self) -> float:
        return self.response.score
