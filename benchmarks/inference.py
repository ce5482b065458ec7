"""What ``infer`` adds to the embedder, and how soon a bundle's first answer is there.

The first is what ``infer`` does (decoding, labels, maps, defects) outside the detector's own stage, which is embedder
and search in the bank, as a share of the embedder's time on the same images; in CPU seconds of one thread, which other
work on the machine hardly moves, and taken within one run: the difference of two is lost in what each of them varies
by. The start is that of a whole process, by the clock; its CPU seconds stand beside.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmarks.fresh_process import REAL
from benchmarks.rows import BenchmarkRow

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.detector import Detector
    from uad_orchestrator.embedders.settings import EmbedderSettings

T = TypeVar("T")

WEIGHTS = REAL / "weights" / "resnet18_stem_to_layer3.pth"
IMAGES, ROUNDS, BATCH, SIDE = 16, 9, 8, 256
STARTS = 5


def run() -> list[BenchmarkRow]:
    from uad_orchestrator.embedders.settings import EmbedderSettings

    with tempfile.TemporaryDirectory() as folder:
        bundle = saved_bundle(Path(folder), EmbedderSettings(name="filter_bank"))
        return [_overhead_row(), _cold_start_row(bundle)]


def _overhead_row() -> BenchmarkRow:
    import cv2
    import torch

    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.embedders.settings import EmbedderSettings

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    weights = str(WEIGHTS) if WEIGHTS.exists() else "random:0"
    settings = EmbedderSettings(name="resnet18", weights=weights, image_size=SIDE, dimension=384)
    detector = create_detector(
        "vision_patchcore", embedder=settings, coreset={"ratio": 0.1}, contamination=0.1, batch_size=BATCH
    ).fit(pictures(4, seed=1))
    images = pictures(IMAGES, seed=2)
    embedder = detector.stream.embedder

    def embed() -> None:
        for start in range(0, IMAGES, BATCH):
            embedder.embed_batch(images[start : start + BATCH])

    embedding, added, whole = [], [], []
    for _ in range(ROUNDS):
        started = time.process_time()
        embed()
        embedding.append(time.process_time() - started)
        around, within = _infer_clocked(detector, images)
        whole.append(around)
        added.append(around - within)
    details: dict[str, float | str] = {
        "embedder, ms": 1000 * min(embedding) / IMAGES,
        "added, ms": 1000 * statistics.median(added) / IMAGES,
        "infer, ms": 1000 * min(whole) / IMAGES,
        "bank rows": float(len(detector.state_.arrays["bank"])),
    }
    share = 100 * statistics.median(added) / min(embedding)
    case = f"resnet18, {SIDE} px, batches of {BATCH}"
    measure = "infer above the detector, of the embedder's time"
    return BenchmarkRow("inference", case, measure, share, "%", 5, "lower", details)


def _infer_clocked(detector: Detector, images: list[np.ndarray]) -> tuple[float, float]:
    """CPU seconds of ``infer``, and those of them within the detector's stage."""
    from uad_orchestrator.inference import infer

    stage, sources = _Clock(), _Clock()
    respond = detector.respond
    detector.respond = lambda state, given: stage.over(respond(state, sources.over(given)))  # type: ignore[method-assign, assignment]
    started = time.process_time()
    assert len(list(infer(detector, images))) == IMAGES
    seconds = time.process_time() - started
    detector.respond = respond  # type: ignore[method-assign]
    return seconds, stage.seconds - sources.seconds


@dataclass
class _Clock:
    """The CPU seconds that an iterable takes to give its items."""

    seconds: float = 0.0

    def over(self, items: Iterable[T]) -> Iterator[T]:
        remaining = iter(items)
        while True:
            started = time.process_time()
            item = next(remaining, None)
            self.seconds += time.process_time() - started
            if item is None:
                return
            yield item


def _cold_start_row(bundle: Path) -> BenchmarkRow:
    """The whole process, from nothing to the answer for one image."""
    image = bundle.parent / "image.png"
    write(image, pictures(1, seed=3)[0])
    line = [
        sys.executable,
        "-m",
        "uad_orchestrator.cli",
        "infer",
        "--bundle",
        str(bundle),
        "--json",
        str(image),
    ]
    walls, busy = [], []
    for _ in range(STARTS):
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(line, capture_output=True, check=False)
        walls.append(time.perf_counter() - started)
        after = os.times()
        busy.append(
            after.children_user - before.children_user + after.children_system - before.children_system
        )
        assert done.returncode in (0, 3), done.stderr.decode()
    details = {"median, s": statistics.median(walls), "CPU, s": min(busy)}
    return BenchmarkRow(
        "inference", "filter_bank", "cold start of a bundle", min(walls), "s", 2, "lower", details
    )


def saved_bundle(folder: Path, embedder: EmbedderSettings, weights: Path | None = None) -> Path:
    """A PatchCore fitted on 30 pictures."""
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.detectors.registry import detector_spec
    from uad_orchestrator.inference import Bundle, save_bundle
    from uad_orchestrator.inference.bundle import Calibration
    from uad_orchestrator.preprocessing.presets import Preset

    model = "vision_patchcore"
    detector = create_detector(model, embedder=embedder, contamination=0.1).fit(pictures(30, seed=0))
    calibration = Calibration(detector.image_point_, detector.pixel_point_, (), (), {})
    settings = detector_spec(model).cut({"contamination": 0.1})
    bundle = Bundle(
        "made_up/pictures x patchcore",
        model,
        settings,
        embedder,
        Preset("plain"),
        weights,
        detector.state_,
        calibration,
    )
    return save_bundle(bundle, folder / "bundle")


def pictures(n: int, seed: int) -> list[np.ndarray]:
    """Smooth random textures, 256 x 256."""
    coarse = np.random.default_rng(seed).integers(60, 200, (n, 16, 16, 3), dtype=np.uint8)
    return [np.kron(picture, np.ones((16, 16, 1), np.uint8)) for picture in coarse]


def write(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(image).save(path)
