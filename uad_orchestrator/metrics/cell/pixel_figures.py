"""The figures of a cell's pixels: of all test images and of each defect type, from counts that add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from uad_orchestrator.metrics.cell.intervals import Intervals, PixelIntervals
from uad_orchestrator.metrics.cell.point_reports import Thresholds, no_threshold
from uad_orchestrator.metrics.curves import Curve, mean_curve
from uad_orchestrator.metrics.image_metrics import ThresholdMetrics
from uad_orchestrator.metrics.pixels.left_out import points_of
from uad_orchestrator.metrics.pixels.pimo import NormalPixels
from uad_orchestrator.metrics.pixels.statistics import Images, PixelPass, PixelStatistics, ScoredImage
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.thresholds.operating_point import NO_MAP


@dataclass(frozen=True)
class Figures:
    """Figures by name, NaN where undefined, and why they are."""

    values: dict[str, float]
    reasons: dict[str, str]


@dataclass
class CellPixels:
    """What was counted: of all test images, and of each defect type with all normals.

    Of the types only figures and curves are kept, so that few counts are held however many types there are.
    ``absent`` says why there are no pixel figures at all, ``missing`` which images are not there.
    """

    protocol: EvaluationProtocol
    thresholds: Thresholds
    total: PixelStatistics
    why_no_aupimo: str | None = None
    intervals: PixelIntervals | None = None
    of_type: dict[str, Figures] = field(default_factory=dict)
    type_curves: dict[str, Curve] = field(default_factory=dict)
    absent: str | None = None
    missing: str | None = None

    def shown(self, figures: Figures, names: Sequence[str]) -> Figures:
        """Those with a name; all NaN where there are none."""
        values = {name: math.nan if self.absent else figures.values[name] for name in names}
        undefined = [name for name, value in values.items() if math.isnan(value)]
        return Figures(values, {name: self.absent or figures.reasons[name] for name in undefined})

    def figures(self, statistics: PixelStatistics) -> Figures:
        """All figures of some images."""
        found = statistics.counts.compute(self.protocol.overlap_limits)
        why = "no masks" if statistics.without_mask and not statistics.masked else self.missing
        reasons = dict.fromkeys(found, why or statistics.counts.undefined_reason or "")
        at = statistics.at_segmentation_threshold.metrics()
        found["seg_f1"] = math.nan if at is None else at.f1
        reasons["seg_f1"] = (
            no_threshold(self.thresholds.segmentation) if at is None else why or at.reasons.get("f1", "")
        )
        found["aupimo"] = statistics.mean_aupimo()
        reasons["aupimo"] = why or self.why_no_aupimo or "no anomalous images"
        found["map_max_auroc"] = statistics.map_max_auroc()
        reasons["map_max_auroc"] = why or "only normal or only anomalous images"
        return Figures(found, reasons)

    def at_pixel_threshold(self) -> tuple[ThresholdMetrics | None, Intervals]:
        """What the pixel threshold does, and how far that can be trusted."""
        if self.intervals is None or (found := self.total.at_pixel_threshold.metrics()) is None:
            return None, {}
        counts = [image.at_pixel_threshold for image in self.total.images]
        return found, self.intervals.at_threshold(found.figures(), counts)

    def at_segmentation_threshold(self) -> tuple[ThresholdMetrics | None, Intervals]:
        """What SegF1's threshold does, likewise."""
        if self.intervals is None or (found := self.total.at_segmentation_threshold.metrics()) is None:
            return None, {}
        counts = [image.at_segmentation_threshold for image in self.total.images]
        return found, self.intervals.at_threshold(found.figures(), counts)

    def curves(self) -> dict[str, Curve]:
        """The curves of all images; the overlap's, where it is a mean over types, is the mean of theirs."""
        if self.absent:
            return {}
        curves = self.total.counts.curves()
        averaged = [
            self.type_curves[kind] for kind in self.protocol.averaged_types if kind in self.type_curves
        ]
        if averaged and curves:
            curves[self.protocol.overlap] = mean_curve(averaged)
        return curves


def count_pixels(
    rows: Sequence[ScoredImage],
    images: Images | None,
    protocol: EvaluationProtocol,
    thresholds: Thresholds,
    threads: int | None,
) -> CellPixels:
    """Count the pixels of all test images: the normals once, then each defect type.

    Args:
        rows: the test images with their scores.
        images: gives their maps and ground truth; None where the model gives no maps.
        protocol: what to measure.
        thresholds: of the cell.
        threads: as in ``evaluate_cell``.

    Returns:
        The counts, with the figures of each type against all normals.
    """
    rows = sorted(rows, key=lambda row: row.image)  # sums of floats depend on their order
    kinds = sorted({row.defect_type for row in rows if row.label})
    if images is None:
        empty, figures = PixelStatistics.empty(protocol.overlap), Figures({}, {})
        return CellPixels(protocol, thresholds, empty, of_type=dict.fromkeys(kinds, figures), absent=NO_MAP)
    normal_pixels = NormalPixels() if protocol.aupimo else None
    pixel_pass = PixelPass(
        images,
        protocol.overlap,
        thresholds.pixel.threshold,
        thresholds.segmentation.threshold if protocol.seg_f1 else math.nan,
        normal_pixels,
        threads,
        points_of(len(rows)),
    )
    normals = pixel_pass.count_normals(row for row in rows if row.label == 0)
    pixels = CellPixels(
        protocol,
        thresholds,
        normals,
        normal_pixels.undefined_reason if normal_pixels else None,
        missing=what_is_missing(rows),
    )
    for kind in kinds:
        own = pixel_pass.count_defects(row for row in rows if row.label and row.defect_type == kind)
        against_normals = normals + own
        pixels.of_type[kind] = pixels.figures(against_normals)
        if kind in protocol.averaged_types and (curves := against_normals.counts.curves()):
            pixels.type_curves[kind] = curves[protocol.overlap]
        pixels.total += own
    if not rows:
        pixels.absent = pixels.missing
    elif pixels.total.without_mask and not pixels.total.masked:
        pixels.absent = "no masks"
    if not pixels.absent:
        pixels.intervals = PixelIntervals.of(pixels.total, protocol)
    return pixels


def what_is_missing(rows: Sequence[ScoredImage]) -> str | None:
    """Which kind of test images there is none of."""
    labels = {row.label for row in rows}
    if not labels:
        return "no test images"
    if 1 not in labels:
        return "no defective test images"
    return None if 0 in labels else "no good test images"
