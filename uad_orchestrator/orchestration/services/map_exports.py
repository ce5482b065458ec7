"""The maps of a project's cells, for an export."""

from __future__ import annotations

from collections.abc import Collection

from uad_orchestrator.export.category_maps import CategoryMaps, ExportError
from uad_orchestrator.orchestration.cells.artifact_files import MAPS
from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
from uad_orchestrator.orchestration.cells.points_in_use import pixel_point
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.postprocess.map_set import MapSet
from uad_orchestrator.storage.artifacts import ArtifactStore


def maps_to_export(
    state: ProjectState, store: ArtifactStore, selection: Selection, layouts: Collection[str]
) -> tuple[str, list[CategoryMaps]]:
    """The detector and the current maps of the selected categories: of one dataset of these layouts, by one detector.

    Raises:
        ExportError: no such cell, several datasets or detectors, or a cell whose maps are not computed; names
            them.
    """
    cells = [
        cell
        for cell in state.cells
        if selection.covers(cell) and state.project.datasets[cell.dataset].layout in layouts
    ]
    detector = _only_one(cells, layouts)
    found, faults = [], []
    for cell in cells:
        try:
            found.append(_category_maps(CellRun(cell, state, store)))
        except (MissingUpstream, InputUnavailable) as error:
            faults.append(f"{cell.category}: {error}")
    if faults:
        raise ExportError("not every category has its maps:", faults)
    return detector, found


def _only_one(cells: Collection[Cell], layouts: Collection[str]) -> str:
    """The one detector; the datasets are looked at, too."""
    if not cells:
        raise ExportError(
            f"no selected cell is of a dataset of layout {' or '.join(layouts)}: look at --category, --detector "
            "and at `layout` in uad.yaml"
        )
    detectors = sorted({cell.detector for cell in cells})
    datasets = sorted({cell.dataset for cell in cells})
    if len(datasets) > 1:
        raise ExportError(
            f"several datasets ({', '.join(datasets)}), one is exported: --category '{datasets[0]}/*'"
        )
    if len(detectors) > 1:
        raise ExportError(
            f"several detectors ({', '.join(detectors)}), one is exported: --detector '{detectors[0]}'"
        )
    return detectors[0]


def _category_maps(run: CellRun) -> CategoryMaps:
    directory, manifest = run.directory("anomaly_maps"), run.state.manifest(run.cell.category)
    return CategoryMaps(
        manifest=manifest,
        maps=MapSet(directory / MAPS, manifest.map_names),
        pixel_point=pixel_point(run),
        version=run.key("anomaly_maps").version,
    )
