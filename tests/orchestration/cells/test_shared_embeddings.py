"""Detectors over one embedder share its forward passes, and a transductive one says what it is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.orchestration.workshop import EMBEDDER, Workshop

DETECTORS = {
    "patchcore": {"model": "vision_patchcore", "embedder": EMBEDDER},
    "softpatch": {"model": "vision_softpatch", "embedder": EMBEDDER, "lof_k": 3},
    "dino": {"model": "vision_anomalydino", "embedder": EMBEDDER},
    "musc": {"model": "vision_musc", "embedder": EMBEDDER},
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop.build(tmp_path_factory.mktemp("shared"), {"alpha": ["disc"]})
    made.edit(lambda values: values.update(detectors=DETECTORS))
    return made


def test_the_second_and_third_detector_embed_no_image(workshop: Workshop) -> None:
    result = workshop.refresh()
    assert not result.failed and result.embedded_images == 10
    embedded = {
        name: sum(
            stage["facts"]["embedded_images"]
            for asset in ("memory_bank", "score_table")
            for stage in _provenances(workshop.home, asset, name)
        )
        for name in DETECTORS
    }
    assert sorted(embedded.values()) == [0, 0, 0, 10], "whichever comes first embeds for all"


def test_a_transductive_detector_is_measured_and_has_no_threshold(workshop: Workshop) -> None:
    workshop.refresh()
    (scores,) = _provenances(workshop.home, "score_table", "musc")
    assert scores["facts"]["transductive"] is True
    assert scores["facts"]["n_calibration"] == 0 and scores["facts"]["n_test"] == 4
    (report,) = (workshop.home / ".uad/artifacts/metrics_report").rglob("musc/*/metrics.json")
    figures = json.loads(report.read_text())
    for point in ("image_operating_point", "pixel_operating_point"):
        assert figures[point]["threshold"] is None
        assert figures[point]["source"].startswith("none: transductive")
    assert math.isfinite(figures["metrics"]["image_auroc"]) and math.isfinite(figures["metrics"]["aupro_0.3"])


def _provenances(home: Path, asset: str, detector: str) -> list[dict]:
    found = (home / ".uad/artifacts" / asset).rglob(f"{detector}/*/provenance.json")
    return [json.loads(path.read_text()) for path in found]
