"""A cell like MVTec AD's screw on two cores, cold, against its own pieces alone and against anomalib's fit + test.

Made-up images (``made_up.images``), resnet18 with random weights, layer2 + layer3. The pieces, each in a process of
its own and on the same two cores, are decoding, forward passes, coreset and exact search, of the searches that are
installed the fastest; its queries are those of the cell, the calibration's among them. anomalib's run is a whole one,
three to six minutes. ``UAD_BENCHMARK_SIZE=toy``: a trial; its figures mean nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fresh_process import measured
from benchmarks.made_up.cell import Cell
from benchmarks.made_up.images import Category, draw
from benchmarks.rows import BenchmarkRow

TOY = os.environ.get("UAD_BENCHMARK_SIZE") == "toy"
SCREW = Category("screw", 24, 6, 6, 192, "screw") if TOY else Category("screw", 160, 40, 40, 1024, "screw")
IMAGE_SIZE, DIMENSION, RATIO = (64 if TOY else 256), 384, 0.01
CORES = 2
PIECES = ("reading", "network", "coreset", "search")


def run() -> list[BenchmarkRow]:
    import anomalib  # noqa: F401  the peer

    with tempfile.TemporaryDirectory() as folder, _on_cores(CORES):
        category = draw(SCREW, Path(folder))
        cell = Cell(str(category), "resnet18", IMAGE_SIZE, DIMENSION, RATIO, "cpu")
        ours = min(
            (measured("made_up.cell", "ours", cell.to_json()) for _ in range(2)), key=lambda m: m["seconds"]
        )
        alone: dict[str, float] = {}
        for piece in PIECES:
            alone |= measured("made_up.pieces", piece, cell.to_json(), folder)
        peer = measured("made_up.cell", "anomalib", cell.to_json(), MALLOC_MMAP_THRESHOLD_="65536")
    pieces = sum(alone[f"{piece}, s"] for piece in PIECES)
    case = f"{SCREW.train} + {SCREW.normal + SCREW.defective} grey images of {SCREW.side} px, resnet18, {RATIO:.0%}"
    speed_up = peer["seconds"] / ours["seconds"]
    both = {
        f"{who}: {name}": value
        for who, of in (("ours", ours), ("anomalib", peer))
        for name, value in of.items()
    }
    details = {**{f"ours: {name}": value for name, value in ours.items()}, "pieces, s": pieces, **alone}
    return [
        BenchmarkRow(
            "screw", case, "cell, of its pieces alone", ours["seconds"] / pieces, "x", 1.3, "lower", details
        ),
        BenchmarkRow("screw", case, "speed-up over anomalib", speed_up, "x", 12, "higher", both),
    ]


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """This process and those it starts run on so many cores, where the system can be told."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usable)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)
