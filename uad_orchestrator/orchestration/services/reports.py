"""The HTML report of a project, from its artifacts: a folder of pages, or a single file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import numpy as np

from uad_orchestrator.detectors.protocol.scoring import ScoreRow, read_scores
from uad_orchestrator.images.decode import read_image
from uad_orchestrator.inference.records.health import LineHealth
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.artifact_files import MAPS, read_contact_sheet, read_curves
from uad_orchestrator.orchestration.cells.board import current_board, report_of
from uad_orchestrator.orchestration.cells.cell_report import GroundTruthReader, map_colours
from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
from uad_orchestrator.orchestration.cells.line_day import kept_days
from uad_orchestrator.orchestration.cells.points_in_use import map_maxima
from uad_orchestrator.orchestration.services.warning_pictures import warning_pictures
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.postprocess.map_set import MapSet
from uad_orchestrator.project import Project
from uad_orchestrator.reporting.board.cell_warning import CellWarning, by_category
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.html_report import CellSection, write_report
from uad_orchestrator.reporting.pages.contents import CellContents, ShownCategory, ShownCell
from uad_orchestrator.reporting.pages.write import write_report_folder
from uad_orchestrator.storage.artifacts import ArtifactStore, DamagedArtifact
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.threads import available_threads

FOLDER, SINGLE_FILE = "report", "report.html"
LOST = (DamagedArtifact, MissingUpstream)
"""What a report was made of is damaged, or gone: named in the log or on the board, and computed by the next refresh."""
SMALL_BOARD = 50
"""Up to so many cells the report is written as a single file, too: some 100 kB a cell."""


def save_report(project: Project, output: Path | None = None, *, single_file: bool = False) -> Path:
    """Write the report of all cells that have one.

    Args:
        project: the project.
        output: where; a path that ends in ``.html`` is a single file, any other a folder. ``<local>/report`` by
            default, and, of a small board, ``<local>/report.html`` beside it.
        single_file: the single file alone.

    Returns:
        The page to open.
    """
    state, store = open_state(project), open_store(project)
    board, local = current_board(state, store), Path(project.storage.local)
    if single_file or (output is not None and output.suffix == ".html"):
        return _save_single_file(output or local / SINGLE_FILE, board, state, store)
    if output is None and len(state.cells) <= SMALL_BOARD:
        _save_single_file(local / SINGLE_FILE, board, state, store)
    elif output is None:
        (local / SINGLE_FILE).unlink(missing_ok=True)  # of a board that was smaller: its figures are old
    return write_report_folder(
        output or local / FOLDER,
        board,
        shown_categories(board, state, store),
        costs=project.costs,
        threads=available_threads(),
    )


def _save_single_file(path: Path, board: Leaderboard, state: ProjectState, store: ArtifactStore) -> Path:
    pictures = {warning: warning_pictures(state, store, warning) for warning in board.warnings}
    write_report(path, board, cell_sections(state, store), pictures=pictures, costs=state.project.costs)
    return path


def cell_sections(state: ProjectState, store: ArtifactStore) -> Iterator[CellSection]:
    """A section per cell with a current report, read when it is its turn."""
    for cell in state.cells:
        with suppress(*LOST):
            report = report_of(cell, state, store)
            if report is not None:
                run = CellRun(cell, state, store)
                yield _section(run, report, read_scores(run.directory("score_table")), _days_of_line(run))


def shown_categories(
    board: Leaderboard, state: ProjectState, store: ArtifactStore
) -> Iterator[ShownCategory]:
    """The categories that have cells with a current report; what their pages show is read when it is drawn."""
    said = by_category(board.warnings)
    for category, cells in groupby(state.cells, key=lambda cell: cell.category):
        runs = [run for cell in cells if _has_report(run := CellRun(cell, state, store))]
        if runs:
            shown = [_shown_cell(run, said.get(category, [])) for run in runs]
            yield _shown_category(category, state, shown)


def _has_report(run: CellRun) -> bool:
    try:
        return run.store.holds(run.key("metrics_report"))
    except InputUnavailable:
        return False


def _shown_category(category: str, state: ProjectState, cells: list[ShownCell]) -> ShownCategory:
    manifest = state.manifest(category)
    truth = GroundTruthReader(manifest)

    def mask_of(image: str) -> np.ndarray | None:
        found = truth.of(image)
        return None if found is None else found.mask

    return ShownCategory(
        key=category,
        images=manifest.scored,
        reading=digest_of(manifest.reading.recipe()),
        image=lambda name: read_image(manifest.file(name), manifest.reading),
        mask=mask_of,
        cells=cells,
    )


def _shown_cell(run: CellRun, warnings: list[CellWarning]) -> ShownCell:
    pin = run.state.project.pins(run.cell.category, run.cell.detector).pixel
    colours = {"maps": run.key("anomaly_maps").version, "pixel": pin}

    days = _days_of_line(run)

    def read() -> CellContents | None:
        try:
            return _contents(run, warnings, days)
        except LOST:
            return None

    version = run.key("metrics_report").version
    if days:
        version = digest_of([version, *(day.model_dump(mode="json") for day in days)])
    return ShownCell(run.cell.detector, version, digest_of(colours), read)


def _contents(run: CellRun, warnings: list[CellWarning], days: Sequence[LineHealth]) -> CellContents | None:
    report = report_of(run.cell, run.state, run.store)
    if report is None:
        return None
    scores = read_scores(run.directory("score_table"))
    section = _section(run, report, scores, days)
    about = [warning for warning in warnings if warning.detector in (None, run.cell.detector)]
    pictures = {warning: warning_pictures(run.state, run.store, warning) for warning in about}
    rows = {row.image: row for row in scores if row.role != "calibration" and row.grid_shape is not None}
    if not rows:
        return CellContents(section, pictures=pictures)
    names = run.state.manifest(run.cell.category).map_names
    maps = MapSet(run.directory("anomaly_maps") / MAPS, names)
    tested = [row for row in rows.values() if row.role == "test"]
    return CellContents(
        section,
        anomaly_map=lambda image: maps.read(image, rows[image].map_folder),
        mapped=frozenset(rows),
        scale=map_colours(run, tested, maps),
        pictures=pictures,
    )


def _section(
    run: CellRun, report: MetricsReport, scores: Sequence[ScoreRow], days: Sequence[LineHealth]
) -> CellSection:
    directory = run.directory("metrics_report")
    return CellSection(
        report,
        scores=scores,
        pixel_curves=read_curves(directory),
        contact_sheet=read_contact_sheet(directory),
        provenance=[run.provenance(asset) for asset in STAGES],
        map_maxima=map_maxima(run, scores),
        line=days,
    )


def _days_of_line(run: CellRun) -> list[LineHealth]:
    project = run.state.project
    return [] if project.line.records is None else kept_days(project, run.cell)
