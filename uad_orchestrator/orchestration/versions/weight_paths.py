"""Where the weight files, checkpoints and calibration folders of a cell lie, there or not."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.detectors.anomalib.trusted_files import checkpoint_files
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project


def weight_files(project: Project, cell: Cell) -> list[str]:
    """The local weight files a cell loads, there or not. A hub's files never change under their name."""
    if cell.detector not in project.detectors:
        return []
    embedder = project.detectors[cell.detector].embedder
    weights = None if embedder is None else embedder.weights
    named = [] if weights is None or weights.startswith(("hub:", "random:")) else [_in_home(project, weights)]
    checkpoint = checkpoint_path(project, cell)
    return [str(path) for path in (*named, *([] if checkpoint is None else checkpoint_files(checkpoint)))]


def checkpoint_path(project: Project, cell: Cell) -> Path | None:
    """The checkpoint of a cell, with its dataset and category filled in; None where the detector names none."""
    return _of_cell(project, cell, project.detectors[cell.detector].checkpoint)


def calibration_folder(project: Project, cell: Cell) -> Path | None:
    """The folder of normals that a checkpoint is calibrated on, as ``checkpoint_path``."""
    return _of_cell(project, cell, project.detectors[cell.detector].calibration_folder)


def _of_cell(project: Project, cell: Cell, value: str | None) -> Path | None:
    if value is None:
        return None
    for name, word in {"dataset": cell.dataset, "category": cell.category_name}.items():
        value = value.replace(f"{{{name}}}", word)
    return _in_home(project, value)


def _in_home(project: Project, value: str) -> Path:
    return project.home / Path(value).expanduser()
