"""A project of many small cells that counts as computed: the first category's are, all others are copied from those.

Every category has the same images under its own name. So a computed cell becomes that of another category by writing
its names anew in score table and figures; all other files are hard links. What Dagster should know of it is recorded
as events without runs.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from uad_orchestrator.images.stored_png import encode_stored_png
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells import cell_stages
from uad_orchestrator.orchestration.cells.artifact_files import METRICS_FILE
from uad_orchestrator.orchestration.cells.board import board_version
from uad_orchestrator.orchestration.cells.cell_run import CellRun, recipe_of
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.dagster_instance.event_log import (
    DATA_VERSION_TAG,
    last_numbers,
    partition_key,
    recorded_versions,
    stamp,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import (
    CELL_ASSETS,
    INPUTS,
    NODES,
    STAGES,
    Cell,
    partition_of,
)
from uad_orchestrator.orchestration.versions.stores import open_state, open_store, remember_inputs
from uad_orchestrator.project import load_project
from uad_orchestrator.storage.provenance import PROVENANCE_FILE

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


def build_grid(home: Path, categories: int, detectors: int = DETECTORS) -> None:
    """The project with its images and its artifacts; a smaller grid that is there already grows to this size."""
    names = [f"category_{n:04d}" for n in range(categories)]
    if not (home / "data").exists():
        _write_images(home / "data" / names[0])
    new = [name for name in names if not (home / "data" / name).exists()]
    for name in new:
        shutil.copytree(home / "data" / names[0], home / "data" / name, copy_function=os.link)
    write_project(home, detectors)
    project = load_project(home)
    state, store = open_state(project), open_store(project)
    for detector in project.detectors:
        first = CellRun(Cell(f"line/{names[0]}", detector), state, store)
        _compute(first)
        for name in new:
            run = CellRun(Cell(f"line/{name}", detector), state, store)
            for asset in STAGES:
                copy_artifact(first, run, asset)


def record_grid(home: Path, instance: dg.DagsterInstance) -> None:
    """Make every node of it count as materialised in the version it has now; those that do are passed over."""
    project = load_project(home)
    state, store = open_state(project), open_store(project)
    for asset in (*INPUTS, *STAGES):
        known = recorded_versions(instance, project, asset)
        places = {partition_of(asset, cell): cell for cell in state.cells}
        new = {p: cell for p, cell in places.items() if known.get(p) != state.version(asset, cell)}
        if asset in INPUTS and asset not in CELL_ASSETS:
            remember_inputs(store, [state.input(asset, cell) for cell in new.values()])
        numbers = last_numbers(instance, project, NODES[asset].reads)
        _record(
            instance,
            [
                dg.AssetMaterialization(
                    asset_key(project, asset),
                    partition=partition_key(asset, partition),
                    tags=stamp(project, state.version(asset, cell), state.reads(asset, cell), numbers),
                )
                for partition, cell in new.items()
            ],
        )
    tags = {DATA_VERSION_TAG: board_version(state, store)}
    _record(instance, [dg.AssetMaterialization(asset_key(project, "leaderboard"), tags=tags)])


def _record(instance: dg.DagsterInstance, events: Sequence[dg.AssetMaterialization]) -> None:
    """Events without runs, of one asset, as Dagster records them one by one: in a single transaction."""
    from dagster import DagsterEvent, DagsterEventType, EventLogEntry
    from dagster._core.events import StepMaterializationData

    log: Any = instance.event_log_storage
    with log.index_transaction() as connection:
        for event in events:
            kind = DagsterEventType.ASSET_MATERIALIZATION.value
            recorded = DagsterEvent(kind, "", event_specific_data=StepMaterializationData(event))
            entry = EventLogEntry(None, 20, "", "", time.time(), job_name="", dagster_event=recorded)
            done = connection.execute(log.prepare_insert_event(entry))
            (number,) = done.inserted_primary_key
            log._store_asset_event_tags(connection, [entry], [number])
        if events:
            log._store_asset_event(connection, entry, number)


def change_one_cell(home: Path) -> None:
    """Pin both thresholds of one cell: other figures, other colours of its maps."""
    project = load_project(home)
    state, store = open_state(project), open_store(project)
    first = CellRun(state.cells[0], state, store)
    pin = {"threshold": 1.0, "by": "benchmark", "at": "2026-01-01"}
    points = {first.cell.category: {first.cell.detector: {"image": pin, "pixel": pin}}}
    write_project(home, len(project.detectors), operating_points=points)
    changed = CellRun(first.cell, open_state(load_project(home)), store)
    copy_artifact(first, changed, "metrics_report")


def write_project(home: Path, detectors: int = DETECTORS, **more: object) -> None:
    """The project file; ``more`` are its other keys."""
    embedder = {"name": "filter_bank", "image_size": SIDE}
    project = {
        "runtime": {"device": "cpu"},
        "datasets": {"line": {"layout": "folder", "root": "data"}},
        "detectors": {
            f"patchcore_{n:02d}": {
                "model": "vision_patchcore",
                "embedder": embedder,
                "coreset": {"ratio": (n + 1) / (2 * detectors)},
            }
            for n in range(detectors)
        },
        **more,
    }
    (home / "uad.yaml").write_text(yaml.safe_dump(project))


def copy_artifact(first: CellRun, run: CellRun, asset: str) -> None:
    """The artifact of a cell, as that of another one, or of another version."""
    key, made = run.key(asset), first.provenance(asset)
    source = first.directory(asset)
    with run.store.write(key, recipe_of(run, asset, key, "benchmark")) as draft:
        draft.record(metrics=made.metrics, facts=made.facts)
        if asset == "memory_bank":  # nobody reads it
            return
        anew = shutil.ignore_patterns(PROVENANCE_FILE, "*.parquet", METRICS_FILE)
        shutil.copytree(source, draft.directory, dirs_exist_ok=True, ignore=anew, copy_function=os.link)
        for table in source.glob("*.parquet"):
            _rename_images(table, draft.directory, first.cell.category_name, run.cell.category_name)
        if asset == "metrics_report":
            _rename_figures(source, draft.directory, run)


def _compute(run: CellRun) -> None:
    embedders = EmbedderPool()
    for asset in STAGES:
        key = run.key(asset)
        if not run.store.holds(key):
            with run.store.write(key, recipe_of(run, asset, key, "benchmark")) as draft:
                found = COMPUTE[asset](run, embedders, draft.directory)
                draft.record(metrics=found.metrics, facts=found.facts)


def _rename_images(source: Path, folder: Path, old: str, new: str) -> None:
    table = pq.read_table(source)
    names = pa.array([name.replace(old, new) for name in table.column("image").to_pylist()])
    place = table.column_names.index("image")
    pq.write_table(table.set_column(place, "image", names), folder / source.name)


def _rename_figures(source: Path, folder: Path, run: CellRun) -> None:
    report = MetricsReport.from_json((source / METRICS_FILE).read_bytes())
    versions = run.state.reads("metrics_report", run.cell) | {
        "metrics_report": run.key("metrics_report").version
    }
    named = {"category": run.cell.category_name, "versions": {**report.versions, **versions}}
    (folder / METRICS_FILE).write_text(report.model_copy(update=named).to_json())


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
