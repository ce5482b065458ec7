"""What models and inferencers answer, in every shape; inferencers are called as declared. No torch needed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.conftest import textures, with_spot
from tests.orchestration.workshop import write_image
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.anomalib.results import read_prediction

SCORES = [lambda s: s, lambda s: s[:, None], lambda s: s.astype(np.float32)]
MAPS = [lambda m: m, lambda m: m[:, None]]


@given(st.integers(1, 3), st.sampled_from(SCORES), st.sampled_from(MAPS), st.booleans())
def test_every_shape_models_answer_in_is_read(n, score_shape, map_shape, as_object) -> None:
    scores, maps = np.arange(n, dtype=np.float64), np.arange(n * 6, dtype=np.float64).reshape(n, 2, 3)
    fields = {"pred_score": score_shape(scores), "anomaly_map": map_shape(maps)}
    found = read_prediction(SimpleNamespace(**fields) if as_object else fields, n)
    assert [score for score, _ in found] == scores.tolist()
    for (_, anomaly_map), expected in zip(found, maps, strict=True):
        assert np.array_equal(anomaly_map, expected) and anomaly_map.dtype == np.float32


def test_a_single_image_may_come_without_a_batch() -> None:
    ((score, anomaly_map),) = read_prediction({"pred_score": 0.5, "anomaly_map": np.ones((2, 3))}, 1)
    assert score == 0.5 and anomaly_map.shape == (2, 3)


def test_meaning_is_never_guessed_from_a_length() -> None:
    with pytest.raises(ValueError, match=r"pred_score has shape \(2,\)"):
        read_prediction({"pred_score": np.ones(2)}, 1)
    with pytest.raises(ValueError, match=r"anomaly_map has shape \(2, 4, 4\)"):
        read_prediction({"pred_score": np.ones(1), "anomaly_map": np.ones((2, 4, 4))}, 1)
    with pytest.raises(ValueError, match="without pred_score and anomaly_map"):
        read_prediction((0.1, 0.2), 2)


def test_without_a_score_it_is_the_maps_maximum() -> None:
    assert read_prediction({"anomaly_map": np.eye(3)[None] * 7}, 1)[0][0] == 7


@dataclass
class Brightness:
    """Scores an image by its brightest pixel; a fake of an inferencer that counts its calls."""

    accepts: str
    maps: bool = True
    calls: int = 0

    def predict(self, given: Any) -> Any:
        self.calls += 1
        if self.accepts == "image":
            return self._answer(given)
        if self.accepts == "list":
            assert isinstance(given, list)
            return [self._answer(image) for image in given]
        assert isinstance(given, np.ndarray) and given.ndim == 4
        answers = [self._answer(image) for image in given]
        return SimpleNamespace(
            pred_score=np.array([a["pred_score"] for a in answers]),
            anomaly_map=np.stack([a["anomaly_map"] for a in answers]) if self.maps else None,
        )

    def _answer(self, image: np.ndarray) -> dict[str, Any]:
        assert image.dtype == np.float32 and image.shape[-1] == 3 and 0 <= image.min() <= image.max() <= 1
        answer: dict[str, Any] = {"pred_score": np.array([image.max() + image[..., 1].mean()])}
        return answer | ({"anomaly_map": image.max(axis=-1)[::2, ::2]} if self.maps else {})


@pytest.mark.parametrize("accepts", ["image", "list", "batch"])
@pytest.mark.parametrize("model", ["vision_anomalib_checkpoint", "vision_padim_anomalib"])
def test_an_injected_inferencer_is_called_as_declared(accepts, model) -> None:
    fake = Brightness(accepts)
    detector = create_detector(model, inferencer=fake, accepts=accepts, contamination=0.2, batch_size=4)
    images = [*textures(2), *textures(2, seed=1, size=(36, 48))]
    detector.fit(images, validation=textures(6, seed=2))
    assert detector.image_point_.source == "validation"
    fake.calls = 0
    scores = detector.decision_function(images)
    assert fake.calls == {"image": 4, "list": 1, "batch": 2}[accepts], "a batch has one size"
    assert scores == pytest.approx([i.max() / 255 + i[..., 1].mean() / 255 for i in images], abs=1e-6)
    assert [m.shape for m in detector.predict_anomaly_map(images)] == [(48, 64)] * 2 + [(36, 48)] * 2


def test_numpy_input_of_a_declared_format() -> None:
    rgb = np.stack(textures(3))
    detector = create_detector("vision_anomalib_checkpoint", inferencer=Brightness("image")).fit(rgb)
    bgr = detector.decision_function(rgb[..., ::-1], input_format="bgr_u8_hwc")
    assert np.array_equal(bgr, detector.decision_function(rgb))
    as_float = detector.decision_function(rgb.astype(np.float32) / 255, input_format="rgb_f32_hwc")
    assert as_float == pytest.approx(bgr, abs=1e-4)


def test_a_map_lies_where_the_defect_is() -> None:
    detector = create_detector("vision_anomalib_checkpoint", inferencer=Brightness("image"))
    found = detector.fit(textures(3)).get_anomaly_map(with_spot(textures(1)[0], top=16, left=40))
    assert found[18:22, 42:46].min() > found[:12].max()


def test_a_map_lies_where_the_defect_is_on_a_tiled_image_and_each_tile_is_asked_for_once() -> None:
    fake = Brightness("image")
    detector = create_detector(
        "vision_anomalib_checkpoint",
        inferencer=fake,
        contamination=0.2,
        tiling={"tile_size": 32, "stride": 24},
    )
    detector.fit(textures(1, size=(72, 104)), validation=textures(9, seed=2, size=(72, 104)))
    assert fake.calls == 9 * 3 * 4
    bad = with_spot(textures(1, seed=5, size=(72, 104))[0], top=40, left=80)
    assert detector.predict([bad])[0] == 1
    row, column = np.unravel_index(detector.get_anomaly_map(bad).argmax(), (72, 104))
    assert 38 <= row <= 50 and 78 <= column <= 90
    assert fake.calls == 10 * 3 * 4


def test_a_model_without_maps_may_be_tiled() -> None:
    detector = create_detector(
        "vision_anomalib_checkpoint",
        inferencer=Brightness("image", maps=False),
        contamination=0.2,
        tiling={"tile_size": 32},
    )
    detector.fit(textures(1), validation=textures(9, seed=2))
    assert np.isfinite(detector.threshold_) and np.isnan(detector.pixel_threshold_)
    assert detector.decision_function(textures(2, seed=3)).shape == (2,)
    with pytest.raises(ValueError, match="no anomaly map"):
        detector.get_anomaly_map(textures(1)[0])


def test_a_model_without_maps_says_so() -> None:
    detector = create_detector(
        "vision_anomalib_checkpoint", inferencer=Brightness("image", maps=False), contamination=0.2
    ).fit(textures(5))
    assert detector.predict(textures(2)).tolist() == [0, 0]
    assert np.isnan(detector.pixel_threshold_)
    assert detector.pixel_point_.source == "none: this model gives no anomaly map"
    with pytest.raises(ValueError, match=r"images\[0\]: this model gives no anomaly map"):
        detector.get_anomaly_map(textures(1)[0])


def test_training_normals_are_the_last_resort_and_said(caplog) -> None:
    detector = create_detector("vision_anomalib_checkpoint", inferencer=Brightness("image"))
    with caplog.at_level(logging.WARNING):
        detector.fit(textures(30))
    assert detector.image_point_.source == "train (optimistic)"
    assert "may have seen" in caplog.text


@pytest.mark.parametrize("tiling", [None, {"tile_size": 32}])
def test_a_folder_of_normals_it_has_not_seen_calibrates_a_checkpoint(tmp_path: Path, tiling) -> None:
    normals = textures(9, seed=2)
    for i, image in enumerate(normals):
        write_image(tmp_path / f"{i}.png", image)
    settings = {"contamination": 0.2, "calibration": {"folder": str(tmp_path)}, "tiling": tiling}
    detector, other = (
        create_detector("vision_padim_anomalib", inferencer=Brightness("image"), **given)
        for given in (settings, {"contamination": 0.2, "tiling": tiling})
    )
    detector.fit(textures(3), validation=textures(4, seed=8))
    assert detector.image_point_.source == detector.pixel_point_.source == "calibration folder"
    other.fit(textures(3), validation=normals)
    assert (detector.threshold_, detector.pixel_threshold_) == (other.threshold_, other.pixel_threshold_)


def test_scores_that_were_cut_off_are_warned_of(caplog) -> None:
    class Clamped:
        def predict(self, image: np.ndarray) -> dict[str, Any]:
            return {"pred_score": float(image.mean() > 0.5)}

    with caplog.at_level(logging.WARNING):
        create_detector("vision_anomalib_checkpoint", inferencer=Clamped()).fit(textures(4))
    assert "4 of 4 scores are exactly 0 or 1" in caplog.text


def test_what_does_not_fit_together_is_refused() -> None:
    images = textures(2)
    with pytest.raises(ValueError, match="there is no model"):
        create_detector("vision_padim_anomalib").fit(images)
    with pytest.raises(ValueError, match="checkpoint and train are given"):
        create_detector("vision_padim_anomalib", checkpoint="a.ckpt", train={})
    with pytest.raises(ValueError, match=r"calibration\.folder is for checkpoints"):
        create_detector("vision_padim_anomalib", train={}, calibration={"folder": "fresh"})
    missing = create_detector(
        "vision_padim_anomalib", inferencer=Brightness("image"), calibration={"folder": "fresh"}
    )
    with pytest.raises(ValueError, match="there is no folder fresh"):
        missing.fit(images)
    with pytest.raises(ValueError, match="accepts is 'tensor'"):
        create_detector("vision_padim_anomalib", inferencer=Brightness("image"), accepts="tensor").fit(images)
    with pytest.raises(TypeError, match="no method predict"):
        create_detector("vision_padim_anomalib", inferencer=3).fit(images)
    with pytest.raises(ValueError, match="no images"):
        create_detector("vision_padim_anomalib", inferencer=Brightness("image")).fit([])
    with pytest.raises(ValueError, match=r"no setting 'trian'.*'train'"):
        create_detector("vision_padim_anomalib", trian={})
