"""What holds for every detector of anomalib in the registry, as ``test_every_detector`` has it for the others.

Under each name runs a stand-in for its network; what training brings is shown with real models.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.detectors.anomalib_models import Trained, training
from tests.detectors.conftest import with_spot
from tests.detectors.test_every_detector import asked_images, keys, laid_over, sources, square
from tests.orchestration.workshop import write_image
from uad_orchestrator.detectors import DETECTORS, create_detector
from uad_orchestrator.detectors.anomalib.names import ANY_MODEL, detector_name, model_of
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import MorphologySettings
from uad_orchestrator.detectors.protocol.stages import Response

needs_anomalib = pytest.mark.skipif(find_spec("anomalib") is None, reason="extra anomalib not installed")

MODELS = [model for model in DETECTORS if model == ANY_MODEL or model_of(model)]
TRAINED = detector_name("ganomaly")
"""The model whose training every key is tried on: of those without a pre-trained backbone, with epochs."""

ANOTHER: dict[str, Any] = {
    "train.max_epochs": 2,
    "train.batch_size": 2,
    "train.image_size": 32,
    "train.withheld": 0.5,
    "train.seed": 1,
    "train.model": {"n_features": 4, "latent_vec_size": 8, "batch_size": 4},
    "contamination": 0.4,
    "calibration.max_images": 4,
    "calibration.seed": 3,
    "maps.gaussian_sigma": 1.0,
    "maps.sigma_space": "input",
    "maps.normalisation": "normal_maps",
    "maps.morphology": MorphologySettings(operation="opening", size=9),
    "maps.clip": (1e6, None),
    "maps.min_area": 10**6,
}
"""Another value than the default for every key there is."""

FIRST: dict[str, dict[str, Any]] = {
    "calibration.seed": {"calibration": {"max_images": 5}},
    "maps.sigma_space": {"maps": {"gaussian_sigma": 2.0}},
    "maps.min_area": {"contamination": 0.49},
}
"""What a key needs beside it to have something to do; the same for both values."""

NEED_A_TEST_OF_THEIR_OWN = ("calibration.folder", "calibration.robust", "train.download")


class Differences:
    """Scores an image by how far its pixels lie from their mean, and shows where; at half the resolution."""

    def predict(self, images: list[np.ndarray]) -> list[dict[str, Any]]:
        maps = [np.abs(image[::2, ::2] - image.mean(axis=(0, 1))).sum(axis=-1) for image in images]
        return [{"pred_score": shown.max() + shown.mean(), "anomaly_map": shown} for shown in maps]


def stand_in(model: str, **settings: Any) -> Detector:
    return create_detector(model, inferencer=Differences(), accepts="list", **settings)


def answers(made: Detector, asked: list[np.ndarray]) -> list[Response]:
    return list(made.respond(made.fit_state(sources(square(12))), sources(asked, "test/")))


@pytest.mark.parametrize("model", MODELS)
def test_deterministic_and_one_image_alone_as_in_a_batch(model: str) -> None:
    together, again = (answers(stand_in(model), asked_images()) for _ in range(2))
    for image, one, two in zip(asked_images(), together, again, strict=True):
        assert one.score == two.score and np.array_equal(one.patch_grid, two.patch_grid)
        (alone,) = answers(stand_in(model, batch_size=1), [image])
        assert alone.score == pytest.approx(one.score, rel=1e-4)
        np.testing.assert_allclose(alone.patch_grid, one.patch_grid, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [(48, 80), (51, 77)])
def test_non_square_images_and_a_map_that_lies_on_them(model: str, size: tuple[int, int]) -> None:
    made = stand_in(model).fit(square(3, 0, size), validation=square(10, 1, size))
    maps = made.predict_anomaly_map([*square(7, 80, size), with_spot(square(1, 70, size)[0])])
    assert maps.shape == (8, *size)  # type: ignore[union-attr]
    row, column = np.unravel_index(maps[-1].argmax(), size)
    assert 14 <= row <= 25 and 22 <= column <= 33


@pytest.mark.parametrize("model", MODELS)
def test_one_image_is_enough_for_a_checkpoint_and_none_is_an_error(model: str) -> None:
    made = stand_in(model).fit(square(1))
    assert np.isfinite(made.decision_function(asked_images())).all()
    assert made.image_point_.n == 1 and made.image_point_.source.startswith("train (optimistic)")
    with pytest.raises(ValueError, match="no images to fit on"):
        stand_in(model).fit([])


@needs_anomalib
@pytest.mark.parametrize("network", ["padim", "patchcore"])
def test_a_real_model_is_deterministic_and_scores_an_image_alone_as_in_a_batch(
    trained: dict[str, Trained], network: str
) -> None:
    item = trained[network]
    asked = [*asked_images(), *square(2, 90, (60, 36))]
    for suffix in (".ckpt", ".xml"):
        loaded = item.loaded(suffix, detector_name(network)).fit(square(3))
        together = list(loaded.respond(loaded.state_, sources(asked)))
        again = list(loaded.respond(loaded.state_, sources(asked)))
        for source, one, two in zip(sources(asked), together, again, strict=True):
            assert one.score == two.score and np.array_equal(one.patch_grid, two.patch_grid)
            (alone,) = loaded.respond(loaded.state_, [source])
            assert alone.score == pytest.approx(one.score, rel=1e-4)
            assert one.patch_grid is not None
            largest = np.abs(one.patch_grid).max()
            np.testing.assert_allclose(alone.patch_grid, one.patch_grid, rtol=1e-4, atol=1e-4 * largest)


@needs_anomalib
def test_training_needs_two_images_and_says_so() -> None:
    for images in (1, 0):
        with pytest.raises(ValueError, match=r"at least two parts|no images to fit on"):
            create_detector(TRAINED, train=training("ganomaly"), device="cpu").fit(square(images))


def cases() -> Iterator[Any]:
    for model in (ANY_MODEL, TRAINED):
        spec = DETECTORS[model]
        maps = [f"maps.{key}" for key in type(spec.default_maps).model_fields]
        for key in (*keys(spec.fit), *keys(spec.scoring), *maps):
            if key not in NEED_A_TEST_OF_THEIR_OWN:
                marks = [needs_anomalib] if key.startswith("train.") else []
                yield pytest.param(model, key, id=f"{model}-{key}", marks=marks)


@pytest.mark.parametrize(("model", "key"), list(cases()))
def test_every_parameter_does_something(model: str, key: str) -> None:
    assert key in ANOTHER, f"say in ANOTHER which value of {key} differs from its default"
    if key.startswith("train."):
        first, other = train_outcome(), train_outcome(key.removeprefix("train."))
    else:
        beside = FIRST.get(key, {})
        first, other = (
            outcome(stand_in(model, **settings))
            for settings in (beside, laid_over(beside, key, ANOTHER[key]))
        )
    assert not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, other, strict=True))


def outcome(made: Detector) -> tuple[np.ndarray, ...]:
    made.fit(square(24))
    asked = asked_images()
    thresholds = np.array([made.threshold_, made.pixel_threshold_])
    return made.decision_function(asked), np.stack(list(made.predict_anomaly_map(asked))), thresholds


@cache
def train_outcome(changed: str | None = None) -> tuple[np.ndarray, ...]:
    """Scores after a training with one key changed; the model gives no maps."""
    train = training("ganomaly", batch_size=3)
    if changed is not None:
        train[changed] = ANOTHER[f"train.{changed}"]
    made = create_detector(TRAINED, train=train, device="cpu").fit(square(8))
    return (made.decision_function(asked_images()),)


@needs_anomalib
def test_a_training_with_several_steps_is_the_same_for_a_seed() -> None:
    assert np.array_equal(train_outcome()[0], train_outcome.__wrapped__()[0])


def test_the_calibration_folder_does_something(tmp_path: Path) -> None:
    for i, image in enumerate(square(9, 40)):
        write_image(tmp_path / f"{i}.png", with_spot(image))
    plain, changed = (
        outcome(stand_in(ANY_MODEL, calibration=calibration))
        for calibration in ({}, {"folder": str(tmp_path)})
    )
    assert np.array_equal(plain[0], changed[0]), "scores are what they were"
    assert not (plain[2] == changed[2]).any()


@needs_anomalib
def test_download_opens_the_ways_that_are_shut_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from uad_orchestrator.detectors.anomalib.training import engine as anomalib_training

    shut = []

    @contextmanager
    def noted() -> Iterator[None]:
        shut.append(True)
        yield

    monkeypatch.setattr(anomalib_training, "nothing_fetched", noted)
    for download in (False, True):
        create_detector(TRAINED, train=training("ganomaly", download=download), device="cpu").fit(square(4))
    assert len(shut) == 1
