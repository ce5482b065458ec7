"""From responses to finished maps: order of the steps, and what is calibrated on."""

from typing import Any

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import MapSettings
from uad_orchestrator.metrics.thresholds.conformal import conformal_rank
from uad_orchestrator.postprocess import finishing

TRAIN, VALIDATION = textures(12), textures(14, seed=5)
FRESH = [*textures(4, seed=7), with_spot(textures(1, seed=8)[0])]
PLAIN: dict[str, Any] = {"gaussian_sigma": 2}


def fitted(**maps: Any) -> Detector:
    detector = create_detector(
        "vision_patchcore",
        embedder=CellMeans(),
        coreset={"method": "none"},
        contamination=0.2,
        maps={**PLAIN, **maps},
    )
    return detector.fit(TRAIN, validation=VALIDATION)


@pytest.fixture(scope="module")
def plain() -> Detector:
    return fitted()


def threshold_of(maps: np.ndarray) -> float:
    return float(np.sort(maps.max(axis=(1, 2)))[conformal_rank(len(maps), 0.2) - 1])


def test_normalisation_takes_the_normals_maps_not_the_images_own(plain: Detector) -> None:
    detector = fitted(normalisation="normal_maps")
    normals = plain.predict_anomaly_map(VALIDATION)
    assert detector.map_scale_ is not None
    assert detector.map_scale_.mean == pytest.approx(normals.mean(), rel=1e-5)
    assert detector.map_scale_.std == pytest.approx(normals.std(), rel=1e-5)
    expected = (plain.predict_anomaly_map(FRESH) - normals.mean()) / normals.std()
    np.testing.assert_allclose(detector.predict_anomaly_map(FRESH), expected, rtol=1e-4, atol=1e-4)
    assert np.array_equal(detector.decision_scores_, plain.decision_scores_)  # maps only


@pytest.mark.parametrize(
    "maps",
    [
        {"normalisation": "normal_maps"},
        {"morphology": {"operation": "opening", "size": 5}},
        {"clip": [None, 300.0]},
        {"min_area": 40},
        {
            "normalisation": "normal_maps",
            "morphology": {"operation": "dilation"},
            "clip": [-1, 5],
            "min_area": 9,
        },
    ],
)
def test_the_pixel_threshold_is_that_of_maps_made_the_same_way(maps: dict[str, Any]) -> None:
    detector = fitted(**maps)
    finished = detector.predict_anomaly_map(VALIDATION)
    assert finished.dtype == np.float32
    assert detector.pixel_threshold_ == threshold_of(finished)


def test_the_steps_come_in_order(plain: Detector) -> None:
    element = {"operation": "opening", "size": 3, "shape": "square"}
    detector = fitted(normalisation="normal_maps", morphology=element, clip=[-0.5, 6.0], min_area=30)
    assert detector.map_scale_ is not None
    for image in FRESH:
        expected = finishing.normalised(plain.get_anomaly_map(image), detector.map_scale_)
        expected = np.clip(finishing.morphology(expected, **element), -0.5, 6.0)  # type: ignore[arg-type]
        expected = finishing.without_small_regions(expected, detector.pixel_threshold_, 30)
        assert np.array_equal(detector.get_anomaly_map(image), expected)


def test_a_region_too_small_is_no_longer_anomalous_and_a_large_one_stays(plain: Detector) -> None:
    detector = fitted(min_area=25)
    image, made = FRESH[-1], None
    made = detector.get_anomaly_map(image)
    assert (made > detector.pixel_threshold_).sum() >= 25  # the defect, 8 x 8 pixels
    assert detector.pixel_threshold_ == plain.pixel_threshold_
    everything = fitted(min_area=10_000).get_anomaly_map(image)
    assert not (everything > detector.pixel_threshold_).any()
    below = everything < detector.pixel_threshold_
    assert np.array_equal(everything[below], plain.get_anomaly_map(image)[below])


def test_restored_it_needs_the_scale() -> None:
    detector = fitted(normalisation="normal_maps")
    expected = detector.get_anomaly_map(FRESH[0])
    known = (detector.state_, detector.image_point_, detector.pixel_point_)
    scale = detector.map_scale_
    with pytest.raises(RuntimeError, match="map_scale"):
        detector.restore(*known).get_anomaly_map(FRESH[0])
    assert np.array_equal(detector.restore(*known, scale).get_anomaly_map(FRESH[0]), expected)


def test_without_normals_to_calibrate_on_normalisation_says_why() -> None:
    detector = create_detector(
        "vision_patchcore", embedder=CellMeans(), maps={"normalisation": "normal_maps"}
    )
    with pytest.raises(ValueError, match=r"maps\.normalisation.*single image"):
        detector.fit(TRAIN[:1])


def test_a_step_that_is_off_is_no_part_of_the_recipe() -> None:
    assert MapSettings().recipe() == {"gaussian_sigma": 4.0, "sigma_space": "input"}
    on = MapSettings(
        clip=(0, None), min_area=3, morphology={"operation": "closing"}, normalisation="normal_maps"
    )
    assert set(on.recipe()) == set(MapSettings.model_fields)


@pytest.mark.parametrize(
    "wrong",
    [{"clip": (2, 1)}, {"morphology": {"operation": "opening", "size": 4}}, {"normalisation": "min_max"}],
)
def test_wrong_map_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        MapSettings(**wrong)
