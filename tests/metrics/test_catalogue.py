"""The catalogue has a row for each metric that is computed, none for any other, and docs/metrics.md shows them all."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.metrics.test_protocols import LOCO, LocoCell
from tests.reporting.cells import report
from uad_orchestrator.metrics import catalogue
from uad_orchestrator.metrics.catalogue import AUPRO, AUPRO_LIMITS, METRICS, Metric, find
from uad_orchestrator.metrics.image_metrics import threshold_metrics
from uad_orchestrator.metrics.protocol import PROTOCOLS, EvaluationProtocol
from uad_orchestrator.metrics.report import OperatingPointReport, SegmentationReport

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

INVENTED = Metric(
    "pixel_error", "pixel error", "pixel", "Share of the pixels.", "nobody", direction="lower", headline=9
)


def with_limit(metric: Metric) -> Metric:
    """The metric, of a family a member."""
    return metric if metric.limits is None else metric.at(0.1)


def test_each_metric_of_images_and_pixels_is_a_row_and_each_row_is_computed() -> None:
    """Over all protocols, with everything they can be asked for."""
    asked = {"aupimo": True, "seg_f1": True}
    protocols = [replace(protocol, **asked) for protocol in PROTOCOLS.values()]
    found = [LocoCell().evaluated(protocol=protocol) for protocol in protocols]
    computed = {name for cell in found for name in cell.metrics}
    assert all(find(name) is not None for name in computed)
    rows = {metric.name for metric in catalogue.metrics_of("image", "pixel")}
    assert {
        name.rpartition("_")[0] if re.search(r"pro_[0-9.]+$", name) else name for name in computed
    } == rows


def test_what_is_always_there_is_measured_when_nothing_is_asked_for() -> None:
    found = LocoCell().evaluated(protocol=EvaluationProtocol(aupro_limits=(0.1,)))
    always = [metric.name for metric in catalogue.metrics_of("image", "pixel") if metric.always]
    assert list(found.metrics) == [*always, "aupro_0.1"]
    assert set(catalogue.board_metrics()) - set(found.metrics) == {"aupro_0.3", "aupro_0.05"}


def test_each_defect_type_has_the_metrics_that_say_so() -> None:
    found = LocoCell().evaluated(protocol=replace(LOCO, aupimo=True, seg_f1=True))
    wanted = {metric.name for metric in METRICS if metric.per_defect} - {"aupro", "spro"}
    for defect in found.per_defect:
        assert set(defect.metrics) == wanted | set(LOCO.overlap_names)


def test_the_figures_at_a_threshold_are_those_of_the_catalogue() -> None:
    rows = {metric.name for metric in catalogue.metrics_of("operating point")}
    assert set(threshold_metrics([0.1, 0.9], [0, 1], 0.5).figures()) == rows
    for schema in (OperatingPointReport, SegmentationReport):
        assert set(schema.model_fields) == rows | {"threshold", "source", "n", "reasons", "intervals"} | (
            {"contamination", "guaranteed_rate", "false_positive_limit", "false_positive_rate_from", "pinned"}
            if schema is OperatingPointReport
            else set()
        )


def test_a_report_has_each_metric_under_its_name() -> None:
    made = report()
    for metric in METRICS:
        name = AUPRO.at(0.3).name if metric is AUPRO else metric.name
        if metric.always:
            value = made.value(name)
            assert value is not None
            known = [*made.metrics.values(), *made.image_operating_point.figures().values()]
            assert value in [*known, *made.timings.figures().values(), made.bank.rows, made.bank.bytes]
    assert made.value("bank_rows") == made.bank.rows
    assert made.value("seconds_per_image_p95") == made.timings.seconds_per_image_p95
    assert made.value("recall") == made.image_operating_point.recall
    with pytest.raises(KeyError, match=r"spro_0\.05"):
        made.value("spro_0.05")


def test_rows_are_told_apart_and_say_what_they_are() -> None:
    for part in ("name", "heading", "explanation"):
        texts = [getattr(metric, part) for metric in METRICS]
        assert len(set(texts)) == len(texts) and all(texts)
    places = [metric.headline for metric in METRICS if metric.headline is not None]
    assert sorted(places) == list(range(1, len(places) + 1))
    for metric in METRICS:
        assert ("{limit}" in metric.explanation) == (metric.limits is not None)
        assert (metric.headline_limit is not None) == (
            metric.headline is not None and metric.limits is not None
        )
        assert find(with_limit(metric).name) == with_limit(metric)
    assert EvaluationProtocol().aupro_limits == AUPRO_LIMITS == AUPRO.limits


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.5, float("nan")])
def test_a_limit_is_a_rate(limit: float) -> None:
    with pytest.raises(ValueError, match=r"AUPRO is a false-positive rate in \(0, 1\]"):
        AUPRO.at(limit)
    assert find(f"aupro_{limit:g}") is None


def test_what_is_no_family_has_no_limit() -> None:
    with pytest.raises(ValueError, match="recall has no limit"):
        next(metric for metric in METRICS if metric.name == "recall").at(0.1)


def test_names_come_in_the_order_of_the_rows_and_wide_limits_first() -> None:
    names = [
        "recall",
        "spro_0.05",
        "zz",
        "aupro_0.05",
        "aupro_0.3",
        "image_auroc",
        "aupro_1",
        "an unknown one",
    ]
    expected = (
        "image_auroc",
        "aupro_1",
        "aupro_0.3",
        "aupro_0.05",
        "spro_0.05",
        "recall",
        "an unknown one",
        "zz",
    )
    assert catalogue.in_reading_order(names) == expected


def page_line(metric: Metric) -> str:
    """The row of the page's table."""
    name, heading = metric.name, metric.heading
    if metric.limits is not None:
        name, heading = f"{name}_<limit>", f"{heading}@`<limit>`"
    explanation = metric.explanation.format(limit="`<limit>`")
    words = (f"`{name}`", heading, metric.scope, metric.direction, explanation, metric.follows)
    return f"| {' | '.join((*words, metric.interval or ''))} |"


def page_lines() -> list[str]:
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]


def test_the_page_has_a_line_for_each_metric() -> None:
    assert page_lines() == [page_line(metric) for metric in METRICS]


def test_a_new_metric_has_to_come_into_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "METRICS", (*METRICS, INVENTED))
    expected = [page_line(metric) for metric in catalogue.METRICS]
    assert [line for line in expected if line not in page_lines()] == [
        "| `pixel_error` | pixel error | pixel | lower | Share of the pixels. | nobody |  |"
    ]
