"""The model card says how good a bundle is, by the metrics that the board has."""

from __future__ import annotations

from types import SimpleNamespace

from tests.reporting.cells import report
from uad_orchestrator.inference.model_card import model_card
from uad_orchestrator.metrics.catalogue import metrics_of
from uad_orchestrator.metrics.intervals import interval_of_auroc
from uad_orchestrator.metrics.operating_point import OperatingPoint


def test_each_metric_and_what_the_threshold_does_is_a_line() -> None:
    point = OperatingPoint(0.5, "validation", 20, 0.05)
    calibration = SimpleNamespace(image_point=point, pixel_point=point)
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
