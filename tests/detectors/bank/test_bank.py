"""A bank and its index are made once per fitted state, in time linear in its images, and go with the state."""

from __future__ import annotations

import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.conftest import WithTexts, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.bank.bank import Bank
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.memory.nearest import NearestNeighbors

NORMALS, ASKED = textures(6), [with_spot(image) for image in textures(5, seed=9)]

CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "patchcore": ("vision_patchcore", {}, 1),
    "reweighted": ("vision_patchcore", {"reweight": True}, 1),
    "in tiles": ("vision_patchcore", {"tiling": {"tile_size": 32}}, 1),
    "softpatch": ("vision_softpatch", {"lof_k": 3}, 1),
    "anomalydino": ("vision_anomalydino", {}, 1),
    "patchknn": ("vision_openclip_patchknn", {}, 1),
    "few-shot prompts": ("vision_openclip_prompt_patch", {"references": {"k": 3}}, 1),
    "zero-shot prompts": ("vision_openclip_prompt_patch", {}, 0),
    "superadd": ("vision_superadd", {"tiles": {"tile_size": 48}}, 2),
}
"""A detector, and how many indexes its state has."""


class TwoLayers(WithTexts):
    """Says that its embeddings are those of two layers of a ViT."""

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "norm": "none", "layers": ["first", "second"]}


def detector(model: str, settings: dict[str, Any]) -> Detector:
    return create_detector(model, embedder=TwoLayers(), batch_size=1, contamination=0.2, **settings)


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"image {i}") for i, image in enumerate(images)]


@pytest.fixture
def indexes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each index that is made from here on; making one takes a moment."""
    found: list[int] = []
    make = NearestNeighbors.__init__

    def counting(self: NearestNeighbors, bank: np.ndarray, *arguments: Any, **named: Any) -> None:
        found.append(len(bank))
        time.sleep(0.05)
        make(self, bank, *arguments, **named)

    monkeypatch.setattr(NearestNeighbors, "__init__", counting)
    return found


@pytest.mark.parametrize(("model", "settings", "count"), CASES.values(), ids=CASES)
def test_many_batches_make_one_index(
    model: str, settings: dict[str, Any], count: int, indexes: list[int]
) -> None:
    fitted = detector(model, settings).fit(NORMALS)
    restored = detector(model, settings).restore(
        DetectorState(fitted.state_.arrays, fitted.state_.facts), fitted.image_point_, fitted.pixel_point_
    )
    indexes.clear()
    scores = restored.decision_function(ASKED)
    for i, image in enumerate(ASKED):
        restored.get_anomaly_map(image)
        (response,) = restored.respond(restored.state_, sources([image]))
        assert response.score == scores[i]
    restored.can_leave_out(restored.state_)
    list(restored.respond(restored.state_, sources(NORMALS), leave_out=count > 0))
    assert len(indexes) == count
    assert np.array_equal(fitted.decision_function(ASKED), scores)
    assert len(indexes) == count, "what calibrated scores, too"


@pytest.mark.parametrize("model", ["vision_patchcore", "vision_superadd"])
def test_threads_share_it(model: str, indexes: list[int]) -> None:
    fitted = detector(model, {})
    state = fitted.fit_state(sources(NORMALS))
    alone = [next(fitted.respond(replace(state), sources([image]))).score for image in ASKED]
    indexes.clear()
    with ThreadPoolExecutor(len(ASKED)) as pool:
        together = pool.map(lambda image: next(fitted.respond(state, sources([image]))).score, ASKED)
        assert list(together) == alone
    assert len(indexes) == (2 if model == "vision_superadd" else 1)


def test_a_new_fit_is_searched_anew() -> None:
    first, others = detector("vision_patchcore", {}).fit(NORMALS), textures(4, seed=5)
    first.decision_function(ASKED)
    again, fresh = first.fit(others), detector("vision_patchcore", {}).fit(others)
    assert np.array_equal(again.decision_function(ASKED), fresh.decision_function(ASKED))
    assert again.threshold_ == fresh.threshold_


def test_it_holds_the_states_own_rows_and_goes_with_it() -> None:
    state = detector("vision_patchcore", {}).fit_state(sources(NORMALS))
    bank = state.once(Bank)
    assert bank.nearest.bank is state.arrays["bank"], "no copy of them"
    gone = weakref.ref(bank)
    gc.disable()
    try:
        del bank, state
        assert gone() is None, "not even until the garbage is collected"
    finally:
        gc.enable()


class Group(str):
    """Counts how often one is compared with another."""

    compared: ClassVar[int] = 0

    def __eq__(self, other: object) -> bool:
        Group.compared += 1
        return str.__eq__(self, str(other))

    __hash__ = str.__hash__


def state_of(groups: list[str]) -> DetectorState:
    """A state with a row of each of so many images."""
    images = [{"name": f"{i}", "digest": f"digest {i}", "group": group} for i, group in enumerate(groups)]
    arrays = {"bank": np.eye(len(groups), 3, dtype=np.float32), "row_starts": np.arange(len(groups) + 1)}
    return DetectorState(arrays, {"precision": "float32", "images": images})


def comparisons(count: int) -> int:
    state, Group.compared = state_of([Group(f"part {i}") for i in range(count)]), 0
    bank = Bank(state)
    for image in state.facts["images"]:
        bank.rows_of(ImageSource(image["name"], image["digest"], image["group"], lambda: NORMALS[0]))
    return Group.compared


def test_its_work_grows_with_the_images_not_with_their_square() -> None:
    assert comparisons(400) <= 400 * 4
    assert comparisons(1600) <= 1600 * 4


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_a_groups_rows_are_those_of_its_images(sizes: list[int]) -> None:
    groups = [f"part {g}" for g, size in enumerate(sizes) for _ in range(size)]
    bank = Bank(state_of(groups))
    for i, group in enumerate(groups):
        by_digest = bank.rows_of(ImageSource("a copy", f"digest {i}", "another group", lambda: NORMALS[0]))
        by_group = bank.rows_of(ImageSource("a sibling", "another digest", group, lambda: NORMALS[0]))
        assert by_digest == by_group
        assert {*range(by_group.start, by_group.stop)} == {j for j, g in enumerate(groups) if g == group}
        assert bank.rows_without(ImageSource("x", f"digest {i}", group, lambda: NORMALS[0])) == len(
            groups
        ) - groups.count(group)
    assert bank.rows_of(ImageSource("x", "new", "new", lambda: NORMALS[0])) == slice(0, 0)
