"""Anomalib's own models on tiles: trained on them, and a checkpoint that scores them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.detectors.anomalib_models import MODELS, training
from tests.detectors.conftest import textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference import TiledDetector

pytest.importorskip("anomalib", reason="extra anomalib not installed")

SIZE = (100, 150)
TILING = {"tile_size": 64, "stride": 48}
TILES = 2 * 3
SPOT = {"top": 70, "left": 110}


@pytest.fixture(scope="module")
def normals() -> list[np.ndarray]:
    return textures(6, size=SIZE)


@pytest.fixture(scope="module")
def fitted(normals: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> TiledDetector:
    thinned = MODELS["patchcore"] | {"coreset_sampling_ratio": 0.02}
    detector = create_detector(
        "vision_patchcore_anomalib",
        train=training("patchcore", model=thinned, withheld=0.5),
        device="cpu",
        folder=tmp_path_factory.mktemp("tiled"),
        contamination=0.3,
        tiling=TILING,
    )
    detector.fit(normals)
    assert isinstance(detector, TiledDetector)
    return detector


def test_a_model_is_trained_on_tiles_and_whole_images_are_withheld(
    fitted: TiledDetector, normals: list[np.ndarray]
) -> None:
    facts = fitted.state_.facts
    assert (facts["train_images"], facts["withheld_images"]) == (3 * TILES, 3 * TILES)
    trained_on = {image["group"] for image in facts["images"]}
    assert len(trained_on) == 3 and len(facts["images"]) == 3 * TILES
    withheld = [image for i, image in enumerate(normals) if f"images[{i}]" not in trained_on]
    assert fitted.image_point_.source == "held_out" and fitted.image_point_.n == 3
    assert list(fitted.decision_scores_) == list(fitted.decision_function(withheld)), "through the same tiles"


def test_a_defect_lights_up_at_its_place_on_the_whole_image(fitted: TiledDetector) -> None:
    for seed in range(20, 23):
        (image,) = textures(1, seed=seed, size=SIZE)
        spoiled = with_spot(image, **SPOT)
        assert fitted.predict([spoiled]).tolist() == [1]
        found = fitted.get_anomaly_map(spoiled)
        assert found.shape == SIZE
        row, column = np.unravel_index(found.argmax(), SIZE)
        assert 66 <= row < 82 and 106 <= column < 122
        assert found.max() > fitted.pixel_threshold_


def test_a_training_decodes_each_image_once_whatever_the_tiles_and_epochs(tmp_path: Path) -> None:
    decoded: list[str] = []

    def source(image: np.ndarray, name: str) -> ImageSource:
        def read() -> np.ndarray:
            decoded.append(name)
            return image

        return replace(ImageSource.from_array(image, name=name), read=read, measure=lambda: SIZE)

    images = [source(image, f"{i}.png") for i, image in enumerate(textures(4, size=SIZE))]
    detector = create_detector(
        "vision_ganomaly_anomalib",
        train=training("ganomaly", max_epochs=2),
        device="cpu",
        folder=tmp_path,
        tiling=TILING,
    )
    state = detector.fit_state(images)
    assert state.facts["train_images"] + state.facts["withheld_images"] == 4 * TILES
    assert sorted(decoded) == [image.name for image in images]
    assert not (tmp_path / "tiles").exists()


def test_an_exported_checkpoint_scores_tiles_as_the_model_it_came_from(
    fitted: TiledDetector, normals: list[np.ndarray], tmp_path: Path
) -> None:
    module = fitted.detector._model(fitted.state_).module  # type: ignore[attr-defined]
    exported = Path(module.to_torch(tmp_path))
    loaded = create_detector(
        "vision_anomalib_checkpoint",
        checkpoint=exported,
        trusted_checkpoints=[hashlib.sha256(exported.read_bytes()).hexdigest()],
        device="cpu",
        contamination=0.3,
        tiling=TILING,
    )
    fresh = textures(4, seed=30, size=SIZE)
    loaded.fit(normals, validation=fresh)
    asked = [fresh[0], with_spot(fresh[1], **SPOT)]
    assert loaded.image_point_.source == "validation"
    assert list(loaded.decision_scores_) == pytest.approx(list(fitted.decision_function(fresh)), rel=1e-4)
    assert loaded.predict(asked).tolist() == [0, 1]
    for mine, theirs in zip(
        loaded.predict_anomaly_map(asked), fitted.predict_anomaly_map(asked), strict=True
    ):
        assert mine.shape == SIZE and mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)
