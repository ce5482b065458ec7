"""A project of many small cells, all with current figures: five of them computed, the others copied from those.

Every category has the same images under its own name. So a computed cell becomes that of another category by writing
its names anew in score table and figures.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from uad_orchestrator.images.stored_png import encode_stored_png
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells import cell_stages
from uad_orchestrator.orchestration.cells.artifact_files import METRICS_FILE
from uad_orchestrator.orchestration.cells.cell_run import CellRun, recipe_of
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import load_project

SIDE, TRAIN, GOOD, BAD = 64, 6, 2, 2
DETECTORS = 5
COMPUTE = dict(
    zip(
        STAGES,
        (
            cell_stages.fit_memory_bank,
            cell_stages.fill_score_table,
            cell_stages.make_anomaly_maps,
            cell_stages.report_metrics,
        ),
        strict=True,
    )
)


def build_grid(home: Path, categories: int) -> None:
    """The project with its images and its artifacts."""
    names = [f"category_{n:04d}" for n in range(categories)]
    _write_images(home / "data" / names[0])
    for name in names[1:]:
        shutil.copytree(home / "data" / names[0], home / "data" / name)
    write_project(home, names)
    project = load_project(home)
    state, store = open_state(project), open_store(project)
    embedders = EmbedderPool()
    for detector in project.detectors:
        first = CellRun(Cell(f"line/{names[0]}", detector), state, store)
        for asset in STAGES:
            key = first.key(asset)
            with store.write(key, recipe_of(first, asset, key, "benchmark")) as draft:
                COMPUTE[asset](first, embedders, draft.directory)
        for name in names[1:]:
            run = CellRun(Cell(f"line/{name}", detector), state, store)
            for asset in STAGES:
                copy_artifact(first, run, asset)


def change_one_cell(home: Path) -> None:
    """Pin both thresholds of one cell: other figures, other colours of its maps."""
    state, store = open_state(load_project(home)), open_store(load_project(home))
    first = CellRun(state.cells[0], state, store)
    pin = {"threshold": 1.0, "by": "benchmark", "at": "2026-01-01"}
    categories = list(load_project(home).datasets["line"].categories or ())
    points = {first.cell.category: {first.cell.detector: {"image": pin, "pixel": pin}}}
    write_project(home, categories, operating_points=points)
    project = load_project(home)
    copy_artifact(first, CellRun(first.cell, open_state(project), store), "metrics_report")


def write_project(home: Path, categories: list[str], **more: object) -> None:
    """The project file; ``more`` are its other keys."""
    embedder = {"name": "filter_bank", "image_size": SIDE}
    project = {
        "runtime": {"device": "cpu"},
        "datasets": {"line": {"layout": "folder", "root": "data", "categories": categories}},
        "detectors": {
            f"patchcore_{n}": {
                "model": "vision_patchcore",
                "embedder": embedder,
                "coreset": {"ratio": 0.1 * (n + 1)},
            }
            for n in range(DETECTORS)
        },
        **more,
    }
    (home / "uad.yaml").write_text(yaml.safe_dump(project))


def copy_artifact(first: CellRun, run: CellRun, asset: str) -> None:
    """The artifact of a cell, as that of another one, or of another version."""
    key = run.key(asset)
    source = first.directory(asset) if asset != "memory_bank" else None
    with run.store.write(key, recipe_of(run, asset, key, "benchmark")) as draft:
        if source is None:  # nobody reads it
            return
        shutil.copytree(source, draft.directory, dirs_exist_ok=True)
        (draft.directory / "provenance.json").unlink(missing_ok=True)
        for table in draft.directory.glob("*.parquet"):
            _rename_images(table, first.cell.category_name, run.cell.category_name)
        if asset == "metrics_report":
            _rename_figures(draft.directory / METRICS_FILE, run)


def _rename_images(path: Path, old: str, new: str) -> None:
    table = pq.read_table(path)
    names = pa.array([name.replace(old, new) for name in table.column("image").to_pylist()])
    place = table.column_names.index("image")
    pq.write_table(table.set_column(place, "image", names), path)


def _rename_figures(path: Path, run: CellRun) -> None:
    report = MetricsReport.from_json(path.read_bytes())
    versions = run.state.reads("metrics_report", run.cell) | {
        "metrics_report": run.key("metrics_report").version
    }
    named = {"category": run.cell.category_name, "versions": {**report.versions, **versions}}
    path.write_text(report.model_copy(update=named).to_json())


def _write_images(folder: Path) -> None:
    draws = np.random.default_rng(0)
    texture = draws.integers(90, 160, (SIDE, SIDE, 3))
    places = [f"train/good/{n}" for n in range(TRAIN)] + [f"test/good/{n}" for n in range(GOOD)]
    for place in places:
        _write(folder / f"{place}.png", texture + draws.integers(0, 20, texture.shape))
    for n in range(BAD):
        pixels, mask = texture + draws.integers(0, 20, texture.shape), np.zeros((SIDE, SIDE))
        pixels[20:36, 10 * n + 8 : 10 * n + 24], mask[20:36, 10 * n + 8 : 10 * n + 24] = 250, 255
        _write(folder / f"test/scratch/{n}.png", pixels)
        _write(folder / f"ground_truth/scratch/{n}_mask.png", mask)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_stored_png(pixels.astype(np.uint8)))
