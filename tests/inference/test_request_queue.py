"""The worker behind the service: every request is answered, whatever became of those before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.orchestration.workshop import normal_image
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference import Bundle, infer
from uad_orchestrator.inference.request_queue import RequestQueue
from uad_orchestrator.memory.nearest import NearestNeighbors


def broken() -> np.ndarray:
    raise ImageError("part.png: cut short")


def handed_in(name: str, read: Callable[[], np.ndarray]) -> ImageSource:
    return ImageSource(name, name, name, read)


def test_each_gets_its_own_answer(bundle: Bundle) -> None:
    images = [normal_image(seed) for seed in range(4)]
    expected = [result.score for result in infer(bundle, images)]
    with RequestQueue(bundle.detector()) as requests:
        answers = []
        for image in images:
            answers.append(requests.submit(handed_in("good", lambda image=image: image)))
            answers.append(requests.submit(handed_in("bad", broken)))
            answers.append(requests.submit(handed_in("flat", lambda: np.zeros((4, 4), np.uint8))))
    assert [answer.result(10).score for answer in answers[::3]] == expected
    for answer in answers[1::3]:
        with pytest.raises(ImageError, match="cut short"):
            answer.result(10)
    for answer in answers[2::3]:
        with pytest.raises(ValueError, match="expected an RGB image"):
            answer.result(10)


def test_all_requests_search_one_index(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = NearestNeighbors.__init__
    monkeypatch.setattr(
        NearestNeighbors,
        "__init__",
        lambda self, bank, **named: (made.append(len(bank)), make(self, bank, **named))[1],
    )
    unused = replace(bundle, state=replace(bundle.state))
    with RequestQueue(unused.detector()) as requests:
        for seed in range(3):
            requests.submit(handed_in("good", lambda seed=seed: normal_image(seed))).result(60)
            with pytest.raises(ImageError):
                requests.submit(handed_in("bad", broken)).result(60)
            with pytest.raises(ValueError, match="expected an RGB image"):
                requests.submit(handed_in("flat", lambda: np.zeros((4, 4), np.uint8))).result(60)
    assert made == [len(bundle.state.arrays["bank"])]


def test_a_cancelled_request_is_passed_over(bundle: Bundle) -> None:
    read: list[str] = []
    requests = RequestQueue(bundle.detector())
    waiting = requests.submit(handed_in("cancelled", lambda: read.append("cancelled") or normal_image(1)))
    assert waiting.cancel()
    with requests:
        assert requests.submit(handed_in("next", lambda: normal_image(1))).result(10).name == "next"
    assert read == []


def test_a_detector_that_can_not_be_loaded_is_an_error_at_once(bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="extra torch not installed")
    (tmp_path / "resnet18.pth").write_bytes(b"no weights")
    settings = EmbedderSettings(name="resnet18", image_size=64)
    damaged = replace(bundle, embedder=settings, weights=tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"resnet18\.pth"), RequestQueue(damaged.detector("cpu")):
        pass
