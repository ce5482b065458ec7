"""The model card says how good a bundle is, by the metrics that the board has."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

from tests.reporting.cells import report, review
from uad_orchestrator.inference.model_card import model_card
from uad_orchestrator.metrics import Pin, pinned_point
from uad_orchestrator.metrics.catalogue import metrics_of
from uad_orchestrator.metrics.intervals import interval_of_auroc
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint


def test_each_metric_and_what_the_threshold_does_is_a_line() -> None:
    point = OperatingPoint(0.5, "validation", 20, 0.05)
    calibration = SimpleNamespace(image_point=point, pixel_point=point, review_point=None)
    bundle = SimpleNamespace(name="bottle", model="vision_patchcore", embedder=None, calibration=calibration)
    made = report(pixels=False)
    card = model_card(bundle, made, ["odd_normals: one image"]).splitlines()  # type: ignore[arg-type]
    assert "| image score | 0.5 | validation | 20 | 0.05 | 0.0476 | 0.139 |" in card
    assert "- odd_normals: one image" in card
    low, high = interval_of_auroc(made.metrics["image_auroc"], 12, 15)
    assert f"| image_auroc | {made.metrics['image_auroc']:.4f} | {low:.4f} to {high:.4f} |" in card
    assert "| pixel_ap | none: no ground-truth masks |  |" in card
    at_threshold = [line.split()[1] for line in card if "at the benchmark's image threshold" in line]
    assert at_threshold == ["precision", "recall", "f1", "false_positive_rate"]
    assert set(at_threshold) == {m.name for m in metrics_of("operating point") if m.on_board}


def test_what_people_chose_and_what_they_have_to_look_at_is_said() -> None:
    point = OperatingPoint(0.5, "validation", 20, 0.05)
    pin = Pin(threshold=0.4, chosen_on="test labels", by="anna", at=date(2026, 11, 27), why="a|b")
    begin = OperatingPoint(0.3, "validation", 20, 0.3)
    calibration = SimpleNamespace(image_point=pinned_point(pin, point), pixel_point=point, review_point=begin)
    bundle = SimpleNamespace(name="bottle", model="vision_patchcore", embedder=None, calibration=calibration)
    made = report().model_copy(update={"review": review(normals=3, defects=3)})
    card = model_card(bundle, made)  # type: ignore[arg-type]
    said = r"pinned by anna on 2026-11-27: a\|b; chosen on test labels"
    assert f"| image score | 0.4 | {said} | 0 |  | nothing | nothing |" in card
    assert "| begin of review | 0.3 | validation | 20 | 0.3 | 0.286 |" in card
    assert "flattered by the figures below" in card
    assert "that is 25.0% of the good ones and 20.0% of the defective ones." in card
