"""Pixel metrics in threads: 640 maps of 512 x 512, 168 million pixels, on one thread and on all, at most 16.

Counting, adding up and the metrics are timed; maps and masks lie in memory before the clock starts. That the counts are
the same bit for bit is checked in the same run.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.pixel_counts import LIMITS, base_maps
from benchmarks.rows import BenchmarkRow

N_MAPS, SIZE, REPEATS = 640, 512, 3
CORES, BARS = (1, 2, 16), (0.9, 1.6, 6.0)
"""The bar follows the cores, on a straight line between these."""


def run() -> list[BenchmarkRow]:
    from uad_orchestrator.threads import available_threads

    images = list(zip(*base_maps(N_MAPS, SIZE, seed=1), strict=True))
    threads = available_threads()
    seconds = {n: min(_seconds(images, n) for _ in range(REPEATS)) for n in (1, threads)}
    details = {"threads": float(threads), "one thread, s": seconds[1], "all threads, s": seconds[threads]}
    bar = float(np.interp(threads, CORES, BARS))
    return [
        _row("speed-up over one thread", seconds[1] / seconds[threads], "x", bar, "higher", details),
        _row("arrays that differ", float(_differing_arrays(images, threads)), "", 0.0, "lower", {}),
    ]


def _row(measure: str, value: float, unit: str, bar: float, better, details) -> BenchmarkRow:  # type: ignore[no-untyped-def]
    case = f"{N_MAPS} maps of {SIZE} x {SIZE}"
    return BenchmarkRow("pixel_threads", case, measure, value, unit, bar, better, details)


def _seconds(images: list[tuple[np.ndarray, np.ndarray]], threads: int) -> float:
    from uad_orchestrator.metrics import count_pixels

    start = time.perf_counter()
    count_pixels(images, threads=threads).compute(LIMITS)
    return time.perf_counter() - start


def _differing_arrays(images: list[tuple[np.ndarray, np.ndarray]], threads: int) -> int:
    from uad_orchestrator.metrics import count_pixels

    alone, together = (count_pixels(images, threads=n).to_arrays() for n in (1, threads))
    return sum(not np.array_equal(alone[name], together[name]) for name in alone)
