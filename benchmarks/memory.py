"""Peak memory: of a cell, which must not grow with the number of test images, and of a fit of 1,000 images.

Images are generated while they are asked for, so that only the detector's memory is measured. The fit needs
torch; without the real weights it takes random ones, which need as much.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.fresh_process import REAL, measured, peak_memory_mb
from benchmarks.rows import BenchmarkRow

FEW, MANY, FITTED = 40, 400, 1000


def run() -> list[BenchmarkRow]:
    few, many = (measured("memory", "cell", str(n))["peak_mb"] for n in (FEW, MANY))
    both = {f"{FEW} images, MB": few, f"{MANY} images, MB": many}
    fit = measured("memory", "fit", str(FITTED))
    return [
        BenchmarkRow(
            "memory", "patchcore, filter_bank", f"growth from {FEW} to {MANY} test images",
            many - few, "MB", 40, "lower", both,
        ),
        BenchmarkRow(
            "memory", "patchcore, resnet18, 256 px, 10 %", f"peak of a fit of {FITTED} images",
            fit["peak_mb"] / 1024, "GB", 3, "lower", fit,
        ),
    ]  # fmt: skip


def _cell(test_images: int) -> dict[str, float]:
    """Fit 20 images; score, map and measure ``test_images`` through the files a cell writes."""
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.detectors.scoring import ScoreWriter, read_responses
    from uad_orchestrator.metrics import PixelCounts
    from uad_orchestrator.postprocess.map_set import MapSet

    detector = create_detector("vision_patchcore", embedder="filter_bank")
    state = detector.fit_state(list(_images(20, seed=0)))
    with tempfile.TemporaryDirectory() as folder:
        with ScoreWriter(Path(folder)) as table:
            for response in detector.respond(state, _images(test_images, seed=1)):
                table.add(response, role="test", label=1, defect_type="spot")
        maps, counts = MapSet(Path(folder) / "maps"), PixelCounts()
        for row, response in read_responses(Path(folder)):
            maps.write(row.image, row.defect_type, detector.anomaly_map(response))
        for row, _ in read_responses(Path(folder)):
            counts.update(maps.read(row.image, row.defect_type), _spot())
        counts.compute()
    return {"peak_mb": peak_memory_mb()}


def _fit(images: int) -> dict[str, float]:
    import time

    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.embedders.settings import EmbedderSettings

    file = REAL / "weights" / "resnet18_stem_to_layer3.pth"
    weights = str(file) if file.exists() else "random:0"
    embedder = EmbedderSettings(name="resnet18", weights=weights, image_size=256)
    detector = create_detector("vision_patchcore", embedder=embedder)
    started = time.perf_counter()
    state = detector.fit_state(list(_images(images, seed=0)))
    seconds = time.perf_counter() - started
    return {"peak_mb": peak_memory_mb(), "seconds": seconds, "bank_rows": float(len(state.arrays["bank"]))}


def _images(n: int, seed: int) -> Iterator:
    """Sources that paint their image when they are read."""
    from functools import partial

    from uad_orchestrator.images.source import ImageSource

    for i in range(n):
        name = f"{seed}-{i:05}"
        yield ImageSource(name=name, digest=name, group=name, read=partial(_paint, seed * 100_000 + i))


def _paint(number: int) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)
    return cv2.add(smooth, rng.integers(0, 12, (256, 256, 3), dtype=np.uint8))


def _spot() -> np.ndarray:
    mask = np.zeros((256, 256), bool)
    mask[100:120, 100:120] = True
    return mask


if __name__ == "__main__":
    print(json.dumps({"cell": _cell, "fit": _fit}[sys.argv[1]](int(sys.argv[2]))))
