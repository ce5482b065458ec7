"""What each protocol measures of a cell, against brute force: per defect type and over all."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from tests.metrics.made_pixels import Row, brute_force_spro, smooth_maps
from uad_orchestrator.metrics import OperatingPoint
from uad_orchestrator.metrics.cell import CellMetrics, Thresholds, evaluate_cell
from uad_orchestrator.metrics.intervals import evenly_weighted, interval_of_auroc, left_out_interval
from uad_orchestrator.metrics.pixels.spro import Channel, GroundTruth
from uad_orchestrator.metrics.protocol import PROTOCOLS, EvaluationProtocol
from uad_orchestrator.metrics.thresholds.operating_point import SegmentationPoint

POINT = OperatingPoint(0.9, "validation", 20, 0.05)
POINTS = Thresholds(
    POINT, OperatingPoint(2.0, "validation", 20, 0.05), SegmentationPoint(1.5, "validation", 8)
)
LOCO = PROTOCOLS["mvtec_loco"]
TYPES = LOCO.averaged_types


class LocoCell:
    """Four normals, two logical and two structural anomalies; the logical ones have overlapping channels."""

    def __init__(self) -> None:
        self.maps, masks = smooth_maps(8, 32, seed=7)
        scores = np.random.default_rng(3).normal(size=8) + masks.any(axis=(1, 2))
        self.channels: list[list[tuple[np.ndarray, int]]] = []
        self.rows = []
        for i, mask in enumerate(masks):
            kind = ("good", TYPES[i // 2 % 2])[int(mask.any())]
            self.channels.append(self._channels(mask, kind))
            self.rows.append(Row(f"{i:03}.png", int(mask.any()), kind, float(scores[i]), i))

    @staticmethod
    def _channels(mask: np.ndarray, kind: str) -> list[tuple[np.ndarray, int]]:
        if kind == "good":
            return []
        whole = [(mask, max(1, int(0.5 * mask.sum())))]
        rows = np.arange(mask.shape[0])[:, None] < np.flatnonzero(mask.any(axis=1)).mean() + 1
        return whole if kind == TYPES[1] else [*whole, (mask & rows, min(5, int((mask & rows).sum())))]

    def truth(self, row: Row) -> GroundTruth:
        channels = self.channels[row.index]
        mask = np.any([mask for mask, _ in channels], axis=0) if channels else np.zeros((32, 32), bool)
        return GroundTruth(mask, [Channel(mask, area) for mask, area in channels])

    def evaluated(self, rows: list[Row] | None = None, protocol: EvaluationProtocol = LOCO) -> CellMetrics:
        return evaluate_cell(
            rows or self.rows,
            lambda row: self.maps[row.index],
            self.truth,
            protocol=protocol,
            thresholds=POINTS,
        )

    def against_normals(self, kind: str) -> list[int]:
        return [row.index for row in self.rows if row.defect_type in ("good", kind)]


def test_loco_takes_spro_of_each_type_against_the_normals_and_averages_the_two() -> None:
    cell = LocoCell()
    found = cell.evaluated()
    expected = {}
    for report in found.per_defect:
        chosen = cell.against_normals(report.defect_type)
        expected[report.defect_type] = brute_force_spro(
            cell.maps[chosen], [cell.channels[i] for i in chosen], LOCO.spro_limits
        )
        for name, value in expected[report.defect_type].items():
            assert report.metrics[name] == pytest.approx(value, abs=1e-5)
    assert tuple(expected) == TYPES
    for limit in (0.01, 0.05, 0.1, 0.3, 1):
        name = f"spro_{limit:g}"
        assert found.metrics[name] == pytest.approx(
            np.mean([expected[kind][name] for kind in TYPES]), abs=1e-5
        )
    assert not any(name.startswith("aupro") for name in found.metrics)
    assert found.reasons == {}


def test_locos_image_auroc_is_the_mean_of_logical_and_structural() -> None:
    cell = LocoCell()
    found = cell.evaluated()
    of_scores, of_maxima = [], []
    for kind in TYPES:
        rows = [cell.rows[i] for i in cell.against_normals(kind)]
        labels = [row.label for row in rows]
        of_scores.append(roc_auc_score(labels, [row.score for row in rows]))
        of_maxima.append(roc_auc_score(labels, [cell.maps[row.index].max() for row in rows]))
    assert of_scores[0] != of_scores[1]
    assert found.metrics["image_auroc"] == pytest.approx(np.mean(of_scores))
    assert found.metrics["map_max_auroc"] == pytest.approx(np.mean(of_maxima))
    assert [report.metrics["image_auroc"] for report in found.per_defect] == pytest.approx(of_scores)


def test_locos_intervals_are_those_of_the_means() -> None:
    cell = LocoCell()
    found = cell.evaluated()
    kinds = [[row for row in cell.rows if row.defect_type == kind] for kind in TYPES]
    normals = sum(row.label == 0 for row in cell.rows)
    defects = evenly_weighted([len(rows) for rows in kinds])
    for name in ("image_auroc", "map_max_auroc"):
        interval = found.intervals[name]
        assert (interval.n_normal, interval.n_anomalous) == (normals, defects)
        assert (interval.low, interval.high) == interval_of_auroc(found.metrics[name], normals, defects)
    counted = {row.image: row for row in cell.rows}

    def mean_without(image: str) -> float:
        rows = [row for row in counted.values() if row.image != image]
        return cell.evaluated(rows).metrics["spro_0.3"]

    parts = [
        np.array([mean_without(row.image) for row in rows])
        for rows in ([row for row in cell.rows if row.label == 0], *kinds)
    ]
    expected = left_out_interval(found.metrics["spro_0.3"], parts)
    interval = found.intervals["spro_0.3"]
    assert interval.low == pytest.approx(expected.low, abs=0.02)
    assert interval.high == pytest.approx(expected.high, abs=0.02)


def test_a_rare_kind_counts_for_more_than_its_share_and_a_single_image_tells_nothing_of_its_pixels() -> None:
    cell = LocoCell()
    (first, *_) = [row for row in cell.rows if row.defect_type == TYPES[1]]
    found = cell.evaluated([row for row in cell.rows if row is not first])
    assert found.intervals["image_auroc"].n_anomalous == pytest.approx(4 / (1 / 2 + 1)) != 3
    assert math.isfinite(found.metrics["spro_0.3"]) and "spro_0.3" not in found.intervals
    assert "pixel_auroc" in found.intervals, "it is pooled over both kinds"


def test_locos_curve_is_the_mean_of_both_and_has_the_area_that_is_reported() -> None:
    found = LocoCell().evaluated()
    curve = found.pixel_curves["spro"]
    assert "pro" not in found.pixel_curves
    area = np.sum(np.diff(curve.x) * (curve.y[1:] + curve.y[:-1])) / 2
    assert area == pytest.approx(found.metrics["spro_1"], abs=2e-3)
    assert np.all(np.diff(curve.x) >= 0) and np.all(np.diff(curve.y) >= -1e-12)


def test_without_one_of_locos_types_there_is_no_mean() -> None:
    cell = LocoCell()
    found = cell.evaluated([row for row in cell.rows if row.defect_type != TYPES[0]])
    why = "a mean over logical_anomalies and structural_anomalies: there are no logical_anomalies"
    for name in ("image_auroc", "map_max_auroc", "spro_0.05"):
        assert math.isnan(found.metrics[name]) and found.reasons[name] == why
    assert found.metrics["pixel_auroc"] > 0.5
    assert found.per_defect[0].metrics["spro_0.05"] is not None


def test_a_saturation_area_of_0_names_the_image() -> None:
    cell = LocoCell()
    cell.channels[1][0] = (cell.channels[1][0][0], 0)
    with pytest.raises(ValueError, match=r"001\.png: a channel of \d+ pixels has the saturation area 0"):
        cell.evaluated()


def test_seg_f1_is_f1_of_the_pooled_pixels_at_the_threshold_of_normals() -> None:
    cell = LocoCell()
    found = cell.evaluated(protocol=PROTOCOLS["mvtec_ad2"])
    masks = np.stack([cell.truth(row).mask for row in cell.rows])
    called = cell.maps > POINTS.segmentation.threshold
    assert found.metrics["seg_f1"] == pytest.approx(f1_score(masks.ravel(), called.ravel()))
    for report in found.per_defect:
        chosen = cell.against_normals(report.defect_type)
        expected = f1_score(masks[chosen].ravel(), called[chosen].ravel())
        assert report.metrics["seg_f1"] == pytest.approx(expected)
    assert set(found.metrics) >= {"aupro_0.05", "seg_f1"}
    assert "aupro_0.3" not in found.metrics
    assert found.segmentation is not None
    assert (found.segmentation.threshold, found.segmentation.source, found.segmentation.n) == (
        1.5, "validation", 8,
    )  # fmt: skip
    assert found.segmentation.f1 == found.metrics["seg_f1"]


def test_seg_f1s_threshold_is_that_of_normal_maps_whatever_the_test_images_are() -> None:
    """Mean + 3 std of all pixels of the normals' maps; the best F1 of the test images is another, higher figure."""
    normals = np.random.default_rng(5).normal(2.0, 0.5, (8, 40, 40))
    point = SegmentationPoint.of_normal_maps(float(normals.mean()), float(normals.std()), 8, "validation")
    assert point.threshold == pytest.approx(
        normals.mean() + 3 * np.sqrt(np.mean((normals - normals.mean()) ** 2))
    )
    cell = LocoCell()
    first = cell.evaluated(protocol=PROTOCOLS["mvtec_ad2"])
    swapped = [replace(row, score=-row.score) for row in cell.rows]
    again = cell.evaluated(swapped, PROTOCOLS["mvtec_ad2"])
    assert first.segmentation == again.segmentation
    assert first.metrics["seg_f1"] <= first.metrics["pixel_f1_max"]


def test_without_normal_maps_there_is_no_seg_f1() -> None:
    none = SegmentationPoint.of_normal_maps(None, None, 0, "none: one reference image")
    cell = LocoCell()
    found = evaluate_cell(
        cell.rows,
        lambda row: cell.maps[row.index],
        cell.truth,
        protocol=PROTOCOLS["mvtec_ad2"],
        thresholds=replace(POINTS, segmentation=none),
    )
    assert math.isnan(found.metrics["seg_f1"])
    assert found.reasons["seg_f1"] == "no threshold: one reference image"
    assert found.per_defect[0].reasons["seg_f1"] == "no threshold: one reference image"
    assert found.metrics["aupro_0.05"] > 0


def test_aupimo_is_the_mean_over_anomalous_images_in_any_order() -> None:
    maps, masks = smooth_maps(8, 240, seed=2, defect=5.0)
    rows = [
        Row(f"{i}.png", int(mask.any()), "ab"[i // 4] if mask.any() else "good", 0.0, i)
        for i, mask in enumerate(masks)
    ]

    def evaluated(rows: list[Row]) -> CellMetrics:
        return evaluate_cell(
            rows,
            lambda row: maps[row.index],
            lambda row: GroundTruth(masks[row.index]),
            protocol=EvaluationProtocol(aupimo=True),
            thresholds=POINTS,
        )

    found = evaluated(rows)
    by_type = {report.defect_type: report.metrics["aupimo"] for report in found.per_defect}
    assert found.metrics["aupimo"] == pytest.approx(np.mean(list(by_type.values())))  # two images of each
    assert 0.05 < found.metrics["aupimo"] < 0.95
    assert by_type["a"] != by_type["b"]
    assert evaluated(rows[::-1]).metrics == found.metrics


def test_aupimo_of_few_normal_pixels_is_undefined_with_the_reason() -> None:
    found = LocoCell().evaluated(protocol=EvaluationProtocol(aupimo=True))
    assert math.isnan(found.metrics["aupimo"])
    assert "100000 are needed" in found.reasons["aupimo"]
    assert "100000 are needed" in found.per_defect[0].reasons["aupimo"]


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("mvtec_ad", {"aupro_limits": [0.3, 0.05]}),
        (
            "mvtec_loco",
            {
                "spro_limits": [0.01, 0.05, 0.1, 0.3, 1.0],
                "averaged_types": ["logical_anomalies", "structural_anomalies"],
            },
        ),
        ("mvtec_ad2", {"aupro_limits": [0.05], "seg_f1": True}),
    ],
)
def test_a_protocols_recipe_has_what_is_measured_and_nothing_else(name: str, recipe: dict[str, Any]) -> None:
    assert PROTOCOLS[name].recipe() == recipe
    assert replace(PROTOCOLS[name], aupimo=True).recipe() == {**recipe, "aupimo": True}
