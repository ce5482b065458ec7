"""A project of 43 categories x 15 detectors, all of whose 3,225 nodes count as materialised; nothing is computed.

The artifacts are provenance files alone and the events are runless: what a planner reads is all there.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import yaml

from uad_orchestrator.images.stored_png import encode_stored_png
from uad_orchestrator.orchestration.cells.board import board_version
from uad_orchestrator.orchestration.cells.cell_run import CellRun, recipe_of
from uad_orchestrator.orchestration.dagster_instance.event_log import (
    DATA_VERSION_TAG,
    last_numbers,
    partition_key,
    report_inputs,
    stamp,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, INPUTS, NODES, STAGES, partition_of
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import load_project
from uad_orchestrator.storage.artifacts import ArtifactStore

CATEGORIES, DETECTORS, SIDE = 43, 15, 64
EMBEDDER = {"name": "filter_bank", "image_size": SIDE}


def build_project(home: Path) -> None:
    """Five small images per category, and the project file."""
    draws = np.random.default_rng(0)
    names = [f"category_{n:02d}" for n in range(CATEGORIES)]
    for name in names:
        for place in ("train/good/0", "train/good/1", "train/good/2", "test/good/0", "test/scratch/0"):
            _write(home / "data" / name / f"{place}.png", draws.integers(0, 256, (SIDE, SIDE, 3)))
        _write(home / "data" / name / "ground_truth/scratch/0_mask.png", 255 * np.eye(SIDE))
    project = {
        "runtime": {"device": "cpu"},
        "datasets": {"line": {"layout": "folder", "root": "data", "categories": names}},
        "detectors": {
            f"patchcore_{n:02d}": {
                "model": "vision_patchcore",
                "embedder": EMBEDDER,
                "coreset": {"ratio": 0.01 * (n + 1)},
            }
            for n in range(DETECTORS)
        },
    }
    (home / "uad.yaml").write_text(yaml.safe_dump(project))


def fill(home: Path, instance: dg.DagsterInstance) -> None:
    """Make every node count as materialised in the version it has now."""
    project = load_project(home)
    state, store = open_state(project), open_store(project)
    inputs = {
        (asset, partition_of(asset, cell)): state.input(asset, cell)
        for asset in INPUTS
        if asset not in CELL_ASSETS
        for cell in state.cells
    }
    report_inputs(instance, project, inputs.values(), store)
    for asset in CELL_ASSETS:
        numbers = last_numbers(instance, project, NODES[asset].reads)
        for cell in state.cells:
            if asset in STAGES:
                _pretend(CellRun(cell, state, store), asset)
            tags = stamp(project, state.version(asset, cell), state.reads(asset, cell), numbers)
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    asset_key(project, asset), partition=partition_key(asset, cell.key), tags=tags
                )
            )
    _fill_board(state, store, instance)


def _pretend(run: CellRun, asset: str) -> None:
    key = run.key(asset)
    with run.store.write(key, recipe_of(run, asset, key, "benchmark")):
        pass


def _fill_board(state: ProjectState, store: ArtifactStore, instance: dg.DagsterInstance) -> None:
    version = board_version(state, store)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key(state.project, "leaderboard"), tags={DATA_VERSION_TAG: version})
    )


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_stored_png(pixels.astype(np.uint8)))
