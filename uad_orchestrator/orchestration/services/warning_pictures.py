"""Pictures of what the warnings are about: the images they name, and an ordinary one beside odd normals."""

from __future__ import annotations

from collections.abc import Iterator

from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.images.decode import ImageError, read_image
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.html_report import WarningPicture
from uad_orchestrator.reporting.pictures.thumbnail import thumbnail_jpeg
from uad_orchestrator.storage.artifacts import ArtifactStore

SHOWN = 4
"""Images shown of a warning; all of them are named."""


def warning_pictures(state: ProjectState, store: ArtifactStore, warning: CellWarning) -> list[WarningPicture]:
    """The first images of a warning; those that cannot be read, or are no images, are left out."""
    pictures = list(_pictures(state, warning))
    if warning.check == "odd_normals" and warning.detector is not None:
        run = CellRun(Cell(warning.category, warning.detector), state, store)
        rows = [row for row in read_scores(run.directory("score_table")) if row.role == "calibration"]
        ordinary = sorted(rows, key=lambda row: row.score)[len(rows) // 2]
        found = warning.model_copy(update={"images": (ordinary.image,)})
        pictures += [
            WarningPicture(f"an ordinary one: {picture.caption}", picture.jpeg)
            for picture in _pictures(state, found)
        ]
    return pictures


def _pictures(state: ProjectState, warning: CellWarning) -> Iterator[WarningPicture]:
    manifest = state.manifest(warning.category)
    known = {path for record in manifest.records for path in (record.path, *(m.path for m in record.masks))}
    for name in [name for name in warning.images if name in known][:SHOWN]:
        try:
            yield WarningPicture(name, thumbnail_jpeg(read_image(manifest.file(name), manifest.reading)))
        except (ImageError, OSError):
            continue
