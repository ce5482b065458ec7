"""The HTML report of a project, from its artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.artifact_files import read_contact_sheet, read_curves
from uad_orchestrator.orchestration.cells.board import current_board, report_of
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.points_in_use import map_maxima
from uad_orchestrator.orchestration.services.warning_pictures import warning_pictures
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project
from uad_orchestrator.reporting.html_report import CellSection, write_report
from uad_orchestrator.storage.artifacts import ArtifactStore, DamagedArtifact


def save_report(project: Project, output: Path | None = None) -> Path:
    """Write the report of all cells that have one; returns its path, ``<local>/report.html`` by default."""
    state, store = open_state(project), open_store(project)
    path = output or Path(project.storage.local) / "report.html"
    board = current_board(state, store)
    pictures = {warning: warning_pictures(state, store, warning) for warning in board.warnings}
    sections = cell_sections(state, store)
    write_report(path, board, sections, pictures=pictures, costs=project.costs)
    return path


def cell_sections(state: ProjectState, store: ArtifactStore) -> Iterator[CellSection]:
    """A section per cell with a current report, read when it is its turn."""
    for cell in state.cells:
        with suppress(DamagedArtifact):  # named in the log, set aside: the next refresh computes it again
            report = report_of(cell, state, store)
            if report is not None:
                yield _section(CellRun(cell, state, store), report)


def _section(run: CellRun, report: MetricsReport) -> CellSection:
    directory = run.directory("metrics_report")
    scores = read_scores(run.directory("score_table"))
    return CellSection(
        report,
        scores=scores,
        pixel_curves=read_curves(directory),
        contact_sheet=read_contact_sheet(directory),
        provenance=[run.provenance(asset) for asset in STAGES],
        map_maxima=map_maxima(run, scores),
    )
