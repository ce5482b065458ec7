"""What stands in a report where something is missing or odd: reasons, refusals, operating points."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.metrics.made_pixels import Row
from tests.metrics.test_report import INTERVAL, content
from uad_orchestrator.metrics import MetricsReport, OperatingPoint, PixelCounts, calibrate
from uad_orchestrator.metrics.bootstrap import interval
from uad_orchestrator.metrics.cell import CellMetrics, Thresholds, evaluate_cell
from uad_orchestrator.metrics.image_metrics import threshold_metrics
from uad_orchestrator.metrics.pixels.left_out import outline_of
from uad_orchestrator.metrics.pixels.spro import Channel, GroundTruth
from uad_orchestrator.metrics.pixels.statistics import ImageOutcome, PixelStatistics, ThresholdCounts
from uad_orchestrator.metrics.pixels.weighed_pixels import weighed_by_regions
from uad_orchestrator.metrics.protocol import PROTOCOLS, EvaluationProtocol
from uad_orchestrator.metrics.report import Timings
from uad_orchestrator.metrics.thresholds import at_false_positive_rate, exceeds
from uad_orchestrator.metrics.thresholds.operating_point import SegmentationPoint

POINT = OperatingPoint(0.5, "validation", 20, 0.05)
SEGMENTATION = SegmentationPoint(0.5, "validation", 8)
LOCO = PROTOCOLS["mvtec_loco"]


def evaluated(
    rows: list[tuple[int, str, float]],
    *,
    protocol: EvaluationProtocol = EvaluationProtocol(),  # noqa: B008 - frozen
    maps: dict[int, np.ndarray] | None = None,
    truths: dict[int, GroundTruth | None] | None = None,
    **points: Any,
) -> CellMetrics:
    """Rows of (label, kind, score) on maps of 4 x 5 pixels that are right; a defect is the first row."""
    mask = np.zeros((4, 5), bool)
    mask[0] = True

    def truth(row: Row) -> GroundTruth | None:
        if truths and row.index in truths:
            return truths[row.index]
        own = mask & bool(row.label)
        return GroundTruth(own, [Channel(own, 2)] if row.label else [])

    def anomaly_map(row: Row) -> np.ndarray:
        if maps and row.index in maps:
            return maps[row.index]
        return np.where(mask & bool(row.label), 1.0, 0.0).astype(np.float32)

    return evaluate_cell(
        [Row(f"{i}.png", label, kind, score, i) for i, (label, kind, score) in enumerate(rows)],
        anomaly_map,
        truth,
        protocol=protocol,
        thresholds=Thresholds(**({"image": POINT, "pixel": POINT, "segmentation": SEGMENTATION} | points)),
    )


NORMAL, DENT, HOLE = (0, "good", 0.1), (1, "dent", 0.9), (1, "hole", 0.4)


def test_the_interval_is_the_middle_95_percent() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert interval(np.full(7, 0.5)) == (0.5, 0.5)


def test_every_type_that_a_mean_lacks_is_named() -> None:
    found = evaluated([NORMAL, DENT], protocol=LOCO)
    why = "a mean over logical_anomalies and structural_anomalies: there are no "
    assert found.reasons["image_auroc"] == why + "logical_anomalies and structural_anomalies"
    assert "spro" in found.pixel_curves, "the curve of all images, where there is no mean of two"
    one = evaluated([NORMAL, (1, "logical_anomalies", 0.9)], protocol=LOCO)
    assert one.reasons["spro_0.05"] == why + "structural_anomalies"


def test_a_mean_over_types_without_a_figure_has_the_reason_that_they_share() -> None:
    rows = [(1, "logical_anomalies", 0.9), (1, "structural_anomalies", 0.8)]
    found = evaluated(rows, protocol=LOCO)
    assert math.isnan(found.metrics["image_auroc"])
    assert found.reasons["image_auroc"] == found.reasons["map_max_auroc"] == "no good test images"
    both = evaluated([NORMAL, *rows], protocol=LOCO)
    assert both.metrics["image_auroc"] == both.metrics["map_max_auroc"] == 1.0
    assert both.reasons == {} and both.metrics["spro_1"] == pytest.approx(1.0)


def test_types_are_reported_in_order_each_with_its_own_figures() -> None:
    found = evaluated([HOLE, NORMAL, DENT, (1, "hole", 0.6), (0, "good", 0.5)])
    assert [(report.defect_type, report.n) for report in found.per_defect] == [("dent", 1), ("hole", 2)]
    dent, hole = found.per_defect
    assert dent.metrics["recall"] == 1.0 and hole.metrics["recall"] == 0.5
    assert dent.metrics["image_auroc"] == 1.0 and hole.metrics["image_auroc"] == 0.75
    assert dent.metrics["pixel_auroc"] == hole.metrics["pixel_auroc"] == 1.0
    assert set(dent.metrics) == {
        "image_auroc", "image_ap", "recall", "pixel_auroc", "pixel_ap", "aupro_0.3", "aupro_0.05",
    }  # fmt: skip
    assert set(found.metrics) == {
        "image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_0.3", "aupro_0.05",
    }  # fmt: skip


def test_at_a_threshold_every_figure_is_there_or_says_why_not() -> None:
    found = evaluated([NORMAL, DENT, HOLE])
    image, pixel = found.image_point, found.pixel_point
    assert (image.threshold, image.source, image.n, image.contamination) == (0.5, "validation", 20, 0.05)
    assert (image.precision, image.recall, image.false_positive_rate, image.reasons) == (1.0, 0.5, 0.0, {})
    assert (image.f1, image.iou) == (pytest.approx(2 / 3), 0.5)
    assert (pixel.precision, pixel.recall, pixel.f1, pixel.iou, pixel.reasons) == (1.0, 1.0, 1.0, 1.0, {})
    assert found.segmentation is None, "only where the protocol asks for it"
    none = OperatingPoint(math.nan, "none: one reference image", 0, 0.05)
    without = evaluated([NORMAL, DENT], image=none, pixel=none)
    figures = ("precision", "recall", "f1", "iou", "false_positive_rate", "threshold")
    promise = ("guaranteed_rate", "false_positive_limit")
    silent = dict.fromkeys((*figures, *promise), "no threshold: one reference image")
    assert without.image_point.reasons == without.pixel_point.reasons == silent
    assert without.per_defect[0].reasons["recall"] == "no threshold: one reference image"
    only_normals = evaluated([NORMAL, NORMAL])
    assert only_normals.image_point.reasons == {
        "precision": "nothing scores above the threshold",
        **dict.fromkeys(("recall", "f1", "iou"), "no defective test images"),
    }
    assert only_normals.reasons["aupro_0.3"] == only_normals.reasons["image_ap"] == "no defective test images"
    only_defects = evaluated([DENT, DENT])
    assert only_defects.image_point.reasons == {"false_positive_rate": "no good test images"}
    assert only_defects.reasons["image_auroc"] == "no good test images"


def test_without_any_mask_there_are_no_pixel_figures() -> None:
    found = evaluated(
        [NORMAL, DENT, HOLE],
        truths={1: None, 2: None},
        protocol=replace(PROTOCOLS["mvtec_ad2"], aupimo=True),
    )
    why = "no masks"
    assert {name for name, reason in found.reasons.items() if reason == why} == {
        "pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_0.05", "seg_f1", "aupimo",
    }  # fmt: skip
    assert found.metrics["image_auroc"] == 1.0 and found.pixel_curves == {}
    assert found.pixel_point.reasons["iou"] == why and found.pixel_point.threshold == 0.5
    assert found.segmentation is not None and found.segmentation.reasons["f1"] == why
    assert found.per_defect[0].reasons["pixel_ap"] == why


def test_seg_f1_without_defects_or_without_a_threshold_says_why() -> None:
    only_normals = evaluated([NORMAL], protocol=PROTOCOLS["mvtec_ad2"])
    assert only_normals.reasons["seg_f1"] == "no defective test images"
    assert only_normals.segmentation is not None and only_normals.segmentation.false_positive_rate == 0.0
    right = evaluated([NORMAL, DENT], protocol=PROTOCOLS["mvtec_ad2"])
    assert right.metrics["seg_f1"] == 1.0 and right.segmentation is not None
    assert (right.segmentation.threshold, right.segmentation.precision) == (0.5, 1.0)
    nowhere = evaluated(
        [NORMAL, DENT],
        protocol=PROTOCOLS["mvtec_ad2"],
        segmentation=SegmentationPoint(math.nan, "none: no normal maps", 0),
    )
    assert nowhere.reasons == {"seg_f1": "no threshold: no normal maps"}
    assert nowhere.segmentation is not None
    assert nowhere.segmentation.reasons["threshold"] == "no threshold: no normal maps"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"maps": {1: np.full((4, 5), np.nan, np.float32)}},
            r"^1\.png: 20 of 20 pixels of the \(4, 5\) anomaly map",
        ),
        (
            {"maps": {0: np.zeros((4, 6), np.float32)}},
            r"^0\.png: the mask is \(4, 5\), the anomaly map \(4, 6\)",
        ),
        (
            {"maps": {1: np.zeros((4, 5, 1), np.float32)}},
            r"^1\.png: expected an anomaly map of shape \(H, W\)",
        ),
        ({"maps": {1: np.zeros((4, 5), np.uint8)}}, r"^1\.png: the anomaly map is uint8"),
        (
            {"truths": {0: GroundTruth(np.ones((4, 5), bool))}},
            r"^0\.png: labelled normal, but its mask shows 20 pixels$",
        ),
        (
            {"truths": {1: GroundTruth(np.zeros((4, 5)))}},
            r"^1\.png: expected a mask of bool or integers, got float64",
        ),
    ],
)
def test_what_is_wrong_with_an_image_is_said_with_its_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluated([NORMAL, DENT], **changes)


def test_counts_at_a_threshold_add_up_and_are_none_without_one() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.random((2, 6, 7)), rng.random((2, 6, 7)) < 0.3
    counts = ThresholdCounts(0.5)
    parts = [counts.of(s, t.astype(np.uint8) * 255) for s, t in zip(scores, truth, strict=True)]
    both = parts[0] + parts[1]
    called = scores > 0.5
    assert (both.tp, both.fp) == ((called & truth).sum(), (called & ~truth).sum())
    assert (both.fn, both.tn) == ((~called & truth).sum(), (~called & ~truth).sum())
    figures = both.metrics()
    assert figures == threshold_metrics(scores.ravel(), truth.ravel().astype(int), 0.5)
    nowhere = ThresholdCounts(math.nan).of(scores[0], truth[0])
    assert (nowhere.tp, nowhere.fp, nowhere.tn, nowhere.fn) == (0, 0, 0, 0) and nowhere.metrics() is None


def outcome(kind: str, label: int, maximum: float, aupimo: float | None) -> ImageOutcome:
    nowhere = ThresholdCounts(math.nan)
    outline = outline_of(weighed_by_regions(np.eye(3), np.zeros((3, 3), bool)), 4)
    return ImageOutcome(kind, label, maximum, aupimo, outline, nowhere, nowhere)


def test_empty_statistics_add_nothing() -> None:
    nothing = PixelStatistics.empty("spro")
    assert (
        nothing.at_pixel_threshold.metrics() is None and nothing.at_segmentation_threshold.metrics() is None
    )
    assert math.isnan(nothing.mean_aupimo()) and math.isnan(nothing.map_max_auroc())
    counted = PixelCounts("spro")
    counted.update_channels(np.eye(3), [Channel(np.eye(3) > 0, 2)])
    some = PixelStatistics(
        counted,
        ThresholdCounts(1.0, 1, 2, 3, 4),
        ThresholdCounts(2.0, 5, 6, 7, 8),
        (outcome("hole", 1, 0.5, 0.25), outcome("good", 0, 0.1, None)),
        ("a", "b"),
    )
    for total in (some + nothing, nothing + some):
        assert total.counts.compute() == counted.compute()
        assert (total.images, total.without_mask) == (some.images, ("a", "b"))
        assert (total.at_pixel_threshold.tp, total.at_segmentation_threshold.fn) == (1, 8)
    twice = some + some
    assert (twice.mean_aupimo(), twice.map_max_auroc(), len(twice.without_mask)) == (0.25, 1.0, 4)
    assert twice.at_pixel_threshold == ThresholdCounts(1.0, 2, 4, 6, 8)


def test_a_report_is_indented_strict_json_in_the_schemas_order() -> None:
    text = MetricsReport(**content()).to_json()
    assert text.endswith("}\n") and text.startswith('{\n "reasons"')
    told = json.loads(text)
    assert list(told) == list(MetricsReport.model_fields)
    unknown = content()
    unknown["intervals"] = {"image_auroc": INTERVAL | {"low": math.nan}}
    with pytest.raises(ValueError, match="JSON"):
        MetricsReport(**unknown).to_json()


def test_seconds_that_are_not_known_need_a_reason() -> None:
    names = [name for name in Timings.model_fields if name != "reasons"]
    seconds = dict.fromkeys(names, 1.0)
    for name in names:
        with pytest.raises(ValidationError, match=f"no reason is given for the undefined {name}"):
            Timings(**seconds | {name: None})
        known = Timings(**seconds | {name: None}, reasons={name: "nothing was scored"})
        assert known.figures() == seconds | {name: None}
        with pytest.raises(ValidationError, match=f"a reason is given for {name}, which is defined"):
            Timings(**seconds, reasons={name: "why"})


def test_an_operating_point_keeps_its_contamination_and_its_reason_whatever_is_missing() -> None:
    nothing = calibrate([], 0.2, "validation")
    assert (nothing.contamination, nothing.n) == (0.2, 0)
    assert nothing.to_json() == {
        "threshold": None, "source": nothing.source, "n": 0, "contamination": 0.2,
        "guaranteed_rate": None, "false_positive_limit": None,
    }  # fmt: skip
    assert nothing.reason == "no normal images left to calibrate on (validation)"
    assert calibrate([0.5], 0.4, "none: kept").source.startswith(
        "none: kept; largest of 1 scores, guaranteed 0.5: 2 or more"
    )
    few = at_false_positive_rate([0.5], 0.4, "validation")
    assert math.isnan(few.threshold) and (few.n, few.contamination) == (1, 0.4)
    assert (
        few.reason
        == "1 normals cannot support a false-positive rate of 40 %: 2 or more are needed (validation)"
    )
    assert at_false_positive_rate([], 0.4, "none: no normals").reason == "no normals"
    assert at_false_positive_rate([0.5, 0.7], 0.4, "validation").threshold == 0.7
    with pytest.raises(ValueError) as error:
        calibrate([0.1, math.nan, math.inf], 0.1, "held_out")
    assert str(error.value) == (
        "2 of 3 calibration scores (held_out) are not finite; a threshold needs finite scores: look for the "
        "images that gave them"
    )


def test_the_threshold_of_seg_f1_needs_both_figures() -> None:
    for mean, std in ((None, None), (1.0, None), (None, 1.0)):
        point = SegmentationPoint.of_normal_maps(mean, std, 4, "none: no maps")
        assert math.isnan(point.threshold) and (point.source, point.n) == ("none: no maps", 0)


def test_whatever_is_compared_with_a_threshold_is_compared_exactly() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        scores = np.array([[0.25, 0.5, 0.75]], dtype)
        assert exceeds(scores, 0.5).tolist() == [[False, False, True]]
        assert exceeds(scores, np.nextafter(0.5, 0)).tolist() == [[False, True, True]]
    assert exceeds(np.array([1, 2, 3]), 2).tolist() == [False, False, True]
    assert exceeds([0.1, 0.7], 0.5).tolist() == [False, True]  # type: ignore[arg-type]
    with np.errstate(all="raise"):
        assert exceeds(np.float32([1.0, -1.0]), 1e300).tolist() == [False, False]
        assert exceeds(np.float32([1.0, -1.0]), -1e300).tolist() == [True, True]
    with pytest.raises(ValueError, match="the threshold is NaN"):
        exceeds(np.zeros(3), math.nan)
