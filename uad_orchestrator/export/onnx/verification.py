"""The exported file held against our own scores, by runtimes that others will take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.inference.infer import infer

LIMIT = 1e-3
"""Largest relative difference of a score, and of a map, that an export may have."""

SMALLEST = 1e-3
"""A score below this share of the largest one is compared with that share: nothing is relative to zero."""

Run = Callable[[RgbImage], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Expected:
    """An image with what ``infer`` says of it.

    Attributes:
        name: of the image.
        pixels: ``(H, W, 3)`` uint8.
        score: the image score.
        anomaly_map: ``(H, W)`` float32.
    """

    name: str
    pixels: RgbImage
    score: float
    anomaly_map: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """How far a runtime is from our own scores.

    Attributes:
        runtime: ``onnxruntime`` or ``openvino``.
        version: of it.
        images: how many were compared.
        score: largest relative difference of a score; NaN where the file does not run.
        anomaly_map: largest difference of a map, relative to that map's largest value.
        worst: the image with the larger of both.
        error: why it does not run; empty where it does.
    """

    runtime: str
    version: str
    images: int
    score: float = math.nan
    anomaly_map: float = math.nan
    worst: str = ""
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether both differences are within ``LIMIT``."""
        return self.score <= LIMIT and self.anomaly_map <= LIMIT


def evenly_spread(images: Sequence[ImageSource], most: int) -> list[ImageSource]:
    """At most so many of the images, from the first to the last."""
    return [images[round(place)] for place in np.linspace(0, len(images) - 1, min(most, len(images)))]


def expected(bundle: Bundle, images: Sequence[ImageSource], *, other_shape: bool) -> list[Expected]:
    """Images, and what ``infer`` says of them.

    Args:
        bundle: the cell.
        images: some of its test images.
        other_shape: add one more, the first without its lower quarter: another size, another aspect.

    Raises:
        ImageError: one cannot be read.
        ValueError: none is of 8 bits.
    """
    read = [(image.name, image.read()) for image in images]
    pixels = [(name, np.ascontiguousarray(each)) for name, each in read if each.dtype == np.uint8]
    if not pixels:
        raise ValueError(f"{bundle.name}: there is no image of 8 bits to hold the export against")
    if other_shape:
        name, first = pixels[0]
        pixels.append((f"{name}, cut", np.ascontiguousarray(first[: max(1, first.shape[0] * 3 // 4)])))
    sources = [ImageSource.from_array(each, name=name) for name, each in pixels]
    found = list(infer(bundle.detector(), sources))
    return [_expected(each, result) for (_, each), result in zip(pixels, found, strict=True)]


def _expected(pixels: RgbImage, result: object) -> Expected:
    from uad_orchestrator.inference.results import InferenceResult

    assert isinstance(result, InferenceResult) and result.anomaly_map is not None  # banks always give maps
    return Expected(result.name, pixels, result.score, result.anomaly_map)


def agreements(path: Path, images: Sequence[Expected]) -> Iterator[Agreement]:
    """The file run by onnxruntime and, where it is installed, by OpenVINO; on the CPU, in float32.

    Args:
        path: the file.
        images: from ``expected``.

    Returns:
        onnxruntime's first; one that cannot run the file says so in its ``error``.
    """
    for runtime, open_file in (("onnxruntime", _onnxruntime), ("openvino", _openvino)):
        if find_spec(runtime) is None:
            continue
        none = Agreement(runtime, version(runtime), images=0)
        try:
            yield _compared(open_file(path), images, none)
        except Exception as error:  # of the runtime's own kinds, which have no common base
            yield replace(none, error=str(error).strip().splitlines()[-1])


def _compared(run: Run, images: Sequence[Expected], none: Agreement) -> Agreement:
    least = SMALLEST * max(abs(image.score) for image in images)
    differences = []
    for image in images:
        score, anomaly_map = run(image.pixels)
        scale = max(abs(image.score), least, math.ulp(0.0))
        largest = max(float(np.abs(image.anomaly_map).max()), math.ulp(0.0))
        off = float(np.abs(anomaly_map - image.anomaly_map).max())
        differences.append((abs(score - image.score) / scale, off / largest))
    scores, maps = np.max(differences, axis=0).tolist()  # NaN where there is one, and then nothing holds
    worst = images[int(np.argmax(np.max(differences, axis=1)))].name
    return replace(none, images=len(images), score=scores, anomaly_map=maps, worst=worst)


def _onnxruntime(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(pixels: RgbImage) -> tuple[float, np.ndarray]:
        score, anomaly_map = session.run(["score", "anomaly_map"], {"image": pixels[None]})
        return float(score[0]), anomaly_map[0]

    return run


def _openvino(path: Path) -> Run:
    from uad_orchestrator.detectors.anomalib.openvino_graph import openvino_core

    # on some CPUs it computes in bfloat16 unless it is told not to
    precise = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    model = openvino_core().compile_model(str(path), "CPU", precise)

    def run(pixels: RgbImage) -> tuple[float, np.ndarray]:
        found = model({"image": pixels[None]})
        return float(found["score"][0]), np.array(found["anomaly_map"][0])

    return run
