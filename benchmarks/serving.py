"""50 clients at once at ``uad serve``: images a second where those that wait go through the network together.

Held against the same server that takes them one by one, both in one run and in turn, so that other work on the machine
falls on both; the figure is the median of the rounds' ratios. Every request has to be answered. One image keeps all
cores busy, so that on a CPU batches may only not cost anything; on a GPU they have to double the throughput.

And what ``--record`` adds to a result: one client asks a server that records and one that does not, in turn. Half of
the images are rejected, whose pictures and maps are kept, too. The figures are the median and the 95th percentile of
the seconds, with over without.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.inference import WEIGHTS, pictures, saved_bundle, write
from benchmarks.rows import BenchmarkRow
from tests.end_to_end.ui_process import free_port
from uad_orchestrator.inference.records.record_files import read_day, recorded_cells, recorded_days

CLIENTS, REQUESTS, ROUNDS = 50, 100, 3
PAIRS = 200
"""Requests of one client to each of both servers; the first few are left out."""
FIRST = 4
SIDE = 224


@dataclass
class _Load:
    """What clients saw of a server."""

    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run() -> list[BenchmarkRow]:
    import torch

    from uad_orchestrator.embedders.settings import EmbedderSettings

    weights = WEIGHTS if WEIGHTS.exists() else None
    embedder = EmbedderSettings(name="resnet18", weights=str(weights or "random:0"), image_size=SIDE)
    with tempfile.TemporaryDirectory() as folder:
        bundle = saved_bundle(Path(folder), embedder, weights)
        images = []
        for number, picture in enumerate(pictures(8, seed=4)):
            write(path := Path(folder) / f"{number}.png", picture)
            images.append(path.read_bytes())
        together, alone = _Load(), _Load()
        on_gpu = torch.cuda.is_available()
        device = ("--device", "cuda" if on_gpu else "cpu")
        with _server(bundle, *device) as port, _server(bundle, *device, "--batch-size", "1") as port_alone:
            for _ in range(ROUNDS):
                _ask_at_once(port_alone, images, alone)
                _ask_at_once(port, images, together)
        recording = _recording_rows(bundle, images)
    ratios = [fast / slow for fast, slow in zip(together.rates, alone.rates, strict=True)]
    details: dict[str, float | str] = {
        "images/s": statistics.median(together.rates),
        "one by one, images/s": statistics.median(alone.rates),
        "p95, s": float(np.quantile(together.seconds, 0.95)),
        "one by one, p95, s": float(np.quantile(alone.seconds, 0.95)),
        "least ratio": min(ratios),
        "largest ratio": max(ratios),
    }
    case = f"resnet18, {SIDE} px, {CLIENTS} clients, {device[1]}"
    lost = len(together.errors) + len(alone.errors)
    asked = f"{CLIENTS} clients, {2 * ROUNDS * REQUESTS} requests"
    return [
        BenchmarkRow(
            "serving",
            case,
            "throughput over one by one",
            statistics.median(ratios),
            "x",
            2 if on_gpu else 0.9,
            "higher",
            details,
        ),
        BenchmarkRow("serving", asked, "requests without an answer", lost, "", 0, "lower"),
        *recording,
    ]


def _recording_rows(bundle: Path, normal: list[bytes]) -> list[BenchmarkRow]:
    images = [
        body for pair in zip(normal, _rejected(bundle.parent, len(normal)), strict=True) for body in pair
    ]
    plain, recording = _Load(), _Load()
    records = bundle.parent / "records"
    with (
        _server(bundle, "--device", "cpu") as port,
        _server(bundle, "--device", "cpu", "--record", str(records)) as port_recording,
    ):
        for number in range(PAIRS):
            turn = [(port, plain), (port_recording, recording)]
            for asked, load in turn if number % 2 else reversed(turn):
                _ask_timed(asked, images[number % len(images)], load)
    recorded = [
        one
        for cell in recorded_cells(records)
        for day in recorded_days(records, *cell)
        for one in read_day(records, *cell, day)
    ]
    assert len(recorded) == PAIRS
    rejected = sum(one.decision == "reject" and one.picture is not None for one in recorded)
    rows = []
    for word, quantile in (("median", 0.5), ("95th percentile", 0.95)):
        with_it, without = (float(np.quantile(load.seconds[FIRST:], quantile)) for load in (recording, plain))
        details = {"with, s": with_it, "without, s": without, "share kept": rejected / PAIRS}
        case = f"resnet18, {SIDE} px, one client"
        measure = f"--record, {word} of a result, with over without"
        rows.append(BenchmarkRow("serving", case, measure, with_it / without, "x", 1.05, "lower", details))
    return rows


def _rejected(folder: Path, n: int) -> list[bytes]:
    """Noise, unlike the smooth pictures that the bundle was fitted on."""
    images = []
    for number in range(n):
        noise = np.random.default_rng(number).integers(0, 256, (256, 256, 3), dtype=np.uint8)
        write(path := folder / f"noise-{number}.png", noise)
        images.append(path.read_bytes())
    return images


def _ask_timed(port: int, body: bytes, load: _Load) -> None:
    started = time.perf_counter()
    _ask(port, body)
    load.seconds.append(time.perf_counter() - started)


@contextmanager
def _server(bundle: Path, *options: str) -> Iterator[int]:
    port = free_port()
    line = [sys.executable, "-m", "uad_orchestrator.cli", "serve", "--bundle", str(bundle)]
    server = subprocess.Popen([*line, "--port", str(port), *options], stderr=subprocess.DEVNULL)
    try:
        _wait_until_up(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def _ask_at_once(port: int, images: list[bytes], load: _Load) -> None:
    """``CLIENTS`` threads, each with its next request as soon as the last is answered."""
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> None:
        start.wait()
        for turn in range(REQUESTS // CLIENTS):
            asked = time.perf_counter()
            try:
                _ask(port, images[(number + turn) % len(images)])
            except OSError as error:
                load.errors.append(str(error))
            load.seconds.append(time.perf_counter() - asked)

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    load.rates.append(REQUESTS / (time.perf_counter() - started))


def _ask(port: int, body: bytes) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/infer", body, method="POST")
    with urllib.request.urlopen(request, timeout=300) as answer:
        assert "score" in json.loads(answer.read())


def _wait_until_up(port: int) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError("uad serve did not answer within a minute")
