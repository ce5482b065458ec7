"""Where the network runs on a device, banks are built and searched there: the same rows, the same scores."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from tests.detectors.bank.test_bank import ASKED, CASES, NORMALS, detector, sources
from tests.memory.devices import DEVICES
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.memory.device_rows import DeviceRows
from uad_orchestrator.memory.nearest import NearestNeighbors

ON_DEVICE: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (model, settings) for name, (model, settings, _) in CASES.items()},
    "density": ("vision_patchcore", {"coreset": {"method": "density", "ratio": 0.3}}),
    "unaligned": ("vision_softpatch", {"lof_k": 3, "discriminator": "unaligned_lof"}),
    "gaussian": ("vision_softpatch", {"lof_k": 3, "discriminator": "gaussian"}),
    "musc": ("vision_musc", {}),
}


def on(device: str, model: str, settings: dict[str, Any]) -> Detector:
    if model == "vision_musc":
        from uad_orchestrator.detectors import create_detector

        found = create_detector(model, embedder="filter_bank", **settings)
    else:
        found = detector(model, settings)
    streams = [found.stream, getattr(getattr(found, "inner", found), "stream", found.stream)]
    for stream in streams:
        stream.device = device  # type: ignore[misc]
    return found


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where each search ran."""
    found: list[str] = []
    there, here = DeviceRows.search, NearestNeighbors._search_on_cpu

    def counting(self: DeviceRows, *given: Any) -> Any:
        found.append(self.device)
        return there(self, *given)

    def counting_here(self: NearestNeighbors, *given: Any) -> Any:
        found.append("cpu")
        return here(self, *given)

    monkeypatch.setattr(DeviceRows, "search", counting)
    monkeypatch.setattr(NearestNeighbors, "_search_on_cpu", counting_here)
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("model", "settings"), ON_DEVICE.values(), ids=ON_DEVICE)
def test_the_same_bank_and_scores(
    model: str, settings: dict[str, Any], device: str, searched: list[str]
) -> None:
    here, there = on("cpu", model, settings), on(device, model, settings)
    expected = here.fit_state(sources(NORMALS))
    searched.clear()
    state = there.fit_state(sources(NORMALS))
    for name, array in expected.arrays.items():
        np.testing.assert_allclose(state.arrays[name], array, rtol=1e-6, err_msg=name)
    for images, leave_out in ((ASKED, False), (NORMALS, len(expected.facts["images"]) > 1)):
        answers = (each.respond(expected, sources(images), leave_out) for each in (there, here))
        searches_before = len(searched)
        for one, other in zip(*answers, strict=True):
            assert one.score == pytest.approx(other.score, rel=1e-5)
            assert one.patch_grid is not None and other.patch_grid is not None
            np.testing.assert_allclose(one.patch_grid, other.patch_grid, rtol=1e-5, atol=1e-6)
        if "bank" in "".join(expected.arrays) or model == "vision_musc":
            assert {*searched[searches_before:]} == {device, "cpu"}, "each where its stream says"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("at_once", [1, 2, 10**6])
def test_images_searched_together_come_in_order_and_a_damaged_one_does_not_take_those_before_it(
    device: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uad_orchestrator.detectors.bank.bank.SEARCHED_TOGETHER", at_once)
    found = on(device, *ON_DEVICE["density"])
    state = found.fit_state(sources(NORMALS))
    alone = [next(found.respond(state, [source])).score for source in sources(ASKED)]

    def damaged() -> Any:
        raise ImageError("cut.png: cut short")

    cut = ImageSource("cut.png", "cut", "cut.png", read=damaged)
    scores, asked = [], found.respond(state, [*sources(ASKED), cut, *sources(ASKED)])
    with pytest.raises(ImageError, match=r"cut.png: cut short"):
        for response in asked:
            scores.append(response.score)
    assert scores == pytest.approx(alone, rel=1e-6)


def test_what_is_done_between_two_responses_is_none_of_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from uad_orchestrator.detectors.bank import bank

    monkeypatch.setattr(bank, "_together", lambda stream, images: iter([list(images)]))
    found = detector("vision_patchcore", {})
    state = found.fit_state(sources(NORMALS))
    seconds = []
    for response in found.respond(state, sources(ASKED[:3])):
        seconds.append(response.seconds)
        time.sleep(0.6)
    assert len(seconds) == 3 and max(seconds) < 0.3
