"""Responses by a bank and by the same bank refilled, of one search, against those of a search in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.detectors.bank.rows.test_refilled import DETECTORS, detector
from tests.detectors.conftest import textures
from tests.detectors.protocol.test_calibration import sources
from uad_orchestrator.detectors.bank.patchcore import PatchCore
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.memory.nearest import NearestNeighbors

GROUPS = ["a", "b", "a", "c", "b", "a", "d", "e", "e"]
MORE: dict[str, dict[str, Any]] = {
    "one neighbour": {},
    "three neighbours": {"n_neighbors": 3},
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
@pytest.mark.parametrize("name", DETECTORS)
def test_both_responses_are_those_of_each_bank(name: str, more: dict[str, Any]) -> None:
    train = sources(textures(9, size=(48, 48)), groups=GROUPS)
    fitted = detector(name, **more, **({"reweight": True} if name == "patchcore" else {}))
    state = fitted.fit_state(train)
    groups = list(dict.fromkeys(GROUPS))
    for group, without in zip(groups, fitted.states_without(state, train, groups), strict=True):
        images = [image for image in train if image.group == group]
        answers = [*zip(*fitted.respond_both(state, without, images), strict=True)]
        expected = fitted.respond(without, images), fitted.respond(state, images, leave_out=True)
        for ours, theirs in zip(answers, expected, strict=True):
            for answer, plain in zip(ours, theirs, strict=True):
                assert (answer.name, answer.score) == (plain.name, plain.score)
                assert answer.patch_grid is not None and plain.patch_grid is not None
                assert np.array_equal(answer.patch_grid, plain.patch_grid)


@pytest.mark.parametrize("name", ["patchcore", "softpatch", "anomalydino", "patchknn"])
def test_few_patches_are_compared_with_all_rows_of_the_refilled_bank(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = sources(textures(9, size=(96, 96)))
    fitted = detector(name, embedder=None)
    state = fitted.fit_state(train)
    (without,) = fitted.states_without(state, train, [train[4].group])
    compared = 0
    search_each = NearestNeighbors.search_each

    def counting(self: NearestNeighbors, queries: np.ndarray, *given: Any) -> tuple[np.ndarray, np.ndarray]:
        nonlocal compared
        compared += len(queries) * (self.bank is without.arrays["bank"])
        return search_each(self, queries, *given)

    monkeypatch.setattr(NearestNeighbors, "search_each", counting)
    list(fitted.respond_both(state, without, [train[4]]))
    assert 0 < compared < 144 / 2
    list(fitted.respond(without, [train[4]]))
    assert compared > 144


def test_a_detector_that_responds_otherwise_does_so_by_both_banks() -> None:
    class Doubled(PatchCore):
        def respond(self, *given: Any, **named: Any) -> Iterator[Response]:
            for response in super().respond(*given, **named):
                yield replace(response, score=2 * response.score)

    train = sources(textures(9, size=(48, 48)))
    plain = detector("patchcore")
    doubled = Doubled(plain.stream, plain.fit_settings, plain.scoring_settings, plain.map_settings)
    state = plain.fit_state(train)
    (without,) = plain.states_without(state, train, [train[4].group])
    (expected,), (found,) = (
        [[response.score for response in both] for both in each.respond_both(state, without, [train[4]])]
        for each in (plain, doubled)
    )
    assert found == [2 * score for score in expected]
