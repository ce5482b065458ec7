"""Fit and score of every detector against its embedder's own time, SoftPatch's LOF, faiss against itself.

On a category of the demo and, where they are at hand, on real images with a real network. One whose default is
DINOv2 runs on the embedder of the others; those of OpenCLIP on their own default with random weights, which take
the same time. anomalib's models are in ``anomalib_models``: they have no embedder.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.fresh_process import REAL, measured
from benchmarks.rows import BenchmarkRow

if TYPE_CHECKING:
    from uad_orchestrator.datasets.manifest import Manifest
    from uad_orchestrator.embedders.settings import EmbedderSettings

    Case = tuple[Manifest, EmbedderSettings | None]
    """Images, and the embedder; None: the detector's own default, with random weights."""

MODELS = ("vision_patchcore", "vision_anomalydino", "vision_softpatch", "vision_superadd", "vision_musc")
OPEN_CLIP = ("vision_openclip_patchknn", "vision_openclip_promptscore", "vision_openclip_prompt_patch")
SETTINGS: dict[str, Any] = {"vision_superadd": {"tiles": {"tile_size": 256}}}
BARS = {"fit": 10.0, "score": 10.0}
"""Times the embedder's own time, for as many images as are fitted or scored."""
SCORE_BARS = {"vision_anomalydino": 20.0, "vision_superadd": 20.0, "vision_musc": 40.0}
"""Of those that compare with every fitted patch (no coreset), or with every other test image: beside
``filter_bank``, the cheapest of embedders, that is nearly all they do."""

LOF_IMAGES, LOF_LOCATIONS, LOF_SECONDS = 200, 1024, 30
BANK, DIMENSION, QUERIES, FAISS_BAR = 100_000, 384, 1024, 1.1


def run() -> list[BenchmarkRow]:
    import faiss  # noqa: F401  the peer

    cases = {"demo": ("connector, filter_bank", MODELS), "clip": ("connector, ViT-B-16-plus-240", OPEN_CLIP)}
    if REAL.exists():
        cases["real"] = ("hazelnut, resnet18, 256 px", MODELS)
    rows = [row for name, (case, models) in cases.items() for row in _detector_rows(name, case, models)]
    lof = measured("detectors", "lof")
    shape = f"{LOF_IMAGES} images x {LOF_LOCATIONS} locations, 128-d"
    rows.append(
        BenchmarkRow("detectors", shape, "SoftPatch's LOF", lof["seconds"], "s", LOF_SECONDS, "lower", lof)
    )
    for name in ("flat", "ivf"):
        both = measured("detectors", name)
        case = f"{BANK} x {DIMENSION}, {QUERIES} queries, {name}"
        ratio = both["ours, s"] / both["faiss, s"]
        rows.append(
            BenchmarkRow("detectors", case, "search, of faiss's time", ratio, "x", FAISS_BAR, "lower", both)
        )
    return rows


def _detector_rows(name: str, case: str, models: tuple[str, ...]) -> list[BenchmarkRow]:
    rows = []
    for model in models:
        found = measured("detectors", name, model)
        bars = BARS | ({"score": SCORE_BARS[model]} if model in SCORE_BARS else {})
        for stage, bar in bars.items():
            seconds, embedding = found[f"{stage}, s"], found[f"{stage}: embedding, s"]
            details = {f"{stage}, s": seconds, "embedding, s": embedding, "images": found[f"{stage}: images"]}
            measure = f"{stage}, of its embedder's time"
            ratio = (seconds + embedding) / embedding
            rows.append(
                BenchmarkRow("detectors", f"{model}, {case}", measure, ratio, "x", bar, "lower", details)
            )
    return rows


def _demo(folder: Path) -> Case:
    from uad_orchestrator.datasets.demo_generator import generate_demo
    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.embedders.settings import EmbedderSettings

    generate_demo(folder, categories=["connector"])
    manifest = load_dataset("demo", folder, "connector", layout="mvtec_ad")
    return manifest, EmbedderSettings(name="filter_bank")


def _clip(folder: Path) -> Case:
    return _demo(folder)[0], None


def _real(folder: Path) -> Case:
    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.embedders.settings import EmbedderSettings

    manifest = load_dataset("real", REAL / "data" / "mvtec_ad_reduced", "hazelnut", layout="mvtec_ad")
    weights = str(REAL / "weights" / "resnet18_stem_to_layer3.pth")
    return manifest, EmbedderSettings(name="resnet18", weights=weights, image_size=256, dimension=384)


def _detector(case: Callable[[Path], Case], model: str) -> dict[str, float]:
    """Seconds of fit and score beyond the embedding, which is measured first and then comes from the cache."""
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.detectors.embedding.stream import embed_batch
    from uad_orchestrator.storage.embedding_cache import EmbeddingCache

    with tempfile.TemporaryDirectory() as folder:
        manifest, embedder = case(Path(folder))
        embedder = embedder or _random_default(model)
        train, test = (list(manifest.sources(part)) for part in (manifest.train, manifest.test))
        cache = EmbeddingCache(Path(folder) / "embeddings")
        detector = create_detector(
            model, embedder=embedder, cache=cache, device="cpu", **SETTINGS.get(model, {})
        )
        embed_batch(detector.stream.embedder, [train[0].read()])  # loads the network
        found: dict[str, float] = {}
        for stage, images in (("fit", train), ("score", test)):
            started = time.perf_counter()
            list(detector.stream.stream(images, keep_exact=True))
            found[f"{stage}: embedding, s"] = time.perf_counter() - started
            found[f"{stage}: images"] = len(images)
        started = time.perf_counter()
        state = detector.fit_state(train)
        found["fit, s"] = time.perf_counter() - started
        started = time.perf_counter()
        list(detector.respond(state, test))
        found["score, s"] = time.perf_counter() - started
    return found


def _random_default(model: str) -> EmbedderSettings:
    from uad_orchestrator.detectors.registry import detector_spec

    embedder = detector_spec(model).default_embedder
    assert embedder is not None
    return embedder.model_copy(update={"weights": "random:0"})


def _lof() -> dict[str, float]:
    from uad_orchestrator.memory.outlier_weights import outlier_weights

    rng = np.random.default_rng(0)
    points = rng.standard_normal((LOF_IMAGES, LOF_LOCATIONS, 128), dtype=np.float32)
    started, before = time.perf_counter(), time.process_time()
    outlier_weights(points, "lof")
    return {"seconds": time.perf_counter() - started, "cpu seconds": time.process_time() - before}


def _rows_like_patches() -> tuple[np.ndarray, np.ndarray]:
    from benchmarks.coreset import heavy_tailed

    rows = np.concatenate([heavy_tailed(), heavy_tailed() * 1.01])[:BANK]
    rng = np.random.default_rng(1)
    asked = rows[rng.choice(len(rows), QUERIES)] + 0.1 * rng.standard_normal((QUERIES, DIMENSION))
    return rows, asked.astype(np.float32)


def _flat() -> dict[str, float]:
    import faiss

    from uad_orchestrator.memory.nearest import NearestNeighbors

    bank, asked = _rows_like_patches()
    index = faiss.IndexFlatL2(DIMENSION)
    index.add(bank)
    return _in_turn(NearestNeighbors(bank).search, lambda queries: index.search(queries, 1), asked)


def _ivf() -> dict[str, float]:
    import faiss

    from uad_orchestrator.memory.approximate import PROBES, ApproximateNeighbors, train_cells

    bank, asked = _rows_like_patches()
    cells = train_cells(bank, 0)
    quantizer = faiss.IndexFlatL2(DIMENSION)
    quantizer.add(cells)
    index = faiss.IndexIVFFlat(quantizer, DIMENSION, len(cells))
    index.add(bank)
    index.nprobe = PROBES
    return _in_turn(ApproximateNeighbors(bank, cells).search, lambda queries: index.search(queries, 1), asked)


def _in_turn(
    ours: Callable[[np.ndarray], object], peer: Callable[[np.ndarray], object], asked: np.ndarray
) -> dict[str, float]:
    """The best seconds of each, measured by turns so that the machine's load meets both."""
    seconds: dict[str, list[float]] = {"ours, s": [], "faiss, s": []}
    for _ in range(7):
        for name, search in (("ours, s", ours), ("faiss, s", peer)):
            started = time.perf_counter()
            search(asked)
            seconds[name].append(time.perf_counter() - started)
    return {name: min(values) for name, values in seconds.items()}


CASES = {"demo": _demo, "clip": _clip, "real": _real}


if __name__ == "__main__":
    what = sys.argv[1]
    if what in CASES:
        print(json.dumps(_detector(CASES[what], sys.argv[2])))
    else:
        print(json.dumps({"lof": _lof, "flat": _flat, "ivf": _ivf}[what]()))
