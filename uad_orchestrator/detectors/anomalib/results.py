"""What anomalib's models and inferencers answer, whatever shape it comes in, as scores and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.decode import RgbImage


class RawResult(NamedTuple):
    """A model's answer to one image, before any normalisation.

    Attributes:
        score: the image score.
        anomaly_map: ``(h, w)`` float32; None where the model gives none.
        region: the part of the image the map covers, in pixels.
    """

    score: float
    anomaly_map: np.ndarray | None
    region: Region


class AnomalibModel(Protocol):
    """A loaded model, however it was stored; ``device`` is where it runs."""

    @property
    def device(self) -> str: ...

    def run(self, images: Sequence[RgbImage]) -> list[RawResult]:
        """One result per image, in order."""
        ...


def unit_float(image: RgbImage) -> np.ndarray:
    """``(H, W, 3)`` float32 in 0..1, as anomalib reads images."""
    return np.ascontiguousarray(image, np.float32) / np.float32(np.iinfo(image.dtype).max)


def whole(image: RgbImage) -> Region:
    """The region that is all of an image."""
    return Region(0.0, 0.0, float(image.shape[0]), float(image.shape[1]))


def read_prediction(prediction: Any, count: int) -> list[tuple[float, np.ndarray | None]]:
    """Scores and maps of ``count`` images out of one prediction.

    Where there is no score it is the map's maximum, as in anomalib's post-processor.

    Args:
        prediction: a mapping or an object with ``pred_score`` (``(n,)``, ``(n, 1)``; a number for one image) and
            ``anomaly_map`` (``(n, h, w)``, ``(n, 1, h, w)``; ``(h, w)`` for one image); one of them may be None
            or missing.

    Raises:
        ValueError: neither is there, or a shape is none of these.
    """
    scores = _scores(_array(_field(prediction, "pred_score")), count)
    maps = _maps(_array(_field(prediction, "anomaly_map")), count)
    if scores is None:
        if maps is None:
            kind = type(prediction).__name__
            raise ValueError(f"a {kind} without pred_score and anomaly_map: one of them is needed")
        scores = maps.max(axis=(1, 2)).astype(np.float64)
    return [(float(scores[i]), None if maps is None else maps[i]) for i in range(count)]


def _field(prediction: Any, name: str) -> Any:
    return prediction.get(name) if isinstance(prediction, Mapping) else getattr(prediction, name, None)


def has_fields(prediction: Any) -> bool:
    """Whether it is a prediction, rather than a sequence of them (anomalib's is a tuple, too)."""
    return isinstance(prediction, Mapping) or any(
        hasattr(prediction, name) for name in ("pred_score", "anomaly_map")
    )


def _array(value: Any) -> np.ndarray | None:
    """As numpy, a tensor's copy on the CPU."""
    if value is None:
        return None
    return np.asarray(value.detach().cpu().float() if hasattr(value, "detach") else value)


def _scores(scores: np.ndarray | None, count: int) -> np.ndarray | None:
    if scores is None:
        return None
    if scores.shape in ((count,), (count, 1)) or (count == 1 and scores.ndim == 0):
        return scores.reshape(count).astype(np.float64)
    raise ValueError(f"pred_score has shape {scores.shape}; for {count} images expected ({count},)")


def _maps(maps: np.ndarray | None, count: int) -> np.ndarray | None:
    if maps is None:
        return None
    if maps.ndim == 2 and count == 1:
        maps = maps[None]
    if maps.ndim == 4 and maps.shape[1] == 1:
        maps = maps[:, 0]
    if maps.ndim != 3 or len(maps) != count:
        raise ValueError(f"anomaly_map has shape {maps.shape}; for {count} images expected ({count}, h, w)")
    return maps.astype(np.float32)
