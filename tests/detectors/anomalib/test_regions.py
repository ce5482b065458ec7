"""A region of interest before models that see whole images; the left half counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.detectors.anomalib.test_results import Brightness
from tests.detectors.anomalib_models import Trained, training
from tests.detectors.conftest import textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step

LEFT, RIGHT = 8, 48
"""Where a spot of 8 pixels lies in the region, and where it lies far outside, in images 64 pixels wide."""


def left_half(*steps: Any, **more: Any) -> Preset:
    return Preset("left", tuple(map(parse_step, (*steps, {"roi": {"right": 0.5, **more}}))))


def half_seen(**given: Any) -> Detector:
    settings = {"preset": left_half(), "contamination": 0.2, **given}
    return create_detector("vision_padim_anomalib", **settings)


def dimmed(images: list[np.ndarray]) -> list[np.ndarray]:
    """So that a spot is brighter than all else."""
    return [image // 2 for image in images]


@pytest.mark.parametrize("resize", [[], [{"resize": {"method": "squash", "height": 24, "width": 96}}]])
def test_a_checkpoint_sees_the_whole_image_and_its_map_counts_inside(resize: list[Any]) -> None:
    """The stand-in's map is each pixel's brightness."""
    detector = half_seen(inferencer=Brightness("image"), preset=left_half(*resize))
    detector.fit(dimmed(textures(3)), validation=dimmed(textures(9, seed=2)))
    (image,) = dimmed(textures(1, seed=5))
    plain, outside, inside = detector.decision_function(
        [image, with_spot(image, left=RIGHT), with_spot(image, left=LEFT)]
    )
    assert plain == pytest.approx(image[:, :32].max() / 255, abs=0.01), "the largest value of the map inside"
    assert outside == plain and inside == pytest.approx(1.0, abs=0.01)
    assert detector.predict([with_spot(image, left=RIGHT), with_spot(image, left=LEFT)]).tolist() == [0, 1]
    shown = detector.get_anomaly_map(with_spot(image, left=RIGHT))
    assert shown.shape == image.shape[:2]
    assert np.ptp(shown[:, 36:]) == 0 and shown[:, 36:].max() <= shown[:, :28].min() + 1e-6
    normals = np.array([image[:, :32].max() / 255 for image in dimmed(textures(9, seed=2))])
    assert detector.decision_scores_ == pytest.approx(normals, abs=0.01), "thresholds are of the inside, too"


def test_a_checkpoint_without_maps_can_not_leave_anything_out() -> None:
    with pytest.raises(
        ValueError, match=r"images\[0\]: this model gives no anomaly map.*without the step roi"
    ):
        half_seen(inferencer=Brightness("image", maps=False)).fit(textures(3))


def test_a_region_that_does_not_fit_names_the_image() -> None:
    far = left_half(bottom=100, right=100, unit="pixels")
    with pytest.raises(ValueError, match=r"images\[0\]: the roi reaches"):
        half_seen(inferencer=Brightness("image"), preset=far).fit(textures(3))
    pytest.importorskip("anomalib", reason="extra anomalib not installed")
    with pytest.raises(ValueError, match=r"images\[\d\]: the roi reaches"):
        half_seen(train=training("padim"), device="cpu", preset=far).fit(textures(3))


def test_an_exported_checkpoint_does_not_raise_its_score_for_what_lies_outside(
    trained: dict[str, Trained],
) -> None:
    item = trained["padim"]
    detector = half_seen(checkpoint=item.files[".pt"], trusted_checkpoints=item.trusted, device="cpu")
    detector.fit(textures(3), validation=textures(9, seed=2))
    (image,) = textures(1, seed=5)
    plain, outside, inside = detector.decision_function(
        [image, with_spot(image, left=RIGHT), with_spot(image, left=LEFT)]
    )
    assert outside - plain < 0.01 * (inside - plain), "less than its receptive field lets through"
    assert plain < detector.threshold_ < inside


@pytest.mark.parametrize("network", ["padim", "ganomaly"])
def test_nothing_outside_is_trained_on_or_scored(network: str) -> None:
    """GANomaly has no map to leave anything out of."""
    pytest.importorskip("anomalib", reason="extra anomalib not installed")

    def fitted(images: list[np.ndarray]) -> Detector:
        made = create_detector(
            f"vision_{network}_anomalib",
            train=training(network),
            preset=left_half(),
            device="cpu",
            contamination=0.3,
        )
        return made.fit(images)

    normals = textures(10)
    noisy = [image.copy() for image in normals]
    for image in noisy:
        image[:, 32:] = np.random.default_rng(0).integers(0, 256, image[:, 32:].shape)
    one, other = fitted(normals), fitted(noisy)
    (image,) = textures(1, seed=5)
    asked = [image, with_spot(image, left=RIGHT), with_spot(image, left=LEFT)]
    plain, outside, inside = one.decision_function(asked)
    assert outside == plain and inside > plain
    assert np.array_equal(other.decision_function(asked), one.decision_function(asked))
    assert other.threshold_ == one.threshold_
    if network == "padim":
        shown = one.get_anomaly_map(asked[2])
        _, column = np.unravel_index(shown.argmax(), shown.shape)
        assert column < 32 and np.ptp(shown[:, 36:]) == 0


def cut_in_tiles(**given: Any) -> Detector:
    return half_seen(tiling={"tile_size": 32, "stride": 24}, **given)


def test_tiles_of_a_checkpoint_are_inspected_where_the_region_lies_on_them() -> None:
    """Columns of tiles at 0, 24 and 32: the last one lies outside and is never looked at."""
    fake = Brightness("image")
    detector = cut_in_tiles(inferencer=fake)
    detector.fit(dimmed(textures(3)), validation=dimmed(textures(9, seed=2)))
    fake.calls = 0
    (image,) = dimmed(textures(1, seed=5))
    plain, outside, inside = detector.decision_function(
        [image, with_spot(image, left=36), with_spot(image, left=LEFT)]
    )
    assert fake.calls == 3 * 2 * 2
    assert outside == plain < inside == pytest.approx(1.0, abs=0.01)
    shown = detector.get_anomaly_map(with_spot(image, left=36))
    assert shown.shape == image.shape[:2] and shown.max() < 0.9


def test_tiles_that_are_trained_on_are_grey_outside_as_the_image_is() -> None:
    pytest.importorskip("anomalib", reason="extra anomalib not installed")
    made = cut_in_tiles(train=training("padim", image_size=32), device="cpu").fit(textures(10))
    (image,) = textures(1, seed=5)
    asked = [image, with_spot(image, left=36), with_spot(image, left=LEFT)]
    plain, outside, inside = made.decision_function(asked)
    assert outside == plain < inside
    before, after = (made.get_anomaly_map(asked[i]) for i in (0, 2))
    row, column = np.unravel_index((after - before).argmax(), after.shape)
    assert 14 <= row < 26 and column < 20


def test_a_region_too_narrow_for_the_map_of_a_model_trained_on_tiles_is_said() -> None:
    """Cells of three pixels: one pixel is trained on, and covers none of them by half."""
    pytest.importorskip("anomalib", reason="extra anomalib not installed")
    detector = half_seen(
        train=training("padim"),
        device="cpu",
        tiling={"tile_size": 192},
        preset=Preset(
            "line", (parse_step({"roi": {"left": 30, "right": 31, "bottom": 192, "unit": "pixels"}}),)
        ),
    )
    with pytest.raises(
        ValueError, match=r"images\[\d\]: no patch of its tiles' .* at least half inside the roi"
    ):
        detector.fit(textures(4, size=(192, 192)))
