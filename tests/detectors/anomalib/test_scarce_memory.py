"""A device whose memory is too small: smaller batches, then the CPU, and it is said. The shortage is made up."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.detectors.anomalib_models import training
from tests.detectors.conftest import textures
from tests.detectors.test_every_detector import sources
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.detector import Detector

if find_spec("anomalib") is None:
    pytest.skip("extra anomalib not installed", allow_module_level=True)

import torch

from uad_orchestrator.detectors.anomalib.settings import TrainSettings
from uad_orchestrator.detectors.anomalib.torch_network import TorchModel
from uad_orchestrator.detectors.anomalib.training import engine as anomalib_training


class Scarce(torch.nn.Module):
    """The sum of an image's pixels, for so many images at a time; on the device it began on."""

    pre_processor = None

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seen, self.moved = most, list[int](), False

    def to(self, device: Any) -> Scarce:  # type: ignore[override]
        self.moved = self.moved or device == torch.device("cpu")
        return self

    def model(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen.append(len(batch))
        if len(batch) > self.most and not self.moved:
            raise torch.OutOfMemoryError
        return {"pred_score": batch.sum(dim=(1, 2, 3))}


IMAGES = [np.full((4, 4, 3), value, np.uint8) for value in range(1, 8)]


@pytest.mark.parametrize(("most", "seen"), [(7, [7]), (2, [7, 4, 2, 2, 3, 2, 1])])
def test_a_batch_that_does_not_fit_is_halved(
    most: int, seen: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    network = Scarce(most)
    model = TorchModel(network, "cpu")
    network.moved = False
    scores = [result.score for result in model.run(IMAGES)]
    assert scores == sorted(scores) and len(set(scores)) == len(IMAGES)
    assert network.seen == seen
    assert ("cpu has no memory for 7 images" in caplog.text) == (most < 7)


def test_one_image_that_does_not_fit_goes_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is put on ``meta`` has no values: it stands in for a GPU, and is left before anything is read."""
    network = Scarce(0)
    model = TorchModel(network, "meta")
    monkeypatch.setattr(model, "_input", lambda image: torch.from_numpy(image).permute(2, 0, 1)[None].float())
    network.moved = False
    assert [result.score for result in model.run(IMAGES)] == [48.0 * value for value in range(1, 8)]
    assert model.device == "cpu" and "going on on the CPU" in caplog.text


def test_on_the_cpu_there_is_nothing_left_to_try() -> None:
    network = Scarce(0)
    model = TorchModel(network, "cpu")
    network.moved = False
    with pytest.raises(torch.OutOfMemoryError):
        model.run(IMAGES[:1])


def test_training_goes_on_in_smaller_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = training("ganomaly", max_epochs=2)  # in batches of four
    normals, asked = sources(textures(10)), sources(textures(2))

    def detector(folder: str, **changes: Any) -> Detector:
        train = settings | changes
        return create_detector(
            "vision_ganomaly_anomalib", train=train, device="cpu", folder=tmp_path / folder
        )

    fit, tried = anomalib_training._fit, []

    def scarce(network: str, chosen: TrainSettings, *arguments: Any) -> int:
        tried.append(chosen.batch_size)
        if chosen.batch_size > 2:
            raise torch.OutOfMemoryError
        return fit(network, chosen, *arguments)

    def attempts(chosen: TrainSettings, device: Any) -> list[tuple[Any, TrainSettings]]:
        on_gpu = anomalib_training_attempts(chosen, torch.device("cuda"))
        return [(device, smaller) for _, smaller in on_gpu]  # the CPU stands in for it

    anomalib_training_attempts = anomalib_training._attempts
    monkeypatch.setattr(anomalib_training, "_fit", scarce)
    monkeypatch.setattr(anomalib_training, "_attempts", attempts)
    made = detector("scarce")
    state = made.fit_state(normals)
    assert tried == [4, 2]
    assert "no memory to train vision_ganomaly_anomalib in batches of 4" in caplog.text
    assert state.facts["batch_size"] == 2 and state.facts["epochs"] == 2
    asked_for = detector("asked", batch_size=2)
    expected = asked_for.fit_state(normals)
    assert "batch_size" not in expected.facts
    scores = [response.score for response in made.respond(state, asked)]
    assert scores == [response.score for response in asked_for.respond(expected, asked)]


def test_the_cpu_comes_last() -> None:
    attempts = anomalib_training._attempts(TrainSettings(batch_size=5), torch.device("cuda:1"))
    assert [(str(device), settings.batch_size) for device, settings in attempts] == [
        ("cuda:1", 5),
        ("cuda:1", 2),
        ("cuda:1", 1),
        ("cpu", 5),
    ]
    (only,) = anomalib_training._attempts(TrainSettings(batch_size=5), torch.device("cpu"))
    assert (str(only[0]), only[1].batch_size) == ("cpu", 5)
