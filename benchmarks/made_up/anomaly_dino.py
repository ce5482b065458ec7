"""AnomalyDINO with rotated references, from files to scores, and its network alone on as many images and views."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.made_up.pieces import network_seconds
from uad_orchestrator.embedders.settings import EmbedderSettings

DINO_V2 = "vit_small_patch14_dinov2.lvd142m"


def _embedder(side: int) -> EmbedderSettings:
    return EmbedderSettings(name=DINO_V2, weights="random:0", image_size=side)


def _files(folder: str, part: str) -> list[Path]:
    return sorted((Path(folder) / part).glob("*/*.png"))


def _ours(folder: str, side: int, device: str) -> dict[str, float]:
    from benchmarks.made_up.gpu_use import GpuUse
    from uad_orchestrator.detectors import create_detector

    detector = create_detector("vision_anomalydino", embedder=_embedder(side), rotation=True, device=device)
    detector.stream.embedder.embed(np.zeros((side, side, 3), np.uint8))
    with GpuUse(device) as use:
        started = time.perf_counter()
        detector.fit(_files(folder, "train"))
        fitted = time.perf_counter()
        detector.decision_function(_files(folder, "test"))
        ended = time.perf_counter()
    return {
        "seconds": ended - started,
        "fit, s": fitted - started,
        "scores, s": ended - fitted,
        "views": detector.embedded_views,
        **use.found,
    }


def _network(folder: str, side: int, device: str) -> dict[str, float]:
    import torch

    from uad_orchestrator.detectors.bank.anomaly_dino import AGNOSTIC_ANGLES
    from uad_orchestrator.embedders.create import resolve_settings
    from uad_orchestrator.embedders.timm.vit import load_network

    views = len(AGNOSTIC_ANGLES) * len(_files(folder, "train")) + len(_files(folder, "test"))
    network = load_network(resolve_settings(_embedder(side)), None, torch.device(device))
    return {"seconds": network_seconds(network, views, side, device), "views": views}


if __name__ == "__main__":
    print(json.dumps({"ours": _ours, "network": _network}[sys.argv[1]](**json.loads(sys.argv[2]))))
