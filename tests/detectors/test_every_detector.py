"""What holds for every detector that works on any embedder: a new entry of the registry is tested here, too.

Those that bring a trained network of their own are left to their own tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from tests.detectors.conftest import CellMeans, WithTexts, textures, with_spot
from uad_orchestrator.detectors import DETECTORS, create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import MorphologySettings
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step

NEED_MORE = ("vision_anomalib_", "_anomalib")
"""Parts of the names of detectors that take more than patch embeddings."""

ZERO_SHOT = ("vision_openclip_promptscore", "vision_openclip_prompt_patch")
"""Those that learn nothing from the normals, all of which calibrate."""

MODELS = [model for model in DETECTORS if not any(part in model for part in NEED_MORE)]
ALONE = [model for model in MODELS if not DETECTORS[model].transductive]

ANOTHER: dict[str, Any] = {
    "coreset.method": "random",
    "coreset.ratio": 0.5,
    "coreset.projection_dim": 2,
    "coreset.starting_points": 1,
    "references.k": 9,
    "references.seed": 1,
    "seed": 5,
    "rotation": True,
    "discriminator": "gaussian",
    "lof_k": 3,
    "threshold": 0.4,
    "tiles.tile_size": 24,
    "tiles.overlap": 0.6,
    "distance": {"l2": "cosine", "l2_squared": "l2"},
    "max_rows": 40,
    "contamination": 0.4,
    "calibration.max_images": 4,
    "calibration.seed": 3,
    "n_neighbors": 3,
    "aggregation": "mean",
    "topk": 0.5,
    "reweight": True,
    "reweight_neighbors": 2,
    "object_mask": True,
    "soft_weights": False,
    "lowest_share": 0.9,
    "prompts.normal": ("new {}",),
    "prompts.anomalous": ("damaged {}",),
    "prompts.templates": ("{}",),
    "class_name": "gear",
    "temperature": 0.3,
    "windows": (2, "image"),
    "maps.gaussian_sigma": 1.0,
    "maps.sigma_space": {"input": "image", "image": "input"},
    "augment.copies": 3,
    "augment.seed": 4,
    "augment.brightness": 0.6,
    "augment.white_balance": 0.5,
    "augment.blur": 2.0,
    "augment.noise": 0.1,
    "augment.jpeg": 20,
    "augment.rotation": 20.0,
    "maps.normalisation": "normal_maps",
    "maps.morphology": MorphologySettings(operation="opening", size=9),
    "maps.clip": (1e6, None),
    "maps.min_area": 10**6,
}
"""Another value than the default for every key there is; by default where it depends on the detector."""

FIRST: dict[str, dict[str, Any]] = {
    "coreset.projection_dim": {"coreset": {"method": "batched_greedy", "ratio": 0.2, "projection_dim": 4}},
    "coreset.starting_points": {"coreset": {"method": "batched_greedy", "ratio": 0.05}},
    "coreset.ratio": {"coreset": {"method": "batched_greedy", "ratio": 0.1}},
    "coreset.method": {"coreset": {"ratio": 0.2}},
    "references.seed": {"references": {"k": 8}},
    "seed": {"coreset": {"method": "random", "ratio": 0.2}},
    "tiles.overlap": {"tiles": {"tile_size": 24, "overlap": 0.1}},
    "calibration.seed": {"calibration": {"max_images": 5}},
    "topk": {"aggregation": "topk_mean"},
    "maps.min_area": {"contamination": 0.49, "maps": {"gaussian_sigma": 0.0}},
    "reweight": {"reweight": False},
    "reweight_neighbors": {"reweight": True},
}
"""What a key needs beside it to have something to do; the same for both values."""

NEED_NORMALS = {
    "contamination",
    "calibration.max_images",
    "calibration.seed",
    "maps.normalisation",
    "maps.min_area",
}
"""Keys that mean nothing where no normals calibrate."""

NEED_A_TEST_OF_THEIR_OWN = {
    "index": "takes another way to the same scores: test_softpatch, test_approximate",
    "calibration.method": "matters where a coreset is small: test_refilled",
    "calibration.robust": "says something where a normal is odd alone: test_calibration",
    "class_names": "says something for the categories of a benchmark alone: test_prompts",
}


def sources(images: list[np.ndarray], prefix: str = "") -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{prefix}{i:02}.png") for i, image in enumerate(images)]


class Reader(WithTexts):
    """Prompts of defects point at what a spot looks like, those of normal objects at grey, each a little aside."""

    def _row(self, text: str) -> np.ndarray:
        defective = "damaged" in text or " with " in text
        shown = (1, 0, 1, 0, 0, 0) if defective else (1, 1, 1, 0, 0, 0)
        return np.array(shown, np.float32) + 0.1 * super()._row(text)


class Attentive(Reader):
    """As a network is: its input smaller than the image, and each patch knows a little of all others."""

    def _embed(self, image: np.ndarray) -> Any:
        found = super()._embed(image)
        rows = found.patch_embeddings + 0.2 * found.patch_embeddings.mean(axis=0)
        return found._replace(patch_embeddings=rows, input_size=(image.shape[0] // 2, image.shape[1] // 2))


def square(n: int, seed: int = 0, size: tuple[int, int] = (48, 48)) -> list[np.ndarray]:
    return textures(n, seed, size)


def detector(model: str, embedder: CellMeans | None = None, **settings: Any) -> Detector:
    return create_detector(model, embedder=embedder or Reader(), **settings)


def answers(made: Detector, asked: list[np.ndarray], train: list[np.ndarray] | None = None) -> list[Response]:
    state = made.fit_state(sources(train or square(12)))
    return list(made.respond(state, sources(asked, "test/")))


def asked_images() -> list[np.ndarray]:
    return [*square(3, 50), with_spot(square(1, 60)[0])]


@pytest.mark.parametrize("model", MODELS)
def test_deterministic_for_a_seed(model: str) -> None:
    for one, two in zip(*(answers(detector(model), asked_images()) for _ in range(2)), strict=True):
        assert one.score == two.score
        assert np.array_equal(one.patch_grid, two.patch_grid)


@pytest.mark.parametrize("model", ALONE)
def test_one_image_alone_as_in_a_batch(model: str) -> None:
    together = answers(detector(model), asked_images())
    for image, expected in zip(asked_images(), together, strict=True):
        (found,) = answers(detector(model, batch_size=1), [image])
        assert found.score == pytest.approx(expected.score, rel=1e-4)
        np.testing.assert_allclose(found.patch_grid, expected.patch_grid, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("offset", [0.0, 3e3])
def test_what_the_cache_rounds_changes_no_score_by_a_thousandth(model: str, offset: float) -> None:
    class Offset(Reader):
        def _embed(self, image: np.ndarray) -> Any:
            found = super()._embed(image)
            return found._replace(patch_embeddings=found.patch_embeddings * 100 + offset)

    chosen, exact = (
        answers(detector(model, Offset(scale=0.731, precision=precision)), asked_images())
        for precision in (None, "float32")
    )
    for one, two in zip(chosen, exact, strict=True):
        assert one.score == pytest.approx(two.score, rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [(48, 80), (80, 40), (51, 77)])
def test_non_square_images_and_a_map_that_lies_on_them(model: str, size: tuple[int, int]) -> None:
    made = detector(model, maps={"gaussian_sigma": 0.5}).fit(square(10, 0, size))
    spoiled = with_spot(square(1, 70, size)[0])
    maps = made.predict_anomaly_map([*square(7, 80, size), spoiled])
    assert maps.shape == (8, *size)  # type: ignore[union-attr]
    row, column = np.unravel_index(maps[-1].argmax(), size)
    assert 12 <= row <= 27 and 20 <= column <= 35


@pytest.mark.parametrize("model", MODELS)
def test_fewer_images_than_neighbours_are_enough_or_an_error_that_says_how_many(model: str) -> None:
    made = detector(model)
    try:
        found = answers(made, asked_images(), square(2))
    except ValueError as error:
        assert "there are 2 images" in str(error)
    else:
        assert all(np.isfinite(response.score) for response in found)


@pytest.mark.parametrize("model", MODELS)
def test_one_image_gives_scores_but_no_threshold(model: str) -> None:
    made = detector(model)
    try:
        made.fit(square(1))
    except ValueError as error:
        assert "there are 1 images" in str(error)
        return
    assert np.isfinite(made.decision_function(asked_images())).all()
    if model in ZERO_SHOT:
        assert made.image_point_.source.startswith("held_out; largest of 1 scores")
        return
    assert np.isnan(made.threshold_) and made.image_point_.source.startswith("none: ")
    with pytest.raises(RuntimeError, match="no threshold to predict with"):
        made.predict(asked_images())


@pytest.mark.parametrize("model", MODELS)
def test_no_image_is_an_error(model: str) -> None:
    with pytest.raises(ValueError, match="no images to fit on"):
        detector(model).fit([])


@pytest.mark.parametrize(
    ("model", "tiling"),
    [(model, tiling) for model in MODELS for tiling in (None, {"tile_size": 24, "stride": 24})],
)
def test_behind_a_region_all_is_as_if_there_were_nothing_else(
    model: str, tiling: dict[str, int] | None
) -> None:
    """What is learnt, scores and maps are those of the inside cut out, bit by bit; a defect outside is not seen."""

    def inside(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [image[:, 24:] for image in images]

    train = [with_spot(image, left=8 * (i % 2)) if i % 3 else image for i, image in enumerate(square(12))]
    outside, within = (with_spot(square(1, 60)[0], left=left) for left in (8, 32))
    asked = [*square(4, 50), outside, within]
    behind = detector(model, tiling=tiling, preset=Preset("right", (parse_step({"roi": {"left": 0.5}}),)))
    alone = detector(model, tiling=tiling)
    left, right = (np.s_[:, :3], np.s_[:, 3:]) if tiling is None else (np.s_[::2], np.s_[1::2])
    states = behind.fit_state(sources(train)), alone.fit_state(sources(inside(train)))
    assert states[0].arrays.keys() == states[1].arrays.keys()
    for name, array in states[0].arrays.items():
        assert np.array_equal(array, states[1].arrays[name]), name
    found = list(behind.respond(states[0], sources(asked)))
    expected = list(alone.respond(states[1], sources(inside(asked))))
    for one, two in zip(found, expected, strict=True):
        assert one.score == two.score
        assert np.array_equal(one.patch_grid[right], two.patch_grid)
        assert (one.patch_grid[left] == two.patch_grid.min()).all()
    assert found[-1].score > found[-2].score


@pytest.mark.parametrize("model", MODELS)
def test_no_image_is_embedded_twice_in_a_fit(model: str) -> None:
    made = detector(model)
    made.fit(square(9))
    assert made.embedded_images <= 9


def keys(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The settings of a stage, those of its parts with a dot; none of ``calibration`` and alike as a whole."""
    for name, field in settings.model_fields.items():
        inner = next((part for part in parts(field.annotation)), None)
        if inner is not None and name not in NEED_A_TEST_OF_THEIR_OWN:
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from parts(argument)


def cases() -> Iterator[Any]:
    for model in MODELS:
        spec = DETECTORS[model]
        idle = NEED_NORMALS if spec.transductive else set()
        maps = [f"maps.{key}" for key in type(spec.default_maps).model_fields]
        for key in (*keys(spec.fit), *keys(spec.scoring), *maps):
            if key not in idle and key not in NEED_A_TEST_OF_THEIR_OWN:
                yield pytest.param(model, key, id=f"{model}-{key}")


def beside(model: str, key: str) -> dict[str, Any]:
    """The settings under which both values of a key are compared."""
    if (model, key) == ("vision_softpatch", "augment.rotation"):
        return {"augment": {"brightness": 0.2}, "discriminator": "unaligned_lof"}
    return {"augment": {"brightness": 0.2}} if key.startswith("augment.") else FIRST.get(key, {})


def laid_over(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    head, _, inner = key.partition(".")
    return {**settings, head: {**settings.get(head, {}), inner: value} if inner else value}


def outcome(model: str, settings: dict[str, Any]) -> tuple[np.ndarray, ...]:
    # far from the bank the re-weighting is 1; an object's tokens are more than 10 away
    scale = 0.01 if "reweight" in settings else 3.7
    made = detector(model, Attentive(scale=scale), **settings).fit(square(24))
    asked = asked_images()
    thresholds = np.array([made.threshold_, made.pixel_threshold_])
    return made.decision_function(asked), np.stack(list(made.predict_anomaly_map(asked))), thresholds


@pytest.mark.parametrize(("model", "key"), list(cases()))
def test_every_parameter_does_something(model: str, key: str) -> None:
    assert key in ANOTHER, f"say in ANOTHER which value of {key} differs from its default"
    spec = DETECTORS[model]
    stages = spec.cut(beside(model, key))
    value: Any = ANOTHER[key]
    if isinstance(value, dict):
        plain = {**stages.fit.model_dump(), **stages.scoring.model_dump(), "maps": stages.maps.model_dump()}
        for name in key.split("."):
            plain = plain[name]
        value = value[plain]
    first = outcome(model, beside(model, key))
    other = outcome(model, laid_over(beside(model, key), key, value))
    assert not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, other, strict=True))
