"""Calibration on a coreset: an image left out is scored as if the bank had been built without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tests.detectors.conftest import CellMeans, textures
from tests.detectors.protocol.test_calibration import sources
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.bank.rows import building
from uad_orchestrator.detectors.bank.rows import refilled as refilled_module
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

GREEDY = {"method": "batched_greedy", "ratio": 0.1}
DENSITY = {"method": "density", "ratio": 0.1}
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "patchcore": ("vision_patchcore", {"coreset": GREEDY}),
    "patchcore, density": ("vision_patchcore", {"coreset": DENSITY}),
    "softpatch": ("vision_softpatch", {"coreset": GREEDY, "lof_k": 3}),
    "anomalydino": ("vision_anomalydino", {"coreset": GREEDY, "rotation": [90.0]}),
    "superadd": ("vision_superadd", {"coreset": DENSITY, "tiles": {"tile_size": 48}}),
    "superadd, greedy": ("vision_superadd", {"coreset": GREEDY, "tiles": {"tile_size": 48}}),
    "patchknn": ("vision_openclip_patchknn", {"coreset": GREEDY}),
    "augmented": ("vision_patchcore", {"coreset": GREEDY, "augment": {"copies": 1, "brightness": 0.1}}),
    "tiles": ("vision_patchcore", {"coreset": GREEDY, "tiling": {"tile_size": 32, "stride": 16}}),
}


def detector(name: str, embedder: CellMeans | None = None, **more: Any) -> Detector:
    model, settings = DETECTORS[name]
    return create_detector(model, embedder=embedder or CellMeans(), **{**settings, **more})


def scores(detector: Detector, train: list[ImageSource]) -> np.ndarray:
    """Of the normals that calibrate."""
    state = detector.fit_state(train)
    images, _, leave_out = detector.calibration_images(state, train)
    return np.array([r.score for r in detector.calibration_responses(state, train, images, leave_out)])


@pytest.mark.parametrize("name", DETECTORS)
def test_nothing_of_the_image_is_left_and_the_bank_is_as_large_as_before(name: str) -> None:
    train = sources(textures(8, size=(48, 48)))
    fitted = detector(name)
    state = fitted.fit_state(train)
    groups = [image.group for image in train]
    layers = ("", *(f"_{layer}" for layer in range(state.facts.get("layers", 0))))
    for group, without in zip(groups, fitted.states_without(state, train, groups), strict=True):
        own = [i for i, image in enumerate(state.facts["images"]) if image["group"] == group]
        for layer in layers:
            if f"bank{layer}" not in state.arrays:
                continue
            starts, before = without.arrays[f"row_starts{layer}"], state.arrays[f"bank{layer}"]
            assert len(without.arrays[f"bank{layer}"]) == len(before)
            assert starts[own[0]] == starts[own[-1] + 1], "no rows of its own"
            rows = without.arrays[f"rows{layer}"]
            assert np.all(np.diff(rows) > 0)
            kept, there = np.isin(rows, state.arrays[f"rows{layer}"]), state.arrays[f"rows{layer}"]
            where = np.searchsorted(there, rows[kept])
            assert np.array_equal(without.arrays[f"bank{layer}"][kept], before[where])


@pytest.mark.parametrize("name", ["patchcore", "softpatch", "anomalydino", "superadd, greedy"])
def test_what_the_fit_knows_of_patches_changes_no_bank(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "WORTH_KEEPING", 100)
    train = sources(textures(8, size=(48, 48)))
    fitted = detector(name)
    state = fitted.fit_state(train)
    known = [array for array in state.arrays if array.partition("_")[0] in ("turns", "nearest")]
    assert len(known) == 2 * state.facts.get("layers", 1)
    groups = [image.group for image in train]
    knowing = list(fitted.states_without(state, train, groups))
    for array in known:
        del state.arrays[array]
    for ours, searched in zip(knowing, fitted.states_without(state, train, groups), strict=True):
        assert all(np.array_equal(ours.arrays[name], array) for name, array in searched.arrays.items())


@pytest.mark.parametrize("discriminator", ["lof", "nearest", "unaligned_lof"])
def test_rows_weigh_what_they_would_weigh_without_the_image(discriminator: str) -> None:
    train = sources(textures(9, size=(48, 48)))
    fitted = detector("softpatch", discriminator=discriminator, threshold=0.2)
    state = fitted.fit_state(train)
    every = detector("softpatch", discriminator=discriminator, threshold=0.0, coreset={"method": "none"})
    patches = state.facts["patches"] // len(train)
    groups = [image.group for image in train]
    for at, without in enumerate(fitted.states_without(state, train, groups)):
        weights = every.fit_state(train[:at] + train[at + 1 :]).arrays["weights"]
        rows = without.arrays["rows"]
        among_others = np.where(rows < at * patches, rows, rows - patches)
        np.testing.assert_allclose(without.arrays["weights"], weights[among_others], rtol=1e-5)
        assert without.arrays["weights"].max() <= np.quantile(weights, 0.8) * (1 + 1e-6)


@pytest.mark.parametrize("name", ["patchcore", "softpatch", "anomalydino"])
def test_left_out_scores_are_those_of_banks_built_without_the_image(name: str) -> None:
    """On pictures no patch of which comes twice: the hole that an image's rows leave is then the largest."""
    ours, plain, refitted = [], [], []
    for seed in range(4):
        train = sources(textures(16, seed=seed))
        ours.append(scores(detector(name), train))
        plain.append(scores(detector(name, calibration={"method": "leave_out"}), train))
        again = detector(name)
        for i, image in enumerate(train):
            (response,) = again.respond(again.fit_state(train[:i] + train[i + 1 :]), [image])
            refitted.append(response.score)
    assert np.median(plain) / np.median(refitted) > 1.2
    assert np.median(ours) / np.median(refitted) == pytest.approx(1, abs=0.1)
    assert np.mean(ours) / np.mean(refitted) == pytest.approx(1, abs=0.1)


def test_left_out_scores_are_those_of_unseen_images() -> None:
    """Half is fitted, the other half scored as unseen, and the other way round."""
    ratios = []
    for seed in range(8):
        images = sources(textures(48, seed=seed))
        for ours, theirs in ((images[:24], images[24:]), (images[24:], images[:24])):
            fitted = detector("patchcore")
            unseen = [r.score for r in fitted.respond(fitted.fit_state(ours), theirs)]
            ratios.append(np.quantile(scores(fitted, ours), [0.5, 0.9]) / np.quantile(unseen, [0.5, 0.9]))
    assert np.mean(ratios, axis=0) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("name", ["patchcore", "softpatch", "anomalydino", "superadd", "tiles"])
def test_scores_depend_on_nothing_but_images_and_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on threads, on what is kept in memory, on the cache, nor on an order that repeats the images' own."""
    train, embedder = sources(textures(9, size=(48, 48))), CellMeans()
    expected = scores(detector(name), train)
    with threadpool_limits(1):
        assert np.array_equal(scores(detector(name), train), expected)
    monkeypatch.setattr(refilled_module, "KEPT_BYTES", 0)
    assert np.array_equal(scores(detector(name), train), expected)
    cached = detector(name, embedder, cache=EmbeddingCache(tmp_path / "cache"))
    state = cached.fit_state(train)
    embedded = embedder.seen
    images, _, leave_out = cached.calibration_images(state, train)

    def answers() -> list[float]:
        return [r.score for r in cached.calibration_responses(state, train, images, leave_out)]

    assert answers() == expected.tolist()
    assert embedder.seen == embedded, "nothing is embedded twice"
    shutil.rmtree(tmp_path / "cache")
    assert answers() == expected.tolist()
    assert embedder.seen > embedded


@pytest.mark.parametrize("name", ["patchcore", "softpatch", "anomalydino"])
def test_banks_that_do_not_say_when_their_rows_were_chosen_are_refilled_alike(name: str) -> None:
    """As those are that were fitted by earlier versions."""
    train = sources(textures(9, size=(48, 48)))
    fitted = detector(name)
    state = fitted.fit_state(train)
    arrays = {array: values for array, values in state.arrays.items() if array != "turns"}
    assert len(arrays) == len(state.arrays) - 1
    earlier = DetectorState(arrays, state.facts)
    found, expected = (
        [r.score for r in fitted.calibration_responses(each, train, train, True)] for each in (earlier, state)
    )
    assert found == expected


def test_those_chosen_calibrate_by_banks_of_all_others() -> None:
    train = sources(textures(12))
    every = scores(detector("patchcore"), train)
    few = detector("patchcore", calibration={"max_images": 5, "seed": 1})
    images, _, _ = few.calibration_images(few.fit_state(train), train)
    assert scores(few, train).tolist() == [every[train.index(image)] for image in images]


def test_a_group_is_left_out_together_wherever_its_images_stand() -> None:
    train = sources(textures(9), groups=["a", "b", "a", "c", "b", "a", "d", "e", "e"])
    fitted = detector("patchcore")
    state = fitted.fit_state(train)
    images, source, leave_out = fitted.calibration_images(state, train)
    assert (images, source) == (train, "leave_one_group_out, refilled")
    answers = list(fitted.calibration_responses(state, train, images, leave_out))
    assert [answer.name for answer in answers] == [image.name for image in train]
    (without,) = fitted.states_without(state, train, ["b"])
    expected = [r.score for r in fitted.respond(without, [train[1], train[4]])]
    assert [answers[1].score, answers[4].score] == expected


@pytest.mark.parametrize("most", [5e9, 0])
def test_copies_of_an_image_are_answered_each(most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refilled_module, "LONG_SEARCH", most)
    monkeypatch.setattr(refilled_module, "SAMPLED", 3)
    train = sources(textures(9))
    fitted = detector("patchcore")
    state = fitted.fit_state(train)
    once = [r.score for r in fitted.calibration_responses(state, train, train, True)]
    again = [r.score for r in fitted.calibration_responses(state, train, [*train, train[0], train[0]], True)]
    if most:
        assert again == [*once, once[0], once[0]]
    assert len(again) == 11 and again[9] == again[10] == again[0]


def test_the_source_of_both_thresholds_says_how_images_were_left_out() -> None:
    train = sources(textures(12))
    sources_of = {}
    for way in ("auto", "leave_out"):
        for ratio in (0.1, 1.0):
            fitted = detector(
                "patchcore", coreset={"ratio": ratio}, calibration={"method": way}, contamination=0.2
            )
            fitted.fit(train)
            assert fitted.image_point_.origin == fitted.pixel_point_.origin
            sources_of[way, ratio] = fitted.image_point_.source, fitted.threshold_
    assert {key: source for key, (source, _) in sources_of.items()} == {
        ("auto", 0.1): "leave_one_image_out, refilled",
        ("auto", 1.0): "leave_one_image_out",
        ("leave_out", 0.1): "leave_one_image_out",
        ("leave_out", 1.0): "leave_one_image_out",
    }
    assert sources_of["auto", 0.1][1] < sources_of["leave_out", 0.1][1]
    assert sources_of["auto", 1.0] == sources_of["leave_out", 1.0]


def test_scores_and_maps_of_the_normals_come_from_the_same_banks() -> None:
    train = sources(textures(10))
    fitted = detector(
        "patchcore", contamination=0.3, maps={"gaussian_sigma": 0}, calibration={"robust": False}
    )
    fitted.fit(train)
    state = fitted.state_
    answers = list(fitted.calibration_responses(state, train, train, True))
    assert fitted.decision_scores_.tolist() == [answer.score for answer in answers]
    assert fitted.threshold_ == np.sort(fitted.decision_scores_)[-3]  # 0.7 of 11, rounded up
    assert fitted.pixel_threshold_ == np.sort([fitted.anomaly_map(answer).max() for answer in answers])[-3]


def test_a_long_search_refills_some_images_and_scales_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    train = sources(textures(12))
    plain = detector("patchcore", calibration={"method": "leave_out"})
    state = plain.fit_state(train)
    holed = list(plain.calibration_responses(state, train, train, True))
    fitted = detector("patchcore", contamination=0.2, maps={"gaussian_sigma": 0})
    refilled = list(fitted.calibration_responses(state, train, train, True))
    monkeypatch.setattr(refilled_module, "LONG_SEARCH", 0)
    monkeypatch.setattr(refilled_module, "SAMPLED", 3)
    images, source, leave_out = fitted.calibration_images(state, train)
    assert (images, source) == (train, "leave_one_image_out, scaled by 3 refilled")
    found = list(fitted.calibration_responses(state, train, images, leave_out))
    sampled = [0, 6, 11]
    ratio = sum(refilled[i].score for i in sampled) / sum(holed[i].score for i in sampled)
    assert ratio < 0.95
    for i, image in enumerate(train):
        expected, by = (refilled[i], 1) if i in sampled else (holed[i], ratio)
        assert (found[i].name, found[i].score) == (image.name, pytest.approx(expected.score * by))
        np.testing.assert_allclose(found[i].patch_grid, expected.patch_grid * by, rtol=1e-6)
    fitted.fit(train)
    for point in (fitted.image_point_, fitted.pixel_point_):
        assert point.origin == source and np.isfinite(point.guaranteed_rate)
    assert fitted.decision_scores_.tolist() == [response.score for response in found]


def test_sampled_groups_are_refilled_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    train = sources(textures(9), groups=["a", "b", "a", "c", "b", "a", "d", "e", "e"])
    every = scores(detector("patchcore"), train)
    monkeypatch.setattr(refilled_module, "LONG_SEARCH", 0)
    monkeypatch.setattr(refilled_module, "SAMPLED", 2)
    fitted = detector("patchcore").fit(train)
    assert fitted.image_point_.origin == "leave_one_group_out, scaled by 2 refilled"
    assert fitted.image_point_.largest_group == 3
    asked = list[str]()

    def noted(state: DetectorState, images: list[ImageSource], groups: list[str]) -> Iterator[DetectorState]:
        asked.extend(groups)
        return states_without(state, images, groups)

    states_without = fitted.states_without
    monkeypatch.setattr(fitted, "states_without", noted)
    again = fitted.calibration_responses(fitted.state_, train, train, True)
    assert [response.score for response in again] == fitted.decision_scores_.tolist()
    sampled = [0, 2, 5, 7, 8]
    assert fitted.decision_scores_[sampled].tolist() == every[sampled].tolist()
    assert asked == ["a", "e"]


@pytest.mark.parametrize("name", ["patchcore", "softpatch", "superadd", "patchknn"])
def test_holes_are_filled_whatever_part_of_all_patches_is_kept(name: str) -> None:
    train = sources(textures(9, size=(48, 48)))
    for ratio in (0.2, 0.25, 0.6):
        coreset = {"method": "density" if name == "superadd" else "batched_greedy", "ratio": ratio}
        assert detector(name, coreset=coreset).fit(train).image_point_.origin.endswith("refilled")


@pytest.mark.parametrize("coreset", [{"method": "none"}, {"method": "random", "ratio": 0.3}])
def test_all_patches_or_random_ones_leave_no_holes(coreset: dict[str, Any]) -> None:
    fitted = detector("patchcore", coreset=coreset).fit(sources(textures(9, size=(48, 48))))
    assert fitted.image_point_.origin == "leave_one_image_out"


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_images_calibrate_too(count: int) -> None:
    fitted = detector("patchcore", coreset={"ratio": 0.2}).fit(textures(count))
    assert np.isfinite([fitted.threshold_, fitted.pixel_threshold_]).all()
    assert len(fitted.decision_scores_) == count
