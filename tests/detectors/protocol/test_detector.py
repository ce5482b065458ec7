"""The detectors in scikit-learn's manners."""

from pathlib import Path

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol import latest_responses
from uad_orchestrator.detectors.protocol.detector import Detector


def test_fitted_it_finds_a_defect_and_says_where(patchcore: Detector) -> None:
    assert patchcore.fit(textures(20)) is patchcore
    good, bad = textures(6, seed=3), [with_spot(image) for image in textures(6, seed=4)]
    scores = patchcore.decision_function(good + bad)
    assert scores.shape == (12,) and scores.dtype == np.float64
    assert scores[6:].min() > scores[:6].max()
    labels = patchcore.predict(bad)
    assert labels.dtype == np.int64 and (labels == 1).all()
    anomaly_map = patchcore.get_anomaly_map(bad[0])
    assert anomaly_map.shape == (48, 64) and anomaly_map.dtype == np.float32
    row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
    assert 14 <= row <= 25 and 22 <= column <= 33
    assert anomaly_map.max() > patchcore.pixel_threshold_


def test_fitted_attributes(patchcore: Detector) -> None:
    patchcore.fit(textures(9))
    assert patchcore.decision_scores_.shape == (9,)
    ranked = np.sort(patchcore.decision_scores_)
    assert patchcore.threshold_ == ranked[7]  # ceil(10 * 0.8) = 8th of 9
    assert patchcore.image_point_.source == patchcore.pixel_point_.source == "leave_one_image_out"
    assert patchcore.image_point_.n == 9
    assert np.isfinite(patchcore.pixel_threshold_)


def test_anomalous_means_strictly_greater(patchcore: Detector) -> None:
    train = textures(9)
    patchcore.fit(train, validation=textures(9, seed=5))
    at_threshold = np.flatnonzero(patchcore.decision_scores_ == patchcore.threshold_)[0]
    image = textures(9, seed=5)[at_threshold]
    assert patchcore.decision_function([image])[0] == patchcore.threshold_
    assert patchcore.predict([image])[0] == 0


def test_fit_and_calibration_embed_each_image_once(patchcore: Detector, embedder: CellMeans) -> None:
    patchcore.fit(textures(10))
    assert embedder.seen == patchcore.embedded_images == 10


def test_scores_labels_and_maps_cost_one_pass(patchcore: Detector, embedder: CellMeans) -> None:
    patchcore.fit(textures(5))
    before, fresh = embedder.seen, textures(7, seed=2)
    scores = patchcore.decision_function(fresh)
    patchcore.predict(fresh)
    patchcore.predict_anomaly_map(fresh)
    patchcore.get_anomaly_map(fresh[3])
    assert embedder.seen == before + 7
    patchcore.fit(textures(5, seed=8))  # another bank: nothing remembered may be used
    assert not np.array_equal(patchcore.decision_function(fresh), scores)


def test_what_is_remembered_is_bounded(
    patchcore: Detector, embedder: CellMeans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest_responses, "REMEMBERED", 3 * 48)  # patch scores: an image has 6 x 8
    patchcore.fit(textures(5))
    fresh = textures(20, seed=2)
    first = patchcore.decision_function(fresh)
    assert len(patchcore._latest._recent) == 3
    assert np.array_equal(patchcore.decision_function(fresh), first)
    assert np.array_equal(patchcore.decision_function([fresh[0]] * 3), first[[0, 0, 0]])


def test_paths_lists_and_arrays_give_the_same(tmp_path: Path, patchcore: Detector) -> None:
    import cv2

    images = textures(6)
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    expected = patchcore.fit(images).decision_function(images[:3] + textures(2, 4))[:3]
    for given, input_format in (
        (paths, "rgb_u8_hwc"),
        (np.stack(images), "rgb_u8_hwc"),
        ([image[..., ::-1] for image in images], "bgr_u8_hwc"),
    ):
        patchcore.fit(given, input_format=input_format)
        found = patchcore.decision_function(given[:3], input_format=input_format)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_maps_are_an_array_or_a_list_by_size_alone(patchcore: Detector) -> None:
    patchcore.fit(textures(5))
    assert patchcore.predict_anomaly_map(textures(2, 1)).shape == (2, 48, 64)
    mixed = patchcore.predict_anomaly_map([textures(1, 1)[0], textures(1, 1, (64, 48))[0]])
    assert isinstance(mixed, list)
    assert [m.shape for m in mixed] == [(48, 64), (64, 48)]
    assert len(patchcore.predict_anomaly_map([])) == 0
    assert patchcore.decision_function([]).shape == (0,)


@pytest.mark.parametrize("contamination", [0, 0.5, -0.1, 1, float("nan")])
def test_contamination_lies_between_0_and_a_half(embedder: CellMeans, contamination: float) -> None:
    with pytest.raises(ValueError, match="contamination"):
        create_detector("vision_patchcore", embedder=embedder, contamination=contamination)


@pytest.mark.parametrize("nothing", [[], np.empty((0, 8, 8, 3), np.uint8)])
def test_an_empty_fit_is_an_error(patchcore: Detector, nothing: object) -> None:
    with pytest.raises(ValueError, match="at least one normal image"):
        patchcore.fit(nothing)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="not fitted"):
        patchcore.predict(textures(1))


@pytest.mark.parametrize("method", ["predict", "decision_function", "predict_anomaly_map"])
def test_before_fit_nothing_works(patchcore: Detector, method: str) -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        getattr(patchcore, method)(textures(1))
    with pytest.raises(RuntimeError, match="not fitted"):
        patchcore.get_anomaly_map(textures(1)[0])


def test_wrong_arrays_are_refused(patchcore: Detector) -> None:
    with pytest.raises(ValueError, match="rgb_u8_hwc"):
        patchcore.fit([image.astype(np.float64) for image in textures(2)])


def test_restored_it_answers_as_it_did(patchcore: Detector, embedder: CellMeans) -> None:
    patchcore.fit(textures(8))
    other = create_detector(
        "vision_patchcore", embedder=embedder, coreset={"method": "none"}, contamination=0.2
    )
    other.restore(patchcore.state_, patchcore.image_point_, patchcore.pixel_point_)
    fresh = textures(4, 3)
    assert np.array_equal(other.predict(fresh), patchcore.predict(fresh))
    assert other.pixel_threshold_ == patchcore.pixel_threshold_


def test_pixel_threshold_is_exceeded_by_few_normal_maps(patchcore: Detector) -> None:
    patchcore.fit(textures(40))
    maxima = patchcore.predict_anomaly_map(textures(200, seed=77)).max(axis=(1, 2))
    assert 0.05 < (maxima > patchcore.pixel_threshold_).mean() < 0.4
