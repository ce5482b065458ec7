"""metrics.json: one schema, complete, strict JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from uad_orchestrator.metrics import MetricsReport

INTERVAL = {"low": 0.7, "high": 0.95, "level": 0.95, "method": "some", "n_normal": 8.0, "n_anomalous": 16.0}


def content() -> dict[str, Any]:
    point = {
        "threshold": 0.5, "source": "validation", "n": 20, "contamination": 0.05, "precision": math.nan,
        "recall": 0.0, "f1": 0.0, "iou": 0.0, "false_positive_rate": 0.0,
        "reasons": {"precision": "nothing scores above the threshold"},
    }  # fmt: skip
    seconds = ("fit_seconds", "score_seconds", "maps_seconds", "metrics_seconds", "seconds_per_image_p50")
    return {
        "dataset": "demo", "category": "tile", "detector": "patchcore", "model": "vision_patchcore",
        "counts": {
            "n_train": 30, "n_validation": 0, "n_calibration": 30, "n_test_normal": 8, "n_test_anomalous": 16
        },
        "metrics": {"image_auroc": 0.9, "pixel_ap": math.nan},
        "reasons": {"pixel_ap": "no defect pixels in 8 images"},
        "intervals": {"image_auroc": INTERVAL},
        "per_defect": [{"defect_type": "stain", "n": 4, "metrics": {"image_auroc": 1.0}}],
        "unlabelled": [{"split": "test_private", "n": 3}],
        "without_mask": ["tile/test/stain/007.png"],
        "image_operating_point": point, "pixel_operating_point": point,
        "segmentation": {name: value for name, value in point.items() if name != "contamination"},
        "review": {
            "from_fpr": 0.1, "threshold": 0.4, "source": "validation", "n": 20, "share_in_review": 0.125,
            "defects_in_review": None, "intervals": {}, "reasons": {"defects_in_review": "no defective images"},
        },
        "roi": {"pixels": "excluded", "regions_outside": {"tile/test/stain/003.png": 1}},
        "timings": dict.fromkeys(seconds, 1.0) | {"seconds_per_image_p95": 2.0},
        "bank": {
            "rows": 10, "dimension": 4, "bytes": 160,
            "coverage_max": 1.0, "coverage_p99": 1.0, "coverage_mean": 0.5,
        },
        "seeds": {"fit": 0}, "versions": {"memory_bank": "abc"}, "packages": {"numpy": "2.4"},
        "runtime": {"device": "cpu", "batch_size": 8, "workers": 1, "host": "line7"},
    }  # fmt: skip


def test_nan_is_written_as_null_with_its_reason_and_read_back() -> None:
    report = MetricsReport(**content())
    text = report.to_json()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"]["pixel_ap"] is None
    assert MetricsReport.from_json(text) == report


@pytest.mark.parametrize("field", sorted(MetricsReport.model_fields.keys() - {"schema_version", "reasons"}))
def test_no_field_can_be_left_out(field: str) -> None:
    incomplete = {name: value for name, value in content().items() if name != field}
    with pytest.raises(ValidationError, match=field):
        MetricsReport(**incomplete)


def test_the_figures_of_a_threshold_are_what_may_be_undefined() -> None:
    report = MetricsReport(**content())
    names = {"threshold", "precision", "recall", "f1", "iou", "false_positive_rate"}
    promise = {"guaranteed_rate", "false_positive_limit"}
    assert report.image_operating_point.figures().keys() == names | promise
    assert report.segmentation is not None and report.segmentation.figures().keys() == names


def test_a_report_of_schema_1_is_still_read() -> None:
    written = json.loads(MetricsReport(**content()).to_json())
    earlier = {
        n: v
        for n, v in written.items()
        if n not in ("unlabelled", "segmentation", "intervals", "roi", "review")
    }
    report = MetricsReport.from_json(json.dumps(earlier | {"schema_version": 1}))
    assert (report.schema_version, report.unlabelled, report.segmentation) == (5, [], None)
    assert (report.intervals, report.roi, report.review) == ({}, None, None)


def test_what_a_threshold_promises_follows_from_reports_that_do_not_say_it() -> None:
    made = MetricsReport(**content()).image_operating_point  # n 20, contamination 0.05
    assert made.guaranteed_rate == pytest.approx(1 / 21)
    assert made.false_positive_limit == pytest.approx(1 - 0.05 ** (1 / 20))
    told = json.loads(MetricsReport(**content()).to_json())
    for name in ("guaranteed_rate", "false_positive_limit"):
        assert told["image_operating_point"][name] == getattr(made, name)
    unknown = {**content()["image_operating_point"], "source": "leave_one_group_out"}
    read = MetricsReport(**content() | {"pixel_operating_point": unknown}).pixel_operating_point
    assert read.guaranteed_rate is read.false_positive_limit is None
    assert "not recorded" in read.reasons["guaranteed_rate"]


def test_intervals_of_schema_3_are_not_read_as_they_did_not_hold() -> None:
    written = json.loads(MetricsReport(**content()).to_json())
    bootstrap = {"image_auroc": {"low": 1.0, "high": 1.0, "level": 0.95, "replicates": 2000}}
    for part in (*written["per_defect"], *(v for k, v in written.items() if k.endswith("_point"))):
        part.pop("intervals")
    written["segmentation"].pop("intervals")
    report = MetricsReport.from_json(json.dumps(written | {"intervals": bootstrap, "schema_version": 3}))
    assert (report.schema_version, report.intervals, report.image_operating_point.intervals) == (5, {}, {})
    assert report.metrics == MetricsReport(**content()).metrics
    assert report.interval("image_auroc") is report.interval("recall") is None
    with pytest.raises(ValidationError, match="replicates"):
        MetricsReport(**content() | {"intervals": bootstrap})


def test_an_undefined_figure_needs_a_reason_and_a_reason_an_undefined_figure() -> None:
    with pytest.raises(ValidationError, match="no reason is given for the undefined pixel_ap"):
        MetricsReport(**content() | {"reasons": {}})
    with pytest.raises(ValidationError, match="a reason is given for image_auroc, which is defined"):
        MetricsReport(**content() | {"metrics": {"image_auroc": 1.0}, "reasons": {"image_auroc": "why"}})


def test_unknown_fields_infinities_and_other_schemas_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        MetricsReport(**content(), auroc=1.0)
    with pytest.raises(ValidationError, match="infinite figure"):
        MetricsReport(**content() | {"metrics": {"image_auroc": math.inf}, "reasons": {}})
    with pytest.raises(ValidationError, match="schema_version 99"):
        MetricsReport(**content(), schema_version=99)
