"""Pitfalls 1 and 18: the operating point on a hundred fresh normals per demo cell, and what it still finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.datasets.demo_generator import DEMO_CATEGORIES, generate_demo, generate_normals
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.detectors.create import build_detector
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.protocol.spec import StageSettings
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.project import demo_project
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

FRESH = 100
CONTAMINATION = 0.1


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[float, float]]:
    """False-positive rate on fresh normals, and recall on the demo's defects, of every demo cell."""
    home = tmp_path_factory.mktemp("calibration")
    generate_demo(home / "images")
    cache = EmbeddingCache(home / "cache")
    found = {}
    for category in DEMO_CATEGORIES:
        fresh = [
            ImageSource.from_array(image, name=f"fresh/{i}.png")
            for i, image in enumerate(generate_normals(category, FRESH))
        ]
        for name in demo_project(home).detectors:
            found[category, name] = _rates(home, category, name, fresh, cache)
    return found


def _rates(
    home: Path, category: str, name: str, fresh: list[ImageSource], cache: EmbeddingCache
) -> tuple[float, float]:
    entry = demo_project(home).detectors[name]
    scoring = entry.scoring.model_copy(update={"contamination": CONTAMINATION})
    stream = open_stream(entry.embedder, preset=resolve_preset(entry.preset), cache=cache)
    manifest = load_dataset("demo", home / "images", category)
    detector = build_detector(entry.model, StageSettings(entry.fit, scoring, entry.maps), stream)
    detector.fit(list(manifest.sources(manifest.train)))
    defects = list(manifest.sources(manifest.select("test", 1)))
    above = detector.decision_function(fresh) > detector.threshold_
    return float(above.mean()), float((detector.decision_function(defects) > detector.threshold_).mean())


def test_false_positive_rate_of_every_cell(rates: dict[tuple[str, str], tuple[float, float]]) -> None:
    outside = {cell: rate for cell, (rate, _) in rates.items() if not 0.03 <= rate <= 0.25}
    assert not outside


def test_false_positive_rate_on_average(rates: dict[tuple[str, str], tuple[float, float]]) -> None:
    assert 0.05 <= np.mean([rate for rate, _ in rates.values()]) <= 0.17


def test_recall_at_the_threshold(rates: dict[tuple[str, str], tuple[float, float]]) -> None:
    # an infinite threshold has no false positives: what it finds is part of the same statement
    assert min(recall for _, recall in rates.values()) >= 0.8
