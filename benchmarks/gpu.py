"""A GPU: PatchCore cells against anomalib's, AnomalyDINO against its network, the GPU against the CPU, a grid.

Images and weights are made up in a temporary folder; only the library is needed, not Dagster. All ratios are of one
run on one machine, which ``card`` names. Caches are cold but for the system's, which holds the files on both sides.
Environment variables, for a trial where there is no GPU:

- ``UAD_BENCHMARK_DEVICE``: ``cuda`` (the default) or another device of torch, ``cpu``
- ``UAD_BENCHMARK_SIZE=toy``: few and small images through a small network; its figures mean nothing
- ``UAD_BENCHMARK_CASES``: some of ``cells,dino,devices,grid``, separated by commas
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path

from benchmarks.fresh_process import measured
from benchmarks.made_up.cell import Cell
from benchmarks.made_up.images import Category, draw
from benchmarks.rows import BenchmarkRow

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Size:
    """How large the cases are.

    Attributes:
        backbone: of all but AnomalyDINO.
        image_size: side of its input, in pixels.
        dimension: d of a patch embedding.
        cell: the category of a cell.
        dino: that of AnomalyDINO; its train images are the references, its side the network's input.
        devices: that on which GPU and CPU are compared.
        category: one of the grid's.
        categories: how many of these.
    """

    backbone: str
    image_size: int
    dimension: int
    cell: Category
    dino: Category
    devices: Category
    category: Category
    categories: int


FULL = Size(
    "wide_resnet50_2", 256, 1024,
    cell=Category("cell", 200, 50, 50, side=1024),
    dino=Category("dino", 16, 50, 50, side=448),
    devices=Category("devices", 40, 50, 50, side=512),
    category=Category("", 40, 10, 10, side=1024),
    categories=15,
)  # fmt: skip
TOY = Size(
    "resnet18", 64, 64,
    cell=Category("cell", 24, 6, 6, side=192),
    dino=Category("dino", 4, 3, 3, side=112),
    devices=Category("devices", 12, 10, 10, side=128),
    category=Category("", 8, 2, 2, side=128),
    categories=3,
)  # fmt: skip

SIZE = TOY if os.environ.get("UAD_BENCHMARK_SIZE") == "toy" else FULL
DEVICE = os.environ.get("UAD_BENCHMARK_DEVICE", "cuda")

SPEED_UPS = {0.1: 3.0, 0.01: 2.0}
"""The share of the patches that the coreset keeps, and the bar against anomalib."""

PIECES = ("reading", "network", "coreset", "search", "maps", "metrics")
IMPORT_ERRORS = ("ModuleNotFoundError", "ImportError", "PackageNotFoundError")


def run() -> list[BenchmarkRow]:
    card = _card()
    if card is None:
        print(
            "gpu needs CUDA: torch finds none (UAD_BENCHMARK_DEVICE=cpu tries it on the CPU)", file=sys.stderr
        )
        return []
    cases = {"cells": _cells, "dino": _dino, "devices": _devices, "grid": _grid}
    rows: list[BenchmarkRow] = []
    for name in os.environ.get("UAD_BENCHMARK_CASES", ",".join(cases)).split(","):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows += cases[name](Path(folder))
            except RuntimeError as error:  # of a process: the other cases' figures are not lost for it
                print(error, file=sys.stderr)
                rows.append(_row(name, "measured", math.nan, "", 0, {"failed": str(error).splitlines()[-1]}))
        print(f"gpu: {name} took {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return [replace(row, details={"card": card, **row.details}) for row in rows]


def _card() -> str | None:
    """What the device is called; None: it is CUDA's and there is none."""
    import torch

    if not DEVICE.startswith("cuda"):
        return f"none: {DEVICE}"
    return torch.cuda.get_device_name(DEVICE) if torch.cuda.is_available() else None


def _row(
    case: str, measure: str, value: float, unit: str, bar: float, details: Mapping[str, float | str],
    *, at_least: bool = False,
) -> BenchmarkRow:  # fmt: skip
    return BenchmarkRow("gpu", case, measure, value, unit, bar, "higher" if at_least else "lower", details)


def _on(folder: Path) -> Cell:
    return Cell(str(folder), SIZE.backbone, SIZE.image_size, SIZE.dimension, ratio=0.1, device=DEVICE)


def _cells(folder: Path) -> list[BenchmarkRow]:
    """Whole cells against anomalib's; what each piece takes alone beside."""
    category, kept = draw(SIZE.cell, folder), folder / "kept"
    kept.mkdir()
    rows, pieces = [], list(PIECES)
    alone: dict[str, float] = {}
    for ratio, bar in SPEED_UPS.items():
        cell = replace(_on(category), ratio=ratio)
        ours = measured("made_up.cell", "ours", cell.to_json())
        alone |= measured("made_up.pieces", ",".join(pieces), cell.to_json(), str(kept))
        details = {f"ours: {name}": value for name, value in ours.items()}
        details |= {f"alone: {name}": value for name, value in alone.items()}
        pieces = ["coreset", "search"]  # the others are the same for the next ratio
        case = f"{_shape(SIZE.cell)}, {SIZE.backbone}, {SIZE.image_size} px, {ratio:.0%}"
        rows.append(_against_anomalib(case, cell, ours["seconds"], bar, details))
    return rows


def _against_anomalib(
    case: str, cell: Cell, seconds: float, bar: float, details: dict[str, float]
) -> BenchmarkRow:
    try:
        peer = measured("made_up.cell", "anomalib", cell.to_json(), MALLOC_MMAP_THRESHOLD_="65536")
    except RuntimeError as error:
        reason = str(error).splitlines()[-1]
        if not reason.startswith(IMPORT_ERRORS):
            raise
        print(f"gpu: no ratio, anomalib cannot be imported: {reason}", file=sys.stderr)
        return _row(
            case, "files to metrics, no anomalib", seconds, "s", math.inf, {**details, "anomalib": reason}
        )
    details |= {f"anomalib: {name}": value for name, value in peer.items()}
    return _row(case, "speed-up over anomalib", peer["seconds"] / seconds, "x", bar, details, at_least=True)


def _dino(folder: Path) -> list[BenchmarkRow]:
    """Images of the network's own size: they are decoded and searched, but not resized."""
    category = draw(SIZE.dino, folder)
    given = dumps({"folder": str(category), "side": SIZE.dino.side, "device": DEVICE})
    ours, network = (measured("made_up.anomaly_dino", what, given) for what in ("ours", "network"))
    if ours["views"] != network["views"]:
        raise RuntimeError(
            f"AnomalyDINO embedded {ours['views']} views, its network alone {network['views']}"
        )
    case = f"AnomalyDINO, DINOv2 ViT-S/14, {_shape(SIZE.dino)}, rotation"
    details = {
        "network alone, s": network["seconds"],
        **{f"ours: {name}": value for name, value in ours.items()},
    }
    ratio = ours["seconds"] / network["seconds"]
    return [_row(case, "fit and scores, of the network's own time", ratio, "x", 1.5, details)]


def _devices(folder: Path) -> list[BenchmarkRow]:
    cell = _on(draw(SIZE.devices, folder))
    case = f"{DEVICE} against the CPU, {_shape(SIZE.devices)}"
    rows = []
    same = measured("made_up.devices", "embeddings", cell.to_json())
    if same:
        measure = "coreset rows that differ, of the same embeddings"
        rows.append(_row(case, measure, same["rows that differ"], "", 0, same))
        rows.append(
            _row(case, "image scores, of the same bank", same["score, relative"], "error", 1e-5, same)
        )
    else:
        print("gpu: coreset and scores are not compared: memory has no device argument", file=sys.stderr)
    here, there = (
        measured("made_up.devices", "cell", replace(cell, device=device).to_json())
        for device in ("cpu", DEVICE)
    )
    for name in ("image_auroc", "pixel_auroc"):
        both = {"CPU": here[name], DEVICE: there[name]}
        rows.append(_row(case, f"{name}, end to end", abs(here[name] - there[name]), "error", 0.002, both))
    return rows


def _grid(folder: Path) -> list[BenchmarkRow]:
    """Reading and network alone, of the wall time of everything: what is not reading or network shows."""
    for number in range(SIZE.categories):
        draw(replace(SIZE.category, name=f"category{number:02}", seed=number), folder)
    cell = _on(folder)
    ours, alone = (measured("made_up.grid", what, cell.to_json()) for what in ("ours", "alone"))
    case = f"{SIZE.categories} categories x 3 detectors, each {_shape(SIZE.category)}, {SIZE.backbone}"
    share = 100 * (alone["reading, s"] + alone["network, s"]) / ours["seconds"]
    details = {**ours, **{f"alone: {name}": value for name, value in alone.items()}}
    times = ours["embedded"] / ours["images"]
    return [
        _row(case, "times that an image is embedded", times, "x", 1, details),
        _row(case, "reading and network alone, of the wall time", share, "%", 80, details, at_least=True),
    ]


def _shape(category: Category) -> str:
    return f"{category.train} + {category.normal + category.defective} images of {category.side} px"
