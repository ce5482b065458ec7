"""Peak memory: of a cell, which must not grow with the number of test images, of a fit of 1,000 images, and of
one large image inspected in tiles.

Images are generated while they are asked for, so that only the detector's memory is measured. Fit and tiles need
torch; without the real weights they take random ones, which need as much.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fresh_process import REAL, measured, peak_memory_mb
from benchmarks.rows import BenchmarkRow

if TYPE_CHECKING:
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.images.source import ImageSource

FEW, MANY, FITTED, LARGE = 40, 400, 1000, 4096


def run() -> list[BenchmarkRow]:
    few, many = (measured("memory", "cell", str(n))["peak_mb"] for n in (FEW, MANY))
    both = {f"{FEW} images, MB": few, f"{MANY} images, MB": many}
    fit = measured("memory", "fit", str(FITTED))
    tiled = measured("memory", "tiled", str(LARGE))
    return [
        BenchmarkRow(
            "memory", "patchcore, filter_bank", f"growth from {FEW} to {MANY} test images",
            many - few, "MB", 40, "lower", both,
        ),
        BenchmarkRow(
            "memory", "patchcore, resnet18, 256 px, 10 %", f"peak of a fit of {FITTED} images",
            fit["peak_mb"] / 1024, "GB", 3, "lower", fit,
        ),
        BenchmarkRow(
            "memory", "patchcore, resnet18, tiles of 512 px", f"peak of fit, score and map of {LARGE} x {LARGE} px",
            tiled["peak_mb"] / 1024, "GB", 1.5, "lower", tiled,
        ),
    ]  # fmt: skip


def _cell(test_images: int) -> dict[str, float]:
    """Fit 20 images; score, map and measure ``test_images`` through the files a cell writes."""
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.detectors.protocol.scoring import ScoreWriter, read_responses
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

    detector = create_detector("vision_patchcore", embedder=_resnet18())
    started = time.perf_counter()
    state = detector.fit_state(list(_images(images, seed=0)))
    seconds = time.perf_counter() - started
    return {"peak_mb": peak_memory_mb(), "seconds": seconds, "bank_rows": float(len(state.arrays["bank"]))}


def _tiled(side: int) -> dict[str, float]:
    """Fit and calibrate two large images in tiles, score a third and make its map."""
    import time

    from uad_orchestrator.detectors import create_detector

    detector = create_detector(
        "vision_patchcore",
        embedder=_resnet18(),
        coreset={"ratio": 0.01},
        tiling={"tile_size": 512, "stride": 384},
        maps={"normalisation": "normal_maps", "morphology": {"operation": "opening"}, "min_area": 50},
    )
    started = time.perf_counter()
    detector.fit(list(_images(2, seed=0, side=side)))
    fitted = time.perf_counter()
    (image,) = _images(1, seed=1, side=side)
    detector.decision_function([image])
    anomaly_map = detector.get_anomaly_map(image)
    seconds = time.perf_counter() - fitted
    if anomaly_map.shape != (side, side):
        raise RuntimeError(f"the map is {anomaly_map.shape}, the image {side} x {side}")
    return {"peak_mb": peak_memory_mb(), "fit_seconds": fitted - started, "seconds": seconds}


def _resnet18() -> EmbedderSettings:
    from uad_orchestrator.embedders.settings import EmbedderSettings

    file = REAL / "weights" / "resnet18_stem_to_layer3.pth"
    weights = str(file) if file.exists() else "random:0"
    return EmbedderSettings(name="resnet18", weights=weights, image_size=256)


def _images(n: int, seed: int, side: int = 256) -> Iterator[ImageSource]:
    """Sources that paint their image when they are read."""
    from uad_orchestrator.images.source import ImageSource

    for i in range(n):
        name = f"{seed}-{i:05}"
        paint = partial(_paint, seed * 100_000 + i, side)
        yield ImageSource(name=name, digest=name, group=name, read=paint, measure=lambda: (side, side))


def _paint(number: int, side: int) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return cv2.add(smooth, rng.integers(0, 12, (side, side, 3), dtype=np.uint8))


def _spot() -> np.ndarray:
    mask = np.zeros((256, 256), bool)
    mask[100:120, 100:120] = True
    return mask


if __name__ == "__main__":
    print(json.dumps({"cell": _cell, "fit": _fit, "tiled": _tiled}[sys.argv[1]](int(sys.argv[2]))))
