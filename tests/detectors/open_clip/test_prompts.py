"""Prompts against WinCLIP's counts, their scores against brute force, with injected embeddings: no torch needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.conftest import CellMeans, WithTexts, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.open_clip.prompt_patch import harmonic_over_windows, window_probability
from uad_orchestrator.detectors.open_clip.prompt_patch_settings import PromptPatchFit
from uad_orchestrator.detectors.open_clip.prompt_settings import PromptFit, PromptSettings
from uad_orchestrator.detectors.open_clip.prompts import compose
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

SCORE, PATCH, KNN = "vision_openclip_promptscore", "vision_openclip_prompt_patch", "vision_openclip_patchknn"


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{i:02}.png") for i, image in enumerate(images)]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)


def detector_of(model: str, embedder: Any = None, **settings: Any) -> Detector:
    return create_detector(model, embedder=embedder or WithTexts(precision="float32"), **settings)


def response_of(detector: Detector, image: np.ndarray, train: list[np.ndarray] | None = None):
    (response,) = detector.respond(detector.fit_state(sources(train or textures(3))), sources([image]))
    return response


def directions(class_name: str, prompts: PromptSettings | None = None) -> np.ndarray:
    """Normal and anomalous: unit embeddings averaged, brought to length 1 again."""
    groups = compose(prompts or PromptSettings(), class_name)
    return unit(np.stack([unit(WithTexts().embed_texts(group)).mean(axis=0) for group in groups]))


def test_the_ensemble_is_winclips() -> None:
    normal, anomalous = compose(PromptSettings(), "bottle")
    assert (len(normal), len(anomalous)) == (7 * 22, 4 * 22)
    assert len({*normal, *anomalous}) == 11 * 22, "none stands there twice"
    assert "a photo of a unblemished bottle." in normal
    assert "a jpeg corrupted photo of a bottle with defect." in anomalous


def test_braces_in_a_class_name_stay_what_they_are() -> None:
    prompts = PromptSettings(normal=("{}",), anomalous=("broken {}",), templates=("{0} {}",))
    assert compose(prompts, "pipe {3}") == (["{0} pipe {3}"], ["{0} broken pipe {3}"])


@pytest.mark.parametrize("templates", [("a photo.",), ("{} and {}",), ()])
def test_a_template_has_one_place_for_the_class_name(templates: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs one \{\}|at least 1 item"):
        PromptSettings(templates=templates)


def test_class_names_are_resolved_for_a_category() -> None:
    fit = PromptFit(class_names={"bottle": "glass bottle"})
    assert fit.for_category("bottle").class_name == "glass bottle"
    assert fit.for_category("metal_nut").class_name == "metal nut"
    named = PromptPatchFit(class_name="part", class_names={"bottle": "glass bottle"})
    assert (named.for_category("pill").class_name, named.for_category("bottle").class_name) == (
        "part",
        "glass bottle",
    )


def test_a_prompt_score_is_the_difference_of_the_similarities() -> None:
    image = with_spot(textures(1, 9)[0])
    detector = detector_of(SCORE, class_name="gear")
    response = response_of(detector, image)
    rows, text = unit(CellMeans().embed(image).patch_embeddings), directions("gear")
    expected = rows @ text[1] - rows @ text[0]
    np.testing.assert_allclose(response.patch_grid.ravel(), expected, atol=1e-6)
    assert response.score == pytest.approx(expected.max(), abs=1e-6)


def test_a_prompt_patch_score_is_the_softmax_of_both_similarities() -> None:
    image = with_spot(textures(1, 9)[0])
    response = response_of(detector_of(PATCH), image)
    cosines = unit(CellMeans().embed(image).patch_embeddings) @ directions("object").T
    powers = np.exp(cosines / 0.07)
    np.testing.assert_allclose(response.patch_grid.ravel(), powers[:, 1] / powers.sum(axis=1), atol=1e-6)


def test_references_add_half_the_cosine_distance_to_their_nearest_patch() -> None:
    train, image = textures(4), with_spot(textures(1, 9)[0])
    zero, few = (
        response_of(detector_of(PATCH, references=references), image, train).patch_grid.ravel()
        for references in (None, {"k": 2, "seed": 1})
    )
    bank = unit(np.concatenate([CellMeans().embed(reference).patch_embeddings for reference in train[2:]]))
    nearest = (unit(CellMeans().embed(image).patch_embeddings) @ bank.T).max(axis=1)
    np.testing.assert_allclose(few - zero, (1 - nearest) / 2, atol=1e-6)


def windows_one_by_one(
    grid: np.ndarray, text: np.ndarray, windows: tuple[Any, ...], where: np.ndarray | None = None
) -> np.ndarray:
    """WinCLIP's multi-scale score, window by window and patch by patch, of the patches ``where`` it is True."""
    height, width = grid.shape[:2]
    where = np.ones((height, width), bool) if where is None else where

    def probability(row: np.ndarray) -> float:
        powers = np.exp(text @ unit(row) / 0.07)
        return powers[1] / powers.sum()

    scales = [np.array([[probability(row) for row in rows] for rows in grid])]
    for window in windows:
        h, w = (height, width) if window == "image" else (min(window, height), min(window, width))
        covering: dict[tuple[int, int], list[float]] = {}
        for top in range(height - h + 1):
            for left in range(width - w + 1):
                inside = where[top : top + h, left : left + w]
                score = (
                    probability(grid[top : top + h, left : left + w][inside].mean(axis=0))
                    if inside.any()
                    else np.nan
                )
                for place in np.ndindex(h, w):
                    covering.setdefault((top + place[0], left + place[1]), []).append(1 / score)
        scales.append(np.array([[1 / np.mean(covering[r, c]) for c in range(width)] for r in range(height)]))
    return len(scales) / sum(1 / scale for scale in scales)


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.lists(st.sampled_from([2, 3, "image"]), max_size=3, unique=True),
    st.integers(0, 99),
)
def test_windows_are_winclips_harmonic_means(height: int, width: int, windows: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid, text = unit(rng.standard_normal((height, width, 4))), unit(rng.standard_normal((2, 4)))
    found = window_probability(grid, text, 0.07, windows)
    np.testing.assert_allclose(found, windows_one_by_one(grid, text, tuple(windows)), rtol=1e-5)
    assert (found > 0).all() and (found < 1).all()


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.lists(st.sampled_from([2, 3, "image"]), max_size=3, unique=True),
    st.integers(0, 99),
)
def test_a_window_holds_the_inspected_patches_alone(
    height: int, width: int, windows: list[Any], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grid, text = unit(rng.standard_normal((height, width, 4))), unit(rng.standard_normal((2, 4)))
    where = rng.random((height, width)) < 0.6
    where[rng.integers(height), rng.integers(width)] = True
    found = window_probability(np.where(where[..., None], grid, 0), text, 0.07, windows)
    expected = windows_one_by_one(grid, text, tuple(windows), where)
    np.testing.assert_allclose(found[where], expected[where], rtol=1e-5)


def test_behind_a_region_the_window_of_the_image_is_the_region() -> None:
    image = with_spot(textures(1, 9)[0])
    settings = {"windows": ["image"], "references": {"k": 2}}
    roi = Preset("lower", (parse_step({"roi": {"top": 0.5}}),))
    behind = response_of(detector_of(PATCH, preset=roi, **settings), image)
    alone = response_of(detector_of(PATCH, **settings), image[24:], [normal[24:] for normal in textures(3)])
    assert behind.score == alone.score
    assert np.array_equal(behind.patch_grid[3:], alone.patch_grid)


def test_a_temperature_near_zero_stays_finite() -> None:
    rng = np.random.default_rng(0)
    grid, text = unit(rng.standard_normal((3, 4, 4))), unit(rng.standard_normal((2, 4)))
    found = window_probability(grid, text, 1e-6, (2, "image"))
    assert np.isfinite(found).all() and (found >= 0).all()


def test_equal_windows_leave_a_score_what_it_is() -> None:
    np.testing.assert_allclose(harmonic_over_windows(np.full((3, 4), 0.2), (3, 2)), np.full((5, 5), 0.2))


@pytest.mark.parametrize("k", [1, 2])
def test_patch_neighbours_are_by_mean_cosine_distance(k: int) -> None:
    train, image = textures(4), with_spot(textures(1, 9)[0])
    response = response_of(detector_of(KNN, n_neighbors=k), image, train)
    bank = unit(np.concatenate([CellMeans().embed(reference).patch_embeddings for reference in train]))
    cosines = unit(CellMeans().embed(image).patch_embeddings) @ bank.T
    expected = np.sort(1 - cosines, axis=1)[:, :k].mean(axis=1)
    np.testing.assert_allclose(response.patch_grid.ravel(), expected, atol=1e-6)
    assert response.score == pytest.approx(expected.max(), abs=1e-6)


@pytest.mark.parametrize("model", [SCORE, PATCH])
def test_zero_shot_detectors_learn_nothing_from_images_and_calibrate_on_all_of_them(model: str) -> None:
    embedder, train = WithTexts(), textures(6)
    detector = detector_of(model, embedder, contamination=0.2)
    state = detector.fit_state(sources(train))
    assert embedder.seen == 0 and state.facts["images"] == []
    assert np.array_equal(state.arrays["text"], detector.fit_state(sources(train[:1])).arrays["text"])
    chosen, source, leave_out = detector.calibration_images(state, sources(train))
    assert (len(chosen), source, leave_out) == (6, "held_out", False)
    detector.fit(train)
    assert detector.image_point_.source.startswith("held_out")
    assert np.array_equal(detector.decision_scores_, detector.decision_function(train))
    with pytest.raises(ValueError, match="no images to fit on"):
        detector_of(model).fit([])


def test_references_calibrate_on_the_others_else_each_without_its_own_patches() -> None:
    train = textures(5)
    detector = detector_of(PATCH, references={"k": 3})
    state = detector.fit_state(sources(train))
    chosen, source, leave_out = detector.calibration_images(state, sources(train))
    assert ([image.name for image in chosen], source, leave_out) == (["03.png", "04.png"], "held_out", False)
    detector = detector_of(PATCH, references={"k": 5})
    state = detector.fit_state(sources(train))
    chosen, source, leave_out = detector.calibration_images(state, sources(train))
    assert (len(chosen), source, leave_out) == (5, "leave_one_image_out", True)
    for i, response in enumerate(detector.respond(state, sources(train), leave_out=True)):
        rest = [image for j, image in enumerate(train) if j != i]
        refitted = response_of(detector_of(PATCH, references={"k": 4}), train[i], rest)
        assert response.score == pytest.approx(refitted.score, rel=1e-6)
    lonely = detector_of(PATCH, references={"k": 1}).fit(train[:1])
    assert np.isnan(lonely.threshold_) and "a single image" in lonely.image_point_.source


def test_texts_are_embedded_once_for_a_tower_and_a_set_of_prompts(tmp_path: Path) -> None:
    cache, train = EmbeddingCache(tmp_path), textures(2)

    def texts_embedded(model: str, embedder: WithTexts, **settings: Any) -> int:
        create_detector(model, embedder=embedder, cache=cache, **settings).fit_state(sources(train))
        return embedder.texts

    assert texts_embedded(SCORE, WithTexts()) == 242
    assert texts_embedded(SCORE, WithTexts()) == 0
    assert texts_embedded(PATCH, WithTexts()) == 0, "another detector, the same prompts"
    assert texts_embedded(PATCH, WithTexts(cell=4)) == 0, "how images are embedded does not matter to texts"
    assert texts_embedded(SCORE, WithTexts(), class_name="gear") == 242
    assert texts_embedded(SCORE, WithTexts(), prompts={"anomalous": ["broken {}"]}) == 22
    assert texts_embedded(SCORE, WithTexts(tower="b")) == 242
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"other weights")
    assert texts_embedded(SCORE, WithTexts(), weights=weights) == 242


def test_a_restored_state_scores_without_a_text_tower(tmp_path: Path) -> None:
    train, image = textures(4), with_spot(textures(1, 9)[0])
    for model, settings in ((SCORE, {}), (PATCH, {"references": {"k": 2}})):
        fitted = detector_of(model, **settings).fit(train)
        fitted.state_.save(tmp_path)
        restored = detector_of(model, CellMeans(precision="float32"), **settings)
        restored.restore(type(fitted.state_).load(tmp_path), fitted.image_point_, fitted.pixel_point_)
        assert restored.decision_function([image]) == fitted.decision_function([image])


def test_arrays_of_other_formats_and_non_square_images() -> None:
    train = textures(3, size=(40, 96))
    for model in (SCORE, PATCH, KNN):
        detector = detector_of(model).fit(np.stack(train)[..., ::-1], input_format="bgr_u8_hwc")
        assert np.array_equal(
            detector.decision_function(train),
            detector.decision_function(np.stack(train)[..., ::-1], input_format="bgr_u8_hwc"),
        )
        assert detector.get_anomaly_map(train[0]).shape == (40, 96)


@pytest.mark.parametrize("model", [SCORE, PATCH])
def test_an_embedder_that_reads_no_prompts_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match="filter_bank has no text tower"):
        create_detector(model, embedder="filter_bank")
    with pytest.raises(ValueError, match="CellMeans cannot embed prompts"):
        create_detector(model, embedder=CellMeans()).fit(textures(2))


def test_prompts_of_another_dimension_than_the_patches_are_an_error_that_names_the_image() -> None:
    class Longer(WithTexts):
        def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
            return np.ones((len(texts), 7), np.float32)

    with pytest.raises(ValueError, match=r"00\.png: .* dimension 6, the prompts' of 7"):
        response_of(detector_of(SCORE, Longer()), textures(1)[0])
