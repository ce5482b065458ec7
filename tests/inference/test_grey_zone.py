"""Decisions in results, bundles, the command and the service; pinned thresholds in bundles."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import pytest
from starlette.testclient import TestClient

from tests.cli.invoke import uad
from tests.inference.test_bundle import rewrite
from tests.orchestration.workshop import normal_image
from uad_orchestrator.inference import Bundle, BundleError, infer, load_bundle, save_bundle
from uad_orchestrator.inference.service.http_app import create_app
from uad_orchestrator.inference.service.request_queue import RequestQueue
from uad_orchestrator.metrics import OperatingPoint, Pin, pinned_point

FROM_FPR = 0.3


def scores_of(bundle: Bundle, images: dict[str, Path]) -> dict[str, float]:
    return {name: next(infer(bundle, [path], include_maps=False)).score for name, path in images.items()}


def zoned(bundle: Bundle, begin: float, end: float) -> Bundle:
    """With review between two scores."""
    known = bundle.calibration
    review = OperatingPoint(begin, "leave_one_image_out", 8, FROM_FPR)
    return replace(
        bundle,
        calibration=replace(
            known, image_point=replace(known.image_point, threshold=end), review_point=review
        ),
    )


@pytest.fixture
def reviewing(bundle: Bundle, images: dict[str, Path]) -> Bundle:
    """A bundle that passes the lower of two normal images, reviews the other, and rejects the defect."""
    scores = scores_of(bundle, images)
    low, high = sorted((scores["a"], scores["c"]))
    assert low < high < scores["b"]
    return zoned(bundle, (low + high) / 2, (high + scores["b"]) / 2)


@pytest.fixture
def folder(reviewing: Bundle, tmp_path: Path) -> Path:
    return save_bundle(reviewing, tmp_path / "reviewing")


def test_a_result_has_a_decision_and_keeps_its_label(reviewing: Bundle, images: dict[str, Path]) -> None:
    found = {Path(r.name).stem: (r.decision, r.label) for r in infer(reviewing, images.values())}
    assert found["b"] == ("reject", 1)
    assert {found["a"], found["c"]} == {("pass", 0), ("review", 0)}


def test_without_review_it_is_pass_or_reject(bundle: Bundle, images: dict[str, Path]) -> None:
    results = list(infer(bundle, images.values()))
    assert [r.decision for r in results] == [("pass", "reject")[r.label or 0] for r in results]
    detector = bundle.detector()
    assert [r.decision for r in infer(detector, images.values())] == [r.decision for r in results]
    lowest = OperatingPoint(-1.0, "validation", 8, FROM_FPR)
    decisions = [r.decision for r in infer(detector, images.values(), review_point=lowest)]
    assert decisions == ["review", "reject", "review"]


def test_what_cannot_be_decided_says_why(
    undecided: Bundle, reviewing: Bundle, images: dict[str, Path]
) -> None:
    (result,) = infer(undecided, [images["a"]])
    assert result.decision is result.label is None
    assert result.reasons["decision"] == result.reasons["label"] != ""
    few = replace(reviewing.calibration.review_point, threshold=math.nan, source="none: too few normals")
    calibration = replace(reviewing.calibration, review_point=few)
    (result,) = infer(replace(reviewing, calibration=calibration), [images["a"]])
    assert (result.decision, result.label, result.reasons["decision"]) == (None, 0, "too few normals")


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_decides_nothing(
    reviewing: Bundle, images: dict[str, Path], score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = reviewing.detector()
    respond = detector.respond
    monkeypatch.setattr(detector, "respond", lambda *a: (replace(r, score=score) for r in respond(*a)))
    with pytest.raises(ValueError, match="nothing can be decided"):
        list(infer(detector, images.values()))


def test_a_bundle_takes_grey_zone_and_pins_along(reviewing: Bundle, tmp_path: Path) -> None:
    pin = Pin(
        threshold=reviewing.calibration.image_point.threshold, by="anna", at=date(2026, 11, 27), why="audit"
    )
    rate = Pin(fpr=0.2, chosen_on="normals", by="bert", at=date(2026, 1, 2))
    known = reviewing.calibration
    calibration = replace(
        known,
        image_point=pinned_point(pin, known.image_point),
        pixel_point=pinned_point(rate, known.pixel_point, known.maxima),
    )
    folder = save_bundle(replace(reviewing, calibration=calibration), tmp_path / "pinned")
    loaded = load_bundle(folder).calibration
    assert loaded == calibration
    assert loaded.image_point.source == "pinned by anna on 2026-11-27: audit"
    assert (
        loaded.at(0.2).image_point.pinned is None
        and loaded.at(0.2).image_point.origin == known.image_point.origin
    )


def test_bundles_without_either_are_written_as_before(bundle_folder: Path, bundle: Bundle) -> None:
    written = json.loads((bundle_folder / "bundle.json").read_text())
    assert "review_point" not in written
    assert not {"pinned", "calibrated_on"} & written["image_point"].keys()
    assert load_bundle(bundle_folder).calibration.review_point is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values["review_point"].update(threshold=1e9), "not below the image threshold"),
        (lambda values: values["review_point"].update(by="anna"), "by"),
        (lambda values: values["image_point"].update(pinned={"threshold": 1, "by": "a"}), "pinned"),
        (
            lambda values: values["image_point"].update(
                pinned={"threshold": 1e9, "by": "a", "at": "2026-11-27"}
            ),
            "but 1000000000.0 was pinned|but 1e9 was pinned",
        ),
    ],
)
def test_what_no_export_writes_is_refused(folder: Path, change: Any, said: str) -> None:
    rewrite(folder, change)
    with pytest.raises(BundleError, match=said):
        load_bundle(folder)


def test_another_rate_moves_review_or_leaves_none(bundle: Bundle) -> None:
    known = replace(bundle.calibration, scores=tuple(map(float, range(40))))
    known = replace(known, review_point=OperatingPoint(0.1, "leave_one_image_out", 40, FROM_FPR))
    at = known.at(0.1)
    assert at.review_threshold is not None and at.review_threshold < at.image_point.threshold
    assert at.review_point is not None and at.review_point.contamination == FROM_FPR
    higher = known.at(0.4)
    assert higher.review_point is not None and "not below" in higher.review_point.reason
    assert bundle.calibration.at(0.4).review_point is None


def test_exit_status_and_lines_of_the_command(
    folder: Path, images: dict[str, Path], reviewing: Bundle
) -> None:
    by_decision = {r.decision: r.name for r in infer(reviewing, images.values())}

    def status(*decisions: str) -> int:
        return uad("infer", "--bundle", folder, *(by_decision[d] for d in decisions)).exit_code

    assert (status("pass"), status("pass", "review"), status("review", "reject")) == (0, 4, 3)
    found = uad("infer", "--bundle", folder, by_decision["review"])
    assert found.stdout.startswith("review ") and "1 to_review" in found.stderr
    values = json.loads(uad("infer", "--bundle", folder, "--json", *images.values()).stdout)
    assert sorted(row["decision"] for row in values["results"]) == ["pass", "reject", "review"]
    assert values["to_review"] == 1
    assert values["thresholds"]["review"]["threshold"] == reviewing.calibration.review_threshold
    rows = list(
        csv.DictReader(io.StringIO(uad("infer", "--bundle", folder, "--csv", *images.values()).stdout))
    )
    assert sorted(row["decision"] for row in rows) == ["pass", "reject", "review"]


@pytest.fixture
def client(reviewing: Bundle) -> Iterator[TestClient]:
    review = reviewing.calibration.review_point
    with RequestQueue(reviewing.detector(), review_point=review) as requests:
        yield TestClient(create_app(reviewing, requests))


def test_the_service_decides_and_counts(
    client: TestClient, reviewing: Bundle, images: dict[str, Path]
) -> None:
    answers = [client.post("/infer", content=path.read_bytes()).json() for path in images.values()]
    assert sorted(answer["decision"] for answer in answers) == ["pass", "reject", "review"]
    assert {answer["review_threshold"] for answer in answers} == {reviewing.calibration.review_threshold}
    counted = client.get("/metrics").text
    for decision in ("pass", "review", "reject"):
        assert f'uad_decisions_total{{decision="{decision}"}} 1.0' in counted
    assert client.get("/health").json()["thresholds"]["review"]["contamination"] == FROM_FPR


def test_the_service_of_a_bundle_without_review_says_so(bundle: Bundle) -> None:
    with RequestQueue(bundle.detector()) as requests:
        plain = TestClient(create_app(bundle, requests))
        answer = plain.post("/infer", content=cv2.imencode(".png", normal_image(900))[1].tobytes()).json()
        assert (answer["decision"], answer["review_threshold"]) == ("pass", None)
        assert set(plain.get("/health").json()["thresholds"]) == {"image", "pixel"}
