"""OpenVINO and ONNX exports of anomalib's models, run by OpenVINO."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.detectors.anomalib.results import RawResult, read_prediction, unit_float, whole
from uad_orchestrator.extras import require_extra
from uad_orchestrator.images.decode import RgbImage

OUTPUTS = ("pred_score", "anomaly_map")


class GraphModel:
    """An exported graph, cut off before the normalisation that anomalib's post-processor adds to it.

    That normalisation, ``clamp((x - threshold) / (max - min) + 0.5, 0, 1)``, ties many scores at 0 and 1. The
    graph still holds ``x``: it is what the last node takes where there is nothing to normalise by (anomalib 2.7),
    or, scaled, what goes into the clamp (earlier).

    Args:
        contents: the files' bytes by name: the graph, and its weights where they are in a file of their own.
        name: the graph's name among them, ``.xml`` or ``.onnx``.

    Raises:
        ImportError: OpenVINO is not installed.
        ValueError: the graph has none of the outputs of anomalib's exports.
    """

    device = "cpu"

    def __init__(self, contents: Mapping[str, bytes], name: str) -> None:
        require_extra("openvino", extra="anomalib", what=f"the exported model {name}")
        import openvino as ov

        core = openvino_core()
        graph = _read(core, contents, name)
        named = {word: output for output in graph.outputs for word in output.names}
        self.outputs = [word for word in OUTPUTS if word in named]
        if not self.outputs:
            raise ValueError(f"{name}: its outputs are {sorted(named)}; anomalib's exports have {OUTPUTS}")
        raw = ov.Model([_before_normalisation(named[word]) for word in self.outputs], graph.get_parameters())
        options = {"INFERENCE_PRECISION_HINT": "f32"}  # else a CPU may compute in bfloat16
        if os.environ.get("OMP_NUM_THREADS", "").isdigit():
            options["INFERENCE_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]
        self._compiled = core.compile_model(raw, "CPU", options)

    def run(self, images: Sequence[RgbImage]) -> list[RawResult]:
        """One result per image, in order; exports may be fixed to one image at a time."""
        return [self._run(image) for image in images]

    def _run(self, image: RgbImage) -> RawResult:
        batch = np.ascontiguousarray(self._resized(unit_float(image)).transpose(2, 0, 1)[None])
        values = self._compiled(batch).to_tuple()
        answer = read_prediction(dict(zip(self.outputs, values, strict=True)), 1)[0]
        return RawResult(*answer, whole(image))

    def _resized(self, pixels: np.ndarray) -> np.ndarray:
        """At the size the graph is fixed to, if it is, resampled as its own pre-processor would."""
        import cv2

        height, width = list(self._compiled.input(0).partial_shape)[2:]
        if height.is_dynamic or width.is_dynamic:
            return pixels
        return cv2.resize(pixels, (width.get_length(), height.get_length()), interpolation=cv2.INTER_LINEAR)


@cache
def openvino_core() -> Any:
    """OpenVINO, the one of this process, which stays.

    Its CPU plugin sets another stack for the signal handlers of the thread that first compiles a graph, and puts back
    what it found there when it goes. Of two that go in the order they came, the second puts back the first's, which is
    no more: the next Ctrl-C or SIGTERM would end the process by a segmentation fault.
    """
    import openvino as ov

    core = ov.Core()
    core.set_property({"ENABLE_MMAP": False})  # the files a graph is read from go away
    return core


def _read(core: Any, contents: Mapping[str, bytes], name: str) -> Any:
    """The graph; out of files of our own that hold the bytes, as an ONNX graph finds its weights by their name."""
    with tempfile.TemporaryDirectory(prefix="uad-graph-") as folder:
        for file, content in contents.items():
            (Path(folder) / file).write_bytes(content)
        return core.read_model(Path(folder) / name)


def _before_normalisation(output: Any) -> Any:
    value = output.get_node().input_value(0)
    node = value.get_node()
    if node.get_type_name() == "Select" and _ends_in_clamp(node.input_value(1)):
        return node.input_value(2)
    clamped = _clamped(node)
    return value if clamped is None else clamped


def _ends_in_clamp(value: Any) -> bool:
    node = value.get_node()
    if node.get_type_name() == "Select":
        return any(_ends_in_clamp(node.input_value(i)) for i in (1, 2))
    return _clamped(node) is not None


def _clamped(node: Any) -> Any | None:
    """What a node clamps to 0..1, as one operation or as two; None if it does nothing of the kind."""
    if node.get_type_name() == "Clamp":
        limits = node.get_attributes()
        return node.input_value(0) if (limits["min"], limits["max"]) == (0.0, 1.0) else None
    upper = _beside_constant(node, "Minimum", 1.0)
    return None if upper is None else _beside_constant(upper.get_node(), "Maximum", 0.0)


def _beside_constant(node: Any, kind: str, number: float) -> Any | None:
    """The other operand of an operation on a value and the constant ``number``; None if it is none such."""
    if node.get_type_name() != kind:
        return None
    for constant, other in ((0, 1), (1, 0)):
        given = node.input_value(constant).get_node()
        if given.get_type_name() == "Constant" and np.all(given.get_data() == number):
            return node.input_value(other)
    return None
