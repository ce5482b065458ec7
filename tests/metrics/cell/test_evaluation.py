"""A cell's metrics in one pass: overall, per defect type, at both operating points."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.metrics.made_pixels import Row, brute_force_aupro, smooth_maps
from uad_orchestrator.metrics import OperatingPoint
from uad_orchestrator.metrics.catalogue import CLOPPER_PEARSON, JACKKNIFE, find
from uad_orchestrator.metrics.cell import CellMetrics, Thresholds, evaluate_cell
from uad_orchestrator.metrics.intervals import interval_of_auroc, left_out_interval, rate_interval
from uad_orchestrator.metrics.pixels import statistics
from uad_orchestrator.metrics.pixels.in_threads import count_in_threads
from uad_orchestrator.metrics.pixels.spro import Channel, GroundTruth
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.thresholds.operating_point import SegmentationPoint

POINT = OperatingPoint(0.9, "validation", 20, 0.05)
PIXEL_POINT = OperatingPoint(2.0, "validation", 20, 0.05)
SEGMENTATION_POINT = SegmentationPoint(1.5, "validation", 20)


class Cell:
    """Twelve test images: six normal, three scratched, three stained."""

    def __init__(self) -> None:
        self.maps, self.masks = smooth_maps(12, 48, seed=2)
        self.rows = [
            Row(f"{i:03}.png", int(mask.any()), self._kind(i, mask), float(m.max()), i)
            for i, (m, mask) in enumerate(zip(self.maps, self.masks, strict=True))
        ]

    @staticmethod
    def _kind(index: int, mask: np.ndarray) -> str:
        return ("scratch" if index % 4 == 1 else "stain") if mask.any() else "good"

    def evaluated(self, rows: list[Row] | None = None, **changes) -> CellMetrics:  # type: ignore[no-untyped-def]
        protocol = changes.pop("protocol", EvaluationProtocol())
        mask = changes.pop("mask", lambda row: self.masks[row.index])
        threads = changes.pop("threads", None)
        points = {"image": POINT, "pixel": PIXEL_POINT, "segmentation": SEGMENTATION_POINT, **changes}
        return evaluate_cell(
            rows or self.rows,
            lambda row: self.maps[row.index],
            lambda row: None if mask(row) is None else GroundTruth(mask(row)),
            protocol=protocol,
            thresholds=Thresholds(**points),
            threads=threads,
        )


def test_without_maps_image_figures_stay_and_pixel_figures_have_the_reason() -> None:
    cell = Cell()
    nowhere = OperatingPoint(math.nan, "none: this model gives no anomaly map", 0, 0.05)
    found = evaluate_cell(
        cell.rows,
        None,
        lambda row: GroundTruth(cell.masks[row.index]),
        protocol=EvaluationProtocol(aupro_limits=(0.3,)),
        thresholds=Thresholds(POINT, nowhere, SEGMENTATION_POINT),
    )
    with_maps = cell.evaluated()
    assert found.metrics["image_auroc"] == with_maps.metrics["image_auroc"]
    pixel = {"pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_0.3"}
    assert found.reasons == dict.fromkeys(pixel, "this model gives no anomaly map")
    assert {d.defect_type for d in found.per_defect} == {"scratch", "stain"}
    assert all(d.metrics["pixel_auroc"] is None for d in found.per_defect)
    assert all(d.metrics["recall"] is not None for d in found.per_defect)
    assert found.pixel_point.reasons["recall"] == "no threshold: this model gives no anomaly map"
    assert found.pixel_curves == {}


def test_overall_figures_are_scikit_learns_and_brute_force() -> None:
    cell = Cell()
    found = cell.evaluated()
    truth, scores = cell.masks.ravel(), cell.maps.ravel()
    assert found.metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    assert found.metrics["pixel_ap"] == pytest.approx(average_precision_score(truth, scores), abs=1e-5)
    labels, image_scores = [r.label for r in cell.rows], [r.score for r in cell.rows]
    assert found.metrics["image_auroc"] == pytest.approx(roc_auc_score(labels, image_scores))
    assert found.metrics["aupro_0.05"] == pytest.approx(
        brute_force_aupro(cell.maps, cell.masks, 0.05), abs=1e-5
    )
    assert found.reasons == {}
    assert set(found.pixel_curves) == {"roc", "pr", "pro"}


def test_each_defect_type_is_measured_against_all_normals() -> None:
    cell = Cell()
    per_defect = {report.defect_type: report for report in cell.evaluated().per_defect}
    assert list(per_defect) == ["scratch", "stain"]
    for kind, report in per_defect.items():
        chosen = [r.index for r in cell.rows if r.defect_type in ("good", kind)]
        truth, scores = cell.masks[chosen], cell.maps[chosen]
        assert report.n == 3
        assert report.metrics["pixel_ap"] == pytest.approx(
            average_precision_score(truth.ravel(), scores.ravel()), abs=1e-5
        )
        assert report.metrics["aupro_0.3"] == pytest.approx(brute_force_aupro(scores, truth, 0.3), abs=1e-5)
        own = [r.score for r in cell.rows if r.defect_type == kind]
        assert report.metrics["recall"] == pytest.approx(np.mean([score > POINT.threshold for score in own]))


def test_recall_stands_beside_the_false_positive_rate_at_both_points() -> None:
    cell = Cell()
    found = cell.evaluated()
    called = cell.maps > PIXEL_POINT.threshold
    assert found.pixel_point.recall == pytest.approx(np.mean(called[cell.masks]))
    assert found.pixel_point.false_positive_rate == pytest.approx(np.mean(called[~cell.masks]))
    assert found.pixel_point.iou == pytest.approx((called & cell.masks).sum() / (called | cell.masks).sum())
    normal = [r.score > POINT.threshold for r in cell.rows if r.label == 0]
    assert found.image_point.false_positive_rate == pytest.approx(np.mean(normal))


def test_a_pixel_at_the_threshold_is_normal() -> None:
    cell = Cell()
    highest = float(cell.maps.max())
    found = cell.evaluated(pixel=replace(PIXEL_POINT, threshold=highest))
    assert found.pixel_point.recall == 0.0
    assert found.pixel_point.reasons == {"precision": "nothing scores above the threshold"}


def test_test_labels_never_move_an_operating_point() -> None:
    cell = Cell()
    swapped = [replace(r, score=-r.score) for r in cell.rows]
    for rows in (cell.rows, swapped):
        found = cell.evaluated(rows)
        assert (found.image_point.threshold, found.image_point.source) == (0.9, "validation")
        assert (found.pixel_point.threshold, found.pixel_point.n) == (2.0, 20)


def test_without_a_threshold_metrics_still_come() -> None:
    none = OperatingPoint(math.nan, "none: one reference image and no other normals", 0, 0.05)
    found = Cell().evaluated(image=none, pixel=none)
    assert found.metrics["image_auroc"] > 0.5
    assert found.image_point.threshold is None
    assert found.pixel_point.reasons["f1"] == "no threshold: one reference image and no other normals"
    assert found.per_defect[0].metrics["recall"] is None


def test_only_normals_give_nan_with_reasons() -> None:
    cell = Cell()
    found = cell.evaluated([r for r in cell.rows if r.label == 0])
    assert all(math.isnan(value) for value in found.metrics.values())
    assert found.reasons["pixel_ap"] == found.reasons["image_f1_max"] == "no defective test images"
    assert found.per_defect == []


def test_no_masks_leave_image_metrics_and_say_why() -> None:
    cell = Cell()
    found = cell.evaluated(mask=lambda row: None if row.label else cell.masks[row.index])
    assert found.metrics["image_auroc"] > 0
    assert found.reasons["aupro_0.3"] == found.per_defect[0].reasons["pixel_ap"] == "no masks"
    assert found.without_mask == tuple(row.image for row in cell.rows if row.label)
    assert found.pixel_curves == {}


def test_pixel_metrics_are_over_the_images_that_have_masks() -> None:
    cell = Cell()
    left_out = [row for row in cell.rows if row.label][:2]
    found = cell.evaluated(mask=lambda row: None if row in left_out else cell.masks[row.index])
    among_others = cell.evaluated([row for row in cell.rows if row not in left_out])
    assert found.without_mask == tuple(row.image for row in left_out)
    for name, value in among_others.metrics.items():
        if name.startswith(("pixel", "aupro")):
            assert found.metrics[name] == value
    assert found.metrics["image_auroc"] == cell.evaluated().metrics["image_auroc"]


def test_without_test_images_every_figure_says_so_and_the_rate_is_of_held_out_normals() -> None:
    cell = Cell()
    found = evaluate_cell(
        [],
        lambda row: cell.maps[row.index],
        lambda row: None,
        protocol=EvaluationProtocol(),
        thresholds=Thresholds(
            OperatingPoint(0.9, "leave_one_image_out", 4, 0.25),
            OperatingPoint(0.9, "leave_one_image_out", 4, 0.25),
            SegmentationPoint(0.6, "leave_one_image_out", 4),
        ),
        held_out=[0.1, 0.9, 0.2, 0.3],
    )
    assert set(found.reasons.values()) == {"no test images"}
    assert found.reasons.keys() == found.metrics.keys()
    at = found.image_point
    assert (at.false_positive_rate, at.false_positive_rate_from) == (
        0.25,
        "4 held-out normals (leave_one_image_out)",
    )
    assert set(at.reasons.values()) == set(found.pixel_point.reasons.values()) == {"no test images"}


def test_wrong_masks_are_errors_that_name_the_image() -> None:
    cell = Cell()
    with pytest.raises(ValueError, match=r"000\.png: the mask is \(4, 4\), the anomaly map \(48, 48\)"):
        cell.evaluated(mask=lambda row: np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match=r"000\.png: labelled normal, but its mask shows 2304 pixels"):
        cell.evaluated(mask=lambda row: np.ones((48, 48), bool))
    cell.maps[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"001\.png: 1 of 2304 pixels"):
        cell.evaluated()


def test_the_order_of_the_rows_changes_nothing() -> None:
    cell = Cell()
    first, again = cell.evaluated(), cell.evaluated(cell.rows[::-1])
    assert (first.metrics, first.intervals, first.per_defect, first.pixel_point) == (
        again.metrics, again.intervals, again.per_defect, again.pixel_point
    )  # fmt: skip


def test_each_figure_has_the_interval_that_the_catalogue_says() -> None:
    cell = Cell()
    found = cell.evaluated(protocol=EvaluationProtocol(seg_f1=True))
    said = {name: metric.interval for name in found.metrics if (metric := find(name)) and metric.interval}
    assert {name: interval.method for name, interval in found.intervals.items()} == said
    for name, interval in found.intervals.items():
        assert interval.low < found.metrics[name] < interval.high or found.metrics[name] == 1
        assert (interval.n_normal, interval.n_anomalous, interval.level) == (6, 6, 0.95)
    bounds = found.intervals["image_auroc"]
    assert (bounds.low, bounds.high) == interval_of_auroc(found.metrics["image_auroc"], 6, 6)
    for defect in found.per_defect:
        said = {
            name: metric.interval for name in defect.metrics if (metric := find(name)) and metric.interval
        }
        assert {name: interval.method for name, interval in defect.intervals.items()} == said
        assert (defect.intervals["pixel_ap"].n_normal, defect.intervals["pixel_ap"].n_anomalous) == (6, 3)
        assert (defect.intervals["recall"].n_normal, defect.intervals["recall"].n_anomalous) == (0, 3)


def test_the_rates_of_images_are_binomial_and_those_of_pixels_of_images_left_out() -> None:
    cell = Cell()
    found = cell.evaluated()
    recall, rate = (found.image_point.intervals[name] for name in ("recall", "false_positive_rate"))
    caught = sum(row.score > POINT.threshold for row in cell.rows if row.label)
    assert (recall.low, recall.high) == rate_interval(caught, 6) and recall.n_anomalous == 6
    assert (rate.n_normal, rate.n_anomalous, rate.method) == (6, 0, CLOPPER_PEARSON)
    called = cell.maps > PIXEL_POINT.threshold
    good = np.array([row.label == 0 for row in cell.rows])

    def recall_of(kept: np.ndarray) -> float:
        return float(called[kept][cell.masks[kept]].mean())

    without = np.array([recall_of(np.arange(12) != left) for left in range(12)])
    expected = left_out_interval(recall_of(np.ones(12, bool)), [without[good], without[~good]])
    interval = found.pixel_point.intervals["recall"]
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-9)
    assert interval.method == JACKKNIFE
    assert found.pixel_point.intervals.keys() == {"precision", "recall", "f1", "iou", "false_positive_rate"}


def test_what_cannot_be_known_has_no_interval() -> None:
    cell = Cell()
    one = [row for row in cell.rows if row.label == 0 or row.defect_type == "scratch"][:7]
    one = [row for row in one if row.label == 0] + [next(row for row in one if row.label)]
    assert cell.evaluated(one).intervals.keys() == {"image_auroc"}, "one defective image"
    without = cell.evaluated(mask=lambda row: None if row.label else cell.masks[row.index])
    assert without.intervals.keys() == {"image_auroc"} and without.pixel_point.intervals == {}
    nowhere = cell.evaluated(image=OperatingPoint(math.nan, "none: no normals", 0, 0.05))
    assert nowhere.image_point.intervals == {}
    assert all("recall" not in defect.intervals for defect in nowhere.per_defect)
    normals = cell.evaluated([row for row in cell.rows if row.label == 0])
    assert normals.intervals == {} and normals.image_point.intervals.keys() == {"false_positive_rate"}


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("overlap", ["aupro", "spro"])
def test_the_number_of_threads_changes_nothing(threads: int, overlap: str) -> None:
    """Maps, ground truth, AUPIMO, sPRO, regions of interest and defect types."""
    maps, masks = smooth_maps(14, 160, seed=3)
    kinds = ["scratch" if i % 4 == 1 else "stain" if mask.any() else "good" for i, mask in enumerate(masks)]
    rows = [Row(f"{i:03}.png", int(masks[i].any()), kinds[i], float(maps[i].max()), i) for i in range(14)]
    inspected = np.ones((160, 160), bool)
    inspected[:3] = False

    def truth(row: Row) -> GroundTruth:
        mask = masks[row.index]
        return GroundTruth(mask, [Channel(mask, int(mask.sum()) // 2 + 1)] if mask.any() else [])

    asked = {"spro_limits": (0.05,), "averaged_types": ("scratch", "stain")} if overlap == "spro" else {}
    protocol = EvaluationProtocol(**asked, aupimo=True, seg_f1=True)

    def evaluated(n: int) -> CellMetrics:
        return evaluate_cell(
            rows,
            lambda row: maps[row.index],
            truth,
            protocol=protocol,
            thresholds=Thresholds(POINT, PIXEL_POINT, SEGMENTATION_POINT),
            inspected=lambda row: inspected,
            threads=n,
        )

    alone, together = evaluated(1), evaluated(threads)
    assert not any(math.isnan(value) for value in alone.metrics.values())
    assert (alone.metrics, alone.per_defect, alone.pixel_point, alone.segmentation) == (
        together.metrics, together.per_defect, together.pixel_point, together.segmentation
    )  # fmt: skip
    for name, curve in alone.pixel_curves.items():
        np.testing.assert_array_equal(together.pixel_curves[name], curve)


def test_images_are_counted_in_as_many_threads_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def recorded(*arguments: Any, threads: int | None) -> Any:
        asked.append(threads)
        return count_in_threads(*arguments, threads=threads)

    monkeypatch.setattr(statistics, "count_in_threads", recorded)
    Cell().evaluated(threads=7)
    assert asked == [7, 7, 7], "normals, scratches and stains"


@pytest.mark.parametrize("threads", [1, 5])
def test_the_first_image_with_an_error_is_the_one_named(threads: int) -> None:
    cell = Cell()
    cell.maps[[4, 8], 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"004\.png: 1 of 2304 pixels"):
        cell.evaluated(threads=threads)
