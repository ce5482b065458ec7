"""Several detectors on several categories, on one embedder with one cache: fit with calibration, and scores.

Beside it, on the same machine, what no order of work can save: every file decoded once on all threads, and the
network's forward passes of every image once, in its best batch size.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_up.cell import Cell
from benchmarks.made_up.pieces import network_seconds, reading_seconds

DETECTORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("vision_patchcore", {"coreset": {"ratio": 0.1}}),
    ("vision_softpatch", {"coreset": {"ratio": 0.1}}),
    ("vision_patchcore", {"coreset": {"ratio": 0.01}}),
)


def _ours(cell: Cell) -> dict[str, float]:
    from benchmarks.made_up.gpu_use import GpuUse
    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.embedders import create_embedder
    from uad_orchestrator.storage.embedding_cache import EmbeddingCache

    root = Path(cell.folder)
    categories = sorted(folder.name for folder in root.iterdir())
    embedder = create_embedder(cell.embedder, device=cell.device)
    embedder.embed(np.zeros((cell.image_size, cell.image_size, 3), np.uint8))
    embedded, images = 0, 0
    with tempfile.TemporaryDirectory() as kept, GpuUse(cell.device) as use:
        cache = EmbeddingCache(Path(kept))
        started = time.perf_counter()
        for category in categories:
            manifest = load_dataset("mvtec_ad", root, category)
            train, test = (list(manifest.sources(part)) for part in (manifest.train, manifest.test))
            images += len(train) + len(test)
            for model, settings in DETECTORS:
                detector = create_detector(
                    model, embedder=embedder, cache=cache, device=cell.device, **settings
                )
                detector.fit(train)
                detector.decision_function(test)
                embedded += detector.embedded_images
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "images": images, "embedded": embedded, **use.found}


def _alone(cell: Cell) -> dict[str, float]:
    import torch

    from uad_orchestrator.embedders.create import resolve_settings
    from uad_orchestrator.embedders.torchvision.cnn import load_network

    files = sorted(file for part in ("train", "test") for file in Path(cell.folder).glob(f"*/{part}/*/*.png"))
    network = load_network(resolve_settings(cell.embedder), None, torch.device(cell.device))
    return {
        "reading, s": reading_seconds(files),
        "network, s": network_seconds(network, len(files), cell.image_size, cell.device),
    }


if __name__ == "__main__":
    print(json.dumps({"ours": _ours, "alone": _alone}[sys.argv[1]](Cell(**json.loads(sys.argv[2])))))
