"""The worker behind the service: every request is answered, whatever became of those before."""

from __future__ import annotations

import threading
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
from uad_orchestrator.inference.service import request_queue
from uad_orchestrator.inference.service.request_queue import RequestQueue, WorkerEnded
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


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the images of each call of ``infer``."""
    seen: list[list[str]] = []

    def noting(detector: object, sources: list[ImageSource], **named: object) -> object:
        seen.append([source.name for source in sources])
        return infer(detector, sources, **named)

    monkeypatch.setattr(request_queue, "infer", noting)
    return seen


def test_images_that_wait_are_inspected_together(bundle: Bundle, batches: list[list[str]]) -> None:
    images = [normal_image(seed) for seed in range(7)]
    expected = [result.score for result in infer(bundle, images)]
    requests = RequestQueue(bundle.detector(), batch_size=4)
    waiting = [
        requests.submit(handed_in(str(n), lambda image=image: image)) for n, image in enumerate(images)
    ]
    with requests:
        assert [answer.result(60).score for answer in waiting] == expected
    assert batches == [["0", "1", "2", "3"], ["4", "5", "6", "warm-up"]]


def test_a_batch_has_no_more_pixels_than_fit(bundle: Bundle, batches: list[list[str]]) -> None:
    requests = RequestQueue(bundle.detector())
    half = request_queue.BATCH_PIXELS // 2
    sizes = {"a": half, "b": half, "c": 1, "d": 3 * half, "e": 1}
    for name, pixels in sizes.items():
        requests.submit(handed_in(name, lambda: normal_image(1)), pixels)
    with requests:
        pass
    assert batches == [["a", "b"], ["c"], ["d"], ["e", "warm-up"]]


def test_when_the_worker_has_ended_all_are_told(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    started, go_on = threading.Event(), threading.Event()

    def end() -> np.ndarray:
        started.set()
        go_on.wait(60)
        raise SystemExit

    with RequestQueue(bundle.detector()) as requests:
        assert requests.alive
        ending = requests.submit(handed_in("ends it", end))
        assert started.wait(60)
        behind = requests.submit(handed_in("behind", lambda: normal_image(1)))
        go_on.set()
        for answer in (ending, behind):
            with pytest.raises(WorkerEnded, match="start the service again"):
                answer.result(60)
        with pytest.raises(WorkerEnded):
            requests.submit(handed_in("late", lambda: normal_image(1))).result(60)
        requests._thread.join(60)
        assert not requests.alive
