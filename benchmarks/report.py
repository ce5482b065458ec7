"""``uad report`` of 2,000 small cells: drawn for the first time, again when one cell changed; and what pictures take.

CPU seconds of the command in a process of its own, start included. What speaks against the figures was found before,
as a refresh does. The pictures of an image and of its map are measured beside it, at a usual size: the cells of the
grid are tiny.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.made_up.project_grid import DETECTORS, build_grid, change_one_cell
from benchmarks.rows import BenchmarkRow

CATEGORIES = 400
CASE = f"{CATEGORIES} x {DETECTORS} cells"
PICTURES, SIDE = 20, 1024


def run() -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        build_grid(home, CATEGORIES)
        _cpu_of(home, "leaderboard", "--json")
        cold = _cpu_of(home, "report")
        pages = list((home / ".uad/report").rglob("*.html"))
        if len(list((home / ".uad/report/cells").rglob("*.html"))) != CATEGORIES * DETECTORS:
            raise RuntimeError("a cell has no page")
        largest = max(page.stat().st_size for page in pages)
        idle = _cpu_of(home, "report")
        change_one_cell(home)
        changed = _cpu_of(home, "report")
        version = json.loads(_output(home, "leaderboard", "--json"))["rows"][0]["version"]
    details = {"when nothing changed, s": idle, "changed": version[:12]}
    return [
        BenchmarkRow("report", CASE, "CPU, first time", cold, "s", 120, "lower"),
        BenchmarkRow("report", CASE, "CPU, one cell changed", changed, "s", 10, "lower", details),
        BenchmarkRow(
            "report", CASE, "largest page", largest / 1e6, "MB", 2, "lower", {"pages": str(len(pages))}
        ),
        _pictures_row(),
    ]


def _pictures_row() -> BenchmarkRow:
    """The pictures of an image and of its map, against writing and reading the map itself."""
    from uad_orchestrator.embedders.protocol import Region
    from uad_orchestrator.postprocess.anomaly_map import resize_to_image
    from uad_orchestrator.postprocess.map_set import MapSet
    from uad_orchestrator.reporting.pages.pictures import map_png
    from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale
    from uad_orchestrator.reporting.pictures.thumbnail import thumbnail_jpeg, view_jpeg

    draws, scale = np.random.default_rng(0), HeatmapScale.from_normals(1.0, 0.1, 2.0)
    image = draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    grid = resize_to_image(
        draws.random((32, 32)).astype(np.float32) * 3, Region(0, 0, SIDE, SIDE), (SIDE, SIDE)
    )
    with tempfile.TemporaryDirectory() as folder:
        maps = MapSet(Path(folder))
        started = time.process_time()
        for n in range(PICTURES):
            maps.write(f"{n}.png", "good", grid)
            maps.read(f"{n}.png", "good")
        stored = (time.process_time() - started) / PICTURES
    started = time.process_time()
    for _ in range(PICTURES):
        map_png(grid, scale)
    drawn = (time.process_time() - started) / PICTURES
    started = time.process_time()
    for _ in range(PICTURES):
        thumbnail_jpeg(image), view_jpeg(image)
    viewed = (time.process_time() - started) / PICTURES
    details = {
        "a map's picture, ms": 1000 * drawn,
        "an image's, ms": 1000 * viewed,
        "a map kept, ms": 1000 * stored,
    }
    case = f"{SIDE} x {SIDE} pixels"
    return BenchmarkRow(
        "report", case, "a map's picture over keeping the map", drawn / stored, "x", 1, "lower", details
    )


def _cpu_of(home: Path, *command: str) -> float:
    before = _children()
    _output(home, *command)
    return _children() - before


def _output(home: Path, *command: str) -> str:
    line = [sys.executable, "-m", "uad_orchestrator.cli", *command, "--home", str(home)]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
