"""The exact search on the CPU: ``choose_backend`` against the fastest of NumPy, torch and faiss, over a table of sizes.

Each backend searches in a process of its own. Alone it is measured on one core, in CPU seconds, which other load does
not change. Beside a network of torch's all cores are used: there the libraries' threads may wait for each other.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from benchmarks.fresh_process import measured
from benchmarks.rows import BenchmarkRow

BACKENDS = ("numpy", "torch", "faiss")
BAR, SECONDS, TURNS = 1.2, 0.2, 3
SIZES = [
    (rows, queries, dimension)
    for dimension in (27, 128, 384, 1536)
    for rows, queries in ((50, 1024), (1000, 1024), (1000, 4096), (10_000, 1024), (50_000, 1024))
    if rows * dimension <= 50_000 * 384
]
"""Bank rows, queries, dimension."""
NEIGHBOURS = (1, 3, 9)
ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run() -> list[BenchmarkRow]:
    import faiss  # noqa: F401  both are compared with
    import torch  # noqa: F401

    return [_alone(), *_beside_a_network()]


def _alone() -> BenchmarkRow:
    from uad_orchestrator.memory.nearest import choose_backend

    seconds = {backend: measured("search", "alone", backend, **ONE_CORE) for backend in BACKENDS}
    ratios, taken = [], 0.0
    for size in SIZES:
        for k in NEIGHBOURS:
            case, chosen = _name(*size, k), choose_backend(*size, k)
            each = ", ".join(f"{backend} {seconds[backend][case] * 1e3:.2f}" for backend in BACKENDS)
            print(f"{case}: {each} ms; chosen: {chosen}", file=sys.stderr)
            ratios.append(seconds[chosen][case] / min(seconds[backend][case] for backend in BACKENDS))
            taken += seconds[chosen][case]
    details: dict[str, float | str] = {
        f"{backend}, s": sum(seconds[backend].values()) for backend in BACKENDS
    }
    details |= {"chosen, s": taken, "worst ratio": max(ratios), "sizes": float(len(ratios))}
    mean = float(np.exp(np.log(ratios).mean()))
    case = "50 to 50,000 rows, 27 to 1,536 dimensions, one core"
    return BenchmarkRow("search", case, "the chosen, of the fastest's time", mean, "x", BAR, "lower", details)


def _beside_a_network() -> list[BenchmarkRow]:
    from uad_orchestrator.memory.nearest import choose_backend

    best: dict[str, dict[str, float]] = {}
    for _ in range(TURNS):
        for backend in BACKENDS:
            for case, seconds in measured("search", "beside", backend).items():
                times = best.setdefault(case, {})
                times[backend] = min(seconds, times.get(backend, seconds))
    rows = []
    for size in ((1000, 1024, 128), (5000, 1024, 384)):
        times = best[_name(*size, 1)]
        value = times[choose_backend(*size, 1)] / min(times.values())
        details = {f"{backend}, ms": times[backend] * 1e3 for backend in BACKENDS}
        case = f"{_name(*size, 1)}, after each convolution"
        rows.append(
            BenchmarkRow(
                "search", case, "the chosen, of the fastest's time", value, "x", BAR, "lower", details
            )
        )
    return rows


def _name(rows: int, queries: int, dimension: int, k: int) -> str:
    return f"{queries} in {rows} x {dimension}, k {k}"


def _seconds_alone(backend: str) -> dict[str, float]:
    from uad_orchestrator.memory.nearest import NearestNeighbors

    found = {}
    for rows, queries, dimension in SIZES:
        bank, asked = _rows(rows, dimension), _rows(queries, dimension)
        search = NearestNeighbors(bank, backend)  # type: ignore[arg-type]
        for k in NEIGHBOURS:
            search.search(asked, k)
            times: list[float] = []
            while len(times) < 3 or sum(times) < SECONDS:
                started = time.process_time()
                search.search(asked, k)
                times.append(time.process_time() - started)
            found[_name(rows, queries, dimension, k)] = min(times)
    return found


def _seconds_beside(backend: str) -> dict[str, float]:
    """Of a convolution and a search by turns, the median."""
    import torch

    from uad_orchestrator.memory.nearest import NearestNeighbors

    layer, image = torch.nn.Conv2d(64, 64, 3, padding=1), torch.zeros(4, 64, 64, 64)
    found = {}
    for rows, queries, dimension in ((1000, 1024, 128), (5000, 1024, 384)):
        search = NearestNeighbors(_rows(rows, dimension), backend)  # type: ignore[arg-type]
        asked, times = _rows(queries, dimension), []
        for _ in range(30):
            started = time.perf_counter()
            with torch.inference_mode():
                layer(image)
            search.search(asked)
            times.append(time.perf_counter() - started)
        found[_name(rows, queries, dimension, 1)] = float(np.median(times))
    return found


def _rows(n: int, dimension: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, dimension), dtype=np.float32)


if __name__ == "__main__":
    print(json.dumps({"alone": _seconds_alone, "beside": _seconds_beside}[sys.argv[1]](sys.argv[2])))
