"""What a fit leaves for the calibration after it: taken once, only for the same bank, and it changes no figure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.detectors.bank.rows.gathering import noted_gathering
from tests.detectors.bank.rows.test_refilled import DETECTORS, detector
from tests.detectors.conftest import CellMeans, textures
from tests.detectors.protocol.test_calibration import sources
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.bank.bank_detector import BankDetector
from uad_orchestrator.detectors.bank.rows.searched_patches import take_patches
from uad_orchestrator.detectors.embedding import handed_on
from uad_orchestrator.detectors.embedding.handed_on import HandedOn
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.presets import resolve_preset

LEFT_BY = ("patchcore", "anomalydino", "patchknn", "augmented", "tiles", "superadd, greedy")
"""Those of the detectors whose coreset is greedy and whose patches are not weighed."""


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows each time that all patches are gathered for a calibration."""
    return noted_gathering(monkeypatch)


def answers(fitted: Detector, state: DetectorState, train: list[ImageSource]) -> list[tuple[float, bytes]]:
    images, _, leave_out = fitted.calibration_images(state, train)
    found = fitted.calibration_responses(state, train, images, leave_out)
    return [(response.score, np.asarray(response.patch_grid).tobytes()) for response in found]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_calibration_after_its_fit_gathers_no_patches_and_finds_the_same(
    name: str, gathered: list[int]
) -> None:
    train = sources(textures(8, size=(48, 48)))
    fitted = detector(name)
    state = fitted.fit_state(train)
    at_once = answers(fitted, state, train)
    assert bool(gathered) is (name not in LEFT_BY)
    gathered.clear()
    assert answers(fitted, state, train) == at_once, "it was taken, and is gathered now"
    assert gathered


def test_only_the_calibration_of_that_very_bank_takes_it(gathered: list[int]) -> None:
    train = sources(textures(8, size=(48, 48)))
    fitted = detector("patchcore")
    first = fitted.fit_state(train)
    second = fitted.fit_state(train[:-1])
    answers(fitted, first, train)
    assert gathered == [1], "the second fit's patches are held"
    answers(fitted, second, train[:-1])
    assert gathered == [1]

    other = detector("patchcore", seed=1)
    other.stream.handed_on = fitted.stream.handed_on
    state = fitted.fit_state(train)
    answers(other, other.fit_state(train), train)
    answers(fitted, state, train)
    assert gathered == [1, 1], "the other seed's fit took its place"


def test_it_is_taken_by_a_detector_of_another_stream_and_not_where_it_is_large(
    gathered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = sources(textures(8, size=(48, 48)))
    fitted, calibrating, shared = detector("patchcore"), detector("patchcore"), HandedOn()
    fitted.stream.handed_on = calibrating.stream.handed_on = shared
    answers(calibrating, fitted.fit_state(train), train)
    assert not gathered
    monkeypatch.setattr(handed_on, "MOST_BYTES", 1000)
    answers(calibrating, fitted.fit_state(train), train)
    assert gathered


def test_nothing_is_taken_of_another_region_of_interest(gathered: list[int]) -> None:
    """Images and embeddings are the same, and by chance the numbers of the rows."""
    train, shared = sources(textures(4, seed=188, size=(16, 32))), HandedOn()

    def inspecting(**region: float) -> Detector:
        half = resolve_preset("half", {"half": [{"roi": region}]})
        coreset = {"method": "batched_greedy", "ratio": 0.13}
        made = create_detector("vision_patchcore", embedder=CellMeans(), preset=half, coreset=coreset)
        made.stream.handed_on = shared
        return made

    left, right = inspecting(right=0.5), inspecting(left=0.5)
    of_left, of_right = left.fit_state(train), right.fit_state(train)
    assert np.array_equal(of_left.arrays["rows"], of_right.arrays["rows"])
    answers(left, of_left, train)
    assert gathered == [1]
    answers(right, of_right, train)
    assert gathered == [1], "the other left it there"


def test_what_is_too_large_is_not_even_made_and_ends_what_was_held() -> None:
    held = HandedOn()
    held.put("key", lambda: 1, size=8)
    held.put("key", pytest.fail, size=handed_on.MOST_BYTES + 1)
    assert held.take("key") is None


def test_nothing_is_held_after_a_fit_that_calibrates_on_other_images(gathered: list[int]) -> None:
    images = textures(12, size=(48, 48))
    fitted = detector("patchcore")
    fitted.fit(images[:8], validation=images[8:])
    train = sources(images[:8])
    answers(fitted, fitted.state_, train)
    assert gathered, "what the fit left would have been taken"


def test_it_is_not_taken_by_another_recipe_or_precision_though_rows_be_the_same() -> None:
    train = sources(textures(8, size=(48, 48)))
    fitted = create_detector("vision_patchcore", embedder=CellMeans(), coreset={"ratio": 0.1})
    assert isinstance(fitted, BankDetector)
    state, recipe = fitted.fit_state(train), fitted.recipe
    precision, rows = state.facts["precision"], state.arrays["rows"]
    other = "float32" if precision == "float16" else "float16"
    assert take_patches(fitted.stream, train, replace(recipe, seed=1), precision, rows) is None
    assert take_patches(fitted.stream, train, recipe, other, rows) is None
    assert take_patches(fitted.stream, train, recipe, precision, rows) is not None
