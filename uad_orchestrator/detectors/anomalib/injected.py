"""An inferencer that is handed in: called as it was declared, never tried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from uad_orchestrator.detectors.anomalib.results import (
    RawResult,
    has_fields,
    read_prediction,
    unit_float,
    whole,
)
from uad_orchestrator.detectors.anomalib.settings import Accepts
from uad_orchestrator.images.decode import RgbImage


@dataclass(frozen=True)
class InjectedModel:
    """An object with ``predict``, as an ``AnomalibModel``; see ``AnomalibParts`` for what it takes and gives.

    Raises:
        ValueError: ``accepts`` is no word that is known.
        TypeError: the object has no ``predict``.
    """

    inferencer: Any
    accepts: Accepts

    @property
    def device(self) -> str:
        """The inferencer's own word for it."""
        return str(getattr(self.inferencer, "device", "cpu"))

    def __post_init__(self) -> None:
        if self.accepts not in get_args(Accepts):
            raise ValueError(f"accepts is {self.accepts!r}; expected one of {', '.join(get_args(Accepts))}")
        if not callable(getattr(self.inferencer, "predict", None)):
            raise TypeError(f"inferencer: a {type(self.inferencer).__name__} has no method predict")

    def run(self, images: Sequence[RgbImage]) -> list[RawResult]:
        """One result per image, in order."""
        inputs = [unit_float(image) for image in images]
        answers = self._predict(inputs)
        return [RawResult(*answer, whole(image)) for answer, image in zip(answers, images, strict=True)]

    def _predict(self, inputs: list[np.ndarray]) -> list[tuple[float, np.ndarray | None]]:
        predict = self.inferencer.predict
        if self.accepts == "image":
            return [read_prediction(predict(image), 1)[0] for image in inputs]
        if self.accepts == "list":
            return _read_many(predict(inputs), len(inputs))
        found: dict[int, tuple[float, np.ndarray | None]] = {}
        for shape in {image.shape for image in inputs}:  # an array holds images of one size
            indices = [i for i, image in enumerate(inputs) if image.shape == shape]
            answer = predict(np.stack([inputs[i] for i in indices]))
            found |= zip(indices, _read_many(answer, len(indices)), strict=True)
        return [found[i] for i in range(len(inputs))]


def _read_many(answer: Any, count: int) -> list[tuple[float, np.ndarray | None]]:
    """One prediction of all images, or a sequence with one for each."""
    if has_fields(answer):
        return read_prediction(answer, count)
    predictions = list(answer)
    if len(predictions) != count:
        raise ValueError(f"predict gave {len(predictions)} results for {count} images")
    return [read_prediction(prediction, 1)[0] for prediction in predictions]
