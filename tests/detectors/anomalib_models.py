"""Tiny models of anomalib, trained by our path: in a second or two each, once anomalib is imported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.detectors.conftest import textures
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.anomalib.trusted_files import checkpoint_files
from uad_orchestrator.detectors.protocol.detector import Detector

TINY = {"pre_trained": False, "backbone": "resnet18", "layers": ["layer1", "layer2"]}
MODELS = {
    "padim": TINY | {"n_features": 16},
    "patchcore": TINY | {"coreset_sampling_ratio": 0.05, "num_neighbors": 1},
}
GANOMALY = {"n_features": 8, "latent_vec_size": 8, "batch_size": 4}


def training(network: str, **changes: Any) -> dict[str, Any]:
    arguments = MODELS.get(network, GANOMALY)
    return {"image_size": 64, "batch_size": 4, "model": arguments} | changes


@dataclass(frozen=True)
class Trained:
    """A detector that was trained, and its model in every format."""

    detector: Detector
    files: dict[str, Path]

    @property
    def trusted(self) -> list[str]:
        parts = [part for file in self.files.values() for part in checkpoint_files(file)]
        return [hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]

    def loaded(self, suffix: str, model: str) -> Detector:
        return create_detector(
            model, checkpoint=self.files[suffix], trusted_checkpoints=self.trusted, device="cpu"
        )


def train_and_export(network: str, folder: Path) -> Trained:
    import openvino

    detector = create_detector(
        f"vision_{network}_anomalib",
        train=training(network),
        device="cpu",
        folder=folder / "training",
        contamination=0.3,
    )
    detector.fit(textures(10))
    module = detector._model(detector.state_).module  # type: ignore[attr-defined]
    fixed = None if network == "padim" else (64, 64)  # one export takes any size, the other its own
    onnx = module.to_onnx(folder, input_size=fixed)
    graph = folder / "model.xml"
    openvino.save_model(openvino.convert_model(onnx), graph, compress_to_fp16=False)
    checkpoint = detector.state_.files["model.ckpt"]
    return Trained(
        detector, {".pt": module.to_torch(folder), ".ckpt": checkpoint, ".xml": graph, ".onnx": onnx}
    )
