"""Small fitted detectors and bundles: no torch, no weights, no project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.inference.sending.receivers import broker, receiver
from tests.orchestration.workshop import EMBEDDER, defective_image, normal_image, write_image
from uad_orchestrator.detectors.create import create_detector
from uad_orchestrator.detectors.registry import detector_spec
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.inference import Bundle, save_bundle
from uad_orchestrator.inference.bundle import Calibration
from uad_orchestrator.postprocess.map_set import NormalMapStatistics
from uad_orchestrator.preprocessing.presets import Preset, resolve_preset

__all__ = ["broker", "receiver"]

MODEL = "vision_patchcore"
SETTINGS = {"coreset": {"ratio": 0.2}, "contamination": 0.1}


def fitted_bundle(preset: Preset | str = "plain", **settings: object) -> Bundle:
    """A detector fitted on eight pictures of discs, as a bundle."""
    preset = resolve_preset(preset) if isinstance(preset, str) else preset
    detector = create_detector(
        MODEL, embedder=EmbedderSettings(**EMBEDDER), preset=preset, **{**SETTINGS, **settings}
    ).fit([normal_image(seed) for seed in range(8)])
    normals = NormalMapStatistics()
    for seed in range(100, 110):
        normals.update(detector.get_anomaly_map(normal_image(seed)))
    return Bundle(
        name="line7/disc x patchcore",
        model=MODEL,
        settings=detector_spec(MODEL).cut({**SETTINGS, **settings}),
        embedder=EmbedderSettings(**EMBEDDER),
        preset=Preset("own", preset.steps),
        weights=None,
        state=detector.state_,
        calibration=Calibration(
            detector.image_point_,
            detector.pixel_point_,
            tuple(detector.decision_scores_),
            tuple(normals.maxima),
            normals.summary(),
            detector.map_scale_,
        ),
        documents={"MODEL_CARD.md": "# disc\n", "provenance/memory_bank.json": "{}"},
    )


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return fitted_bundle()


@pytest.fixture(scope="session")
def bundle_folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle on disk. Not to be changed."""
    return save_bundle(bundle, tmp_path_factory.mktemp("bundles") / "disc")


@pytest.fixture(scope="session")
def undecided(bundle: Bundle) -> Bundle:
    """The bundle with too few normals for any threshold."""
    return replace(bundle, calibration=bundle.calibration.at(0.01))


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    """Files: two normal images and one with a scratch."""
    pictures = {"a": normal_image(900), "b": defective_image(901)[0], "c": normal_image(902)}
    for name, pixels in pictures.items():
        write_image(tmp_path / "images" / f"{name}.png", pixels)
    return {name: tmp_path / "images" / f"{name}.png" for name in pictures}


def noise(seed: int, *shape: int) -> np.ndarray:
    """uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
