"""What ``infer`` adds to the embedder, how soon a bundle's first answer is there, and 50 clients at once.

The first is ``infer`` (labels, maps, defects) less the detector's own stage (embedder and search in the bank), as
a share of the embedder's time on the same images; in CPU seconds of one thread, which other work on the machine
hardly moves. The start is that of a whole process, by the clock; its CPU seconds stand beside.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.fresh_process import REAL
from benchmarks.rows import BenchmarkRow

WEIGHTS = REAL / "weights" / "resnet18_stem_to_layer3.pth"
IMAGES, ROUNDS, BATCH, SIDE = 16, 9, 8, 256
STARTS, CLIENTS, REQUESTS = 5, 50, 200


def run() -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = _filter_bank_bundle(Path(folder))
        return [_overhead_row(), _cold_start_row(bundle), _client_row(bundle)]


def _overhead_row() -> BenchmarkRow:
    import cv2
    import torch

    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.images.formats import iter_sources
    from uad_orchestrator.inference import infer

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    weights = str(WEIGHTS) if WEIGHTS.exists() else "random:0"
    settings = EmbedderSettings(name="resnet18", weights=weights, image_size=SIDE, dimension=384)
    detector = create_detector(
        "vision_patchcore", embedder=settings, coreset={"ratio": 0.1}, contamination=0.1, batch_size=BATCH
    ).fit(_pictures(4, seed=1))
    images = _pictures(IMAGES, seed=2)
    embedder = detector.stream.embedder

    def embed() -> None:
        for start in range(0, IMAGES, BATCH):
            embedder.embed_batch(images[start : start + BATCH])

    def respond() -> None:
        assert len(list(detector.respond(detector.state_, iter_sources(images)))) == IMAGES

    def whole() -> None:
        assert len(list(infer(detector, images))) == IMAGES

    seconds = _in_turn({"embedder": embed, "embedder and search": respond, "infer": whole})
    details: dict[str, float | str] = {f"{name}, ms": 1000 * s / IMAGES for name, s in seconds.items()}
    details["bank rows"] = float(len(detector.state_.arrays["bank"]))
    added = 100 * (seconds["infer"] - seconds["embedder and search"]) / seconds["embedder"]
    case = f"resnet18, {SIDE} px, batches of {BATCH}"
    measure = "infer above the detector, of the embedder's time"
    return BenchmarkRow("inference", case, measure, added, "%", 5, "lower", details)


def _cold_start_row(bundle: Path) -> BenchmarkRow:
    """The whole process, from nothing to the answer for one image."""
    image = bundle.parent / "image.png"
    _write(image, _pictures(1, seed=3)[0])
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


def _client_row(bundle: Path) -> BenchmarkRow:
    """``CLIENTS`` threads ask at once, ``REQUESTS`` in all, a server in a process of its own."""
    port = _free_port()
    line = [
        sys.executable,
        "-m",
        "uad_orchestrator.cli",
        "serve",
        "--bundle",
        str(bundle),
        "--port",
        str(port),
    ]
    bodies = [(bundle.parent / f"{number}.png") for number in range(8)]
    for path, image in zip(bodies, _pictures(8, seed=4), strict=True):
        _write(path, image)
    server = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    try:
        _wait_until_up(port)
        start, seconds, errors = threading.Barrier(CLIENTS), [], []

        def client(number: int) -> None:
            start.wait()
            for turn in range(REQUESTS // CLIENTS):
                asked = time.perf_counter()
                try:
                    _ask(port, bodies[(number + turn) % len(bodies)].read_bytes())
                except OSError as error:
                    errors.append(str(error))
                seconds.append(time.perf_counter() - asked)

        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))
        wall = time.perf_counter() - started
    finally:
        server.terminate()
        server.wait()
    details: dict[str, float | str] = {
        "images/s": REQUESTS / wall,
        "p50, s": statistics.median(seconds),
        "largest, s": max(seconds),
    }
    case = f"{CLIENTS} clients, {REQUESTS} requests"
    measure = "requests without an answer"
    return BenchmarkRow("inference", case, measure, len(errors), "", 0, "lower", details)


def _filter_bank_bundle(folder: Path) -> Path:
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.detectors.registry import detector_spec
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.inference import Bundle, save_bundle
    from uad_orchestrator.inference.bundle import Calibration
    from uad_orchestrator.preprocessing.presets import Preset

    model, embedder = "vision_patchcore", EmbedderSettings(name="filter_bank")
    detector = create_detector(model, embedder=embedder, contamination=0.1).fit(_pictures(30, seed=0))
    calibration = Calibration(detector.image_point_, detector.pixel_point_, (), (), {})
    settings = detector_spec(model).cut({"contamination": 0.1})
    bundle = Bundle(
        "benchmark", model, settings, embedder, Preset("plain"), None, detector.state_, calibration
    )
    return save_bundle(bundle, folder / "bundle")


def _in_turn(jobs: dict[str, Callable[[], None]]) -> dict[str, float]:
    """The least CPU seconds of each job, done in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            started = time.process_time()
            job()
            seconds[name].append(time.process_time() - started)
    return {name: min(values) for name, values in seconds.items()}


def _pictures(n: int, seed: int) -> list[np.ndarray]:
    """Smooth random textures, 256 x 256."""
    coarse = np.random.default_rng(seed).integers(60, 200, (n, 16, 16, 3), dtype=np.uint8)
    return [np.kron(picture, np.ones((16, 16, 1), np.uint8)) for picture in coarse]


def _write(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(image).save(path)


def _ask(port: int, body: bytes) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/infer", body, method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert "score" in json.loads(answer.read())


def _wait_until_up(port: int) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError("uad serve did not answer within a minute")


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
