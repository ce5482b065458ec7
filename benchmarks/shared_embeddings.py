"""Embeddings shared through the store: is fetching one faster than computing it, and from which bandwidth on?

Computing is what a machine does that misses an entry: read the image, prepare it, run the network (random weights, on
``UAD_BENCHMARK_DEVICE``, else the CPU). Fetching is what it does instead, many requests at a time, the check of each
object and the write into the machine's cache included. The store is a folder on this disk, or that of
``UAD_BENCHMARK_STORE``, e.g. ``s3://bucket/trial``: then the figures are those of your line to it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.made_up.images import Category, draw
from benchmarks.rows import BenchmarkRow
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images import ImageSource
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.artifacts.locations import Location
from uad_orchestrator.storage.embedding_cache import EmbeddingCache
from uad_orchestrator.storage.shared_embeddings import SHARED, SharedEmbeddings

IMAGES, SIDE = 16, 1024
DEVICE = os.environ.get("UAD_BENCHMARK_DEVICE", "cpu")
RECIPES = (
    EmbedderSettings(name="resnet18", weights="random:0", image_size=256),
    EmbedderSettings(name="wide_resnet50_2", weights="random:0", image_size=256),
)


def run() -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory() as folder:
        images = sorted(draw(Category("parts", IMAGES, 0, 0, SIDE), Path(folder)).glob("train/good/*.png"))
        return [_row(recipe, images, Path(folder) / recipe.name) for recipe in RECIPES]


def _row(recipe: EmbedderSettings, images: list[Path], folder: Path) -> BenchmarkRow:
    store = os.environ.get("UAD_BENCHMARK_STORE", str(folder / "store"))
    location = ArtifactStore(store, local=folder / "local").location
    computing, of_cpu, storing = _seconds(recipe, images, location, folder / "here")
    fetching, *_ = _seconds(recipe, images, location, folder / "there")
    objects = location.files(SHARED)
    megabytes = sum(file.bytes for file in objects.values()) / 1e6 / len(images)
    location.remove_files(objects)
    return BenchmarkRow(
        "shared_embeddings",
        f"{recipe.name} at {recipe.image_size} px, {DEVICE}",
        "speed of fetching over computing",
        computing / fetching,
        "x",
        1.0,
        "higher",
        {
            "computing, ms": 1000 * computing,
            "of CPU, ms": 1000 * of_cpu,
            "fetching, ms": 1000 * fetching,
            "storing behind it, ms": 1000 * storing,
            "an entry, MB": megabytes,
            "store, MB/s": megabytes / fetching,
            "pays from, MB/s": megabytes / computing,
        },
    )


def _seconds(
    recipe: EmbedderSettings, images: list[Path], location: Location, folder: Path
) -> tuple[float, float, float]:
    """Seconds an image until all have come, by the clock and of CPU, and those until all was stored; the network is
    loaded before."""
    from uad_orchestrator.detectors import EmbeddingStream, open_stream

    opened = open_stream(recipe, device=DEVICE)
    cache = SharedEmbeddings(EmbeddingCache(folder), location, "benchmark/parts")
    stream = EmbeddingStream(
        lambda: opened.embedder, opened.recipe, preset=opened.preset, cache=cache, device=opened.device
    )
    sources = [ImageSource.from_path(image) for image in images]
    list(opened.stream(sources[:2]))
    started, used = time.perf_counter(), time.process_time()
    arrived = started
    for _ in stream.stream(sources):
        arrived = time.perf_counter()
    used, ended = time.process_time() - used, time.perf_counter()
    return (arrived - started) / len(images), used / len(images), (ended - arrived) / len(images)
