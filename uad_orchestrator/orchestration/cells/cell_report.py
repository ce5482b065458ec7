"""What a metrics report is put together from: ground truth, contact sheet, and what is known of the run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from uad_orchestrator.datasets.defects_config import DEFECTS_CONFIG
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest
from uad_orchestrator.detectors.protocol.scoring import ScoreRow
from uad_orchestrator.embedders.torch_embedder import CPU_BATCH
from uad_orchestrator.images.decode import read_image, read_mask_values
from uad_orchestrator.images.file_facts import image_size
from uad_orchestrator.metrics.cell import CellMetrics, Thresholds
from uad_orchestrator.metrics.cell.point_reports import review_report
from uad_orchestrator.metrics.pixels.regions import regions_outside
from uad_orchestrator.metrics.pixels.spro import Channel, GroundTruth
from uad_orchestrator.metrics.report import (
    BankReport,
    Counts,
    MetricsReport,
    RoiReport,
    Runtime,
    Timings,
    UnlabelledSplit,
)
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.orchestration.cells.artifact_files import read_normal_maps, read_operating_point
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.points_in_use import image_point, pixel_point
from uad_orchestrator.postprocess.map_set import MapSet
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.storage.provenance import Provenance
from uad_orchestrator.threads import available_threads, ordered_map

if TYPE_CHECKING:
    from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale


@dataclass(frozen=True)
class GroundTruthReader:
    """The masks of a category's test images."""

    manifest: Manifest

    @cached_property
    def _records(self) -> Mapping[str, ImageRecord]:
        return {record.path: record for record in self.manifest.test}

    def image(self, name: str) -> np.ndarray:
        """The image, ``(H, W, 3)`` RGB."""
        return read_image(self.manifest.file(self._records[name].path), self.manifest.reading)

    def size(self, name: str) -> tuple[int, int]:
        """The image's ``(H, W)`` in pixels."""
        return image_size(self.manifest.file(self._records[name].path), self.manifest.reading)

    def of(self, name: str, *, in_channels: bool = False) -> GroundTruth | None:
        """The image's mask, all its files together, and on demand each as a channel; None for a defect without one.

        Raises:
            ValueError: a mask that is not of the image's size; a channel without pixels, of several values, of
                a value that defects_config.json does not know, or with the saturation area 0; names the file.
        """
        record = self._records[name]
        size = self.size(name)
        if record.label and not record.masks:
            return None
        whole, channels = np.zeros(size, bool), []
        for mask in record.masks:
            values = read_mask_values(self.manifest.file(mask.path), self.manifest.reading)
            if values.shape != size:
                raise ValueError(
                    f"{mask.path} is {values.shape}, but {record.path} is {size}: they must agree"
                )
            whole |= values > 0
            if in_channels:
                channels.append(self._channel(mask.path, values))
        return GroundTruth(whole, channels)

    def _channel(self, path: str, values: np.ndarray) -> Channel:
        """A channel with its saturation area, by the one value of its defect's pixels."""
        kinds = {kind.pixel_value: kind for kind in self.manifest.defects}
        found = [int(value) for value in np.unique(values) if value]
        if len(found) != 1 or found[0] not in kinds:
            shown = ", ".join(map(str, found)) or "0 only"
            raise ValueError(
                f"{path} has the pixel values {shown}: a channel has one beside 0, and {DEFECTS_CONFIG} knows "
                f"{', '.join(map(str, sorted(kinds)))}"
            )
        mask = values > 0
        area = int(np.count_nonzero(mask))
        saturation_area = kinds[found[0]].saturation_area(area)
        if saturation_area < 1:
            raise ValueError(
                f"{path}: {area} pixels of {kinds[found[0]].name!r} have the saturation area 0 by {DEFECTS_CONFIG}; "
                "expected at least 1: correct the threshold or the mask"
            )
        return Channel(mask, saturation_area)


@dataclass(frozen=True)
class RegionOfInterest:
    """What a preset's region of interest means for the metrics of a category's test images.

    Attributes:
        preset: whose ``roi`` steps count.
        truth: the category's masks.
        metrics: ``evaluation.roi_metrics``.
    """

    preset: Preset
    truth: GroundTruthReader
    metrics: Literal["exclude", "include"]

    def counted(self, name: str) -> np.ndarray | None:
        """The pixels of an image that the pixel metrics count, ``(H, W)`` bool; None: all."""
        return self._inspected(name) if self.metrics == "exclude" else None

    def report(self, names: Iterable[str]) -> RoiReport | None:
        """What lies outside; None without a region of interest."""
        if not self.preset.has_roi:
            return None
        every, threads = list(names), available_threads()
        counts = ordered_map(self._regions_outside, every, threads=threads, ahead=2 * threads)
        outside = dict(zip(every, counts, strict=True))
        return RoiReport(
            pixels="excluded" if self.metrics == "exclude" else "included",
            regions_outside={name: count for name, count in outside.items() if count},
        )

    def _regions_outside(self, name: str) -> int:
        truth, inspected = self.truth.of(name), self._inspected(name)
        return 0 if truth is None or inspected is None else regions_outside(truth.mask, inspected)

    def _inspected(self, name: str) -> np.ndarray | None:
        return self.preset.inspected(self.truth.size(name)) if self.preset.has_roi else None


def draw_contact_sheet(
    run: CellRun, rows: Sequence[ScoreRow], maps: MapSet | None, truth: GroundTruthReader
) -> bytes:
    """The JPEG of best and worst cases, at most 50 kB, in the cell's own colour scale; without maps plain images."""
    from uad_orchestrator.reporting.cases import ChosenCase, choose_cases
    from uad_orchestrator.reporting.pictures.contact_sheet import Case, contact_sheet

    kinds, threads = {row.image: row.defect_type for row in rows}, available_threads()

    def case(chosen: ChosenCase) -> Case:
        made = None if maps is None else maps.read(chosen.image, kinds[chosen.image])
        found = truth.of(chosen.image) if chosen.label else None
        return Case(chosen, truth.image(chosen.image), made, None if found is None else found.mask)

    scale = None if maps is None else map_colours(run, rows, maps)
    threshold = image_point(run).threshold
    title = f"{run.cell.category} · {run.cell.detector}"
    cases = ordered_map(case, choose_cases(rows), threads=threads, ahead=threads)
    return contact_sheet(cases, threshold=threshold, scale=scale, title=title)


def map_colours(run: CellRun, rows: Iterable[ScoreRow], maps: MapSet) -> HeatmapScale:
    """The colours of a cell's maps: from its normals' maps, or, where there are none, from those of its test images."""
    from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale

    statistics = read_normal_maps(run.directory("anomaly_maps"))
    if statistics["mean"] is None:
        return HeatmapScale.from_maps(maps.read(row.image, row.defect_type) for row in rows)
    return HeatmapScale.from_summary(statistics, pixel_point(run).threshold)


def build_report(
    run: CellRun,
    found: CellMetrics,
    rows: Sequence[ScoreRow],
    thresholds: Thresholds,
    review: OperatingPoint | None,
    roi: RoiReport | None,
    *,
    metrics_seconds: float,
) -> MetricsReport:
    """The cell's metrics.json.

    Args:
        found: what was measured.
        rows: all images that were scored, those of splits without labels too.
        thresholds: those it was measured at.
        review: where review begins; None: nothing is reviewed.
        roi: what the region of interest did; None: there is none.
        metrics_seconds: what measuring took.
    """
    unlabelled = Counter(row.role for row in rows if row.role != "test")
    bank, scores, maps = (run.provenance(a) for a in ("memory_bank", "score_table", "anomaly_maps"))
    manifest = run.state.manifest(run.cell.category)
    runtime = run.state.project.runtime
    asked = CPU_BATCH if runtime.batch_size == "auto" else runtime.batch_size
    return MetricsReport(
        dataset=run.cell.dataset,
        category=run.cell.category_name,
        detector=run.cell.detector,
        model=run.entry.model,
        counts=Counts(
            n_train=len(manifest.train),
            n_validation=len(manifest.validation),
            n_calibration=read_operating_point(run.directory("score_table")).n,
            n_test_normal=sum(row.label == 0 for row in rows),
            n_test_anomalous=sum(row.label == 1 for row in rows),
            n_test_masked=sum(bool(record.masks) for record in manifest.test if record.label == 1),
        ),
        metrics=found.metrics,
        reasons=found.reasons,
        intervals=found.intervals,
        per_defect=found.per_defect,
        without_mask=list(found.without_mask),
        unlabelled=[UnlabelledSplit(split=split, n=n) for split, n in unlabelled.items()],
        image_operating_point=found.image_point.model_copy(update={"pinned": thresholds.image.pinned}),
        pixel_operating_point=found.pixel_point.model_copy(update={"pinned": thresholds.pixel.pinned}),
        segmentation=found.segmentation,
        review=None if review is None else review_report(review, thresholds.image, rows),
        timings=_timings(bank, scores, maps, metrics_seconds),
        bank=_bank_report(bank),
        roi=roi,
        seeds={f"{p.asset}.{name}": seed for p in (bank, scores) for name, seed in p.seeds.items()},
        versions={
            **bank.inputs,
            **scores.inputs,
            **maps.inputs,
            **run.state.reads("metrics_report", run.cell),
        }
        | {"metrics_report": run.key("metrics_report").version},
        packages=dict(bank.packages),
        runtime=Runtime(
            device=bank.device,
            batch_size=bank.facts.get("images_at_once", asked),
            workers=runtime.workers,
            host=bank.host,
        ),
    )


def _timings(bank: Provenance, scores: Provenance, maps: Provenance, metrics_seconds: float) -> Timings:
    p50, p95 = (scores.metrics.get(f"seconds_per_image_{p}") for p in ("p50", "p95"))
    absent = (
        {}
        if p50 is not None
        else dict.fromkeys(("seconds_per_image_p50", "seconds_per_image_p95"), "no test images")
    )
    return Timings(
        fit_seconds=bank.seconds,
        score_seconds=scores.seconds,
        maps_seconds=maps.seconds,
        metrics_seconds=metrics_seconds,
        seconds_per_image_p50=p50,
        seconds_per_image_p95=p95,
        reasons=absent,
    )


def _bank_report(bank: Provenance) -> BankReport:
    facts = bank.facts
    coverage = facts.get("coverage") or {}
    figures = {f"coverage_{name}": coverage.get(name, math.nan) for name in ("max", "p99", "mean")}
    return BankReport(
        rows=int(facts.get("bank_rows", 0)),
        dimension=int(facts.get("dimension", 0)),
        bytes=bank.bytes,
        reasons={name: "this detector keeps no bank" for name, value in figures.items() if math.isnan(value)},
        **figures,
    )
