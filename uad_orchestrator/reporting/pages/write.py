"""The report as a folder: cells first, the board that links to them, and then what nothing names any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from uad_orchestrator.reporting.board.cell_warning import by_category
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.board.row import LeaderboardRow
from uad_orchestrator.reporting.html_report import TITLE, written_time
from uad_orchestrator.reporting.page_templates import page_environment
from uad_orchestrator.reporting.pages.addresses import INDEX, CellAddress, link
from uad_orchestrator.reporting.pages.board_pages import write_board
from uad_orchestrator.reporting.pages.category_images import write_images
from uad_orchestrator.reporting.pages.cell_pages import Edition, write_cell
from uad_orchestrator.reporting.pages.contents import ShownCategory
from uad_orchestrator.reporting.pages.report_folder import ReportFolder

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from uad_orchestrator.metrics.thresholds.costs import Costs


def write_report_folder(
    path: Path,
    board: Leaderboard,
    categories: Iterable[ShownCategory],
    *,
    title: str = TITLE,
    made_at: datetime | None = None,
    costs: Costs | None = None,
    threads: int = 1,
) -> Path:
    """Write the report as a folder of pages, or bring one up to date.

    It opens from a disk, without a server: pages take styles, scripts and pictures from the folder alone. Only what
    changed is drawn again. Each file is written aside and renamed, pictures before the pages that show them; what
    nothing names any more is removed last. A run killed at any moment leaves a report that can be read, and the next
    one goes on from there.

    Args:
        path: the folder: a new or empty one, or that of an earlier report.
        board: the leaderboard.
        categories: those that have cells with a report; read when it is their turn.
        title: the report's title.
        made_at: when it was made; now, if not given.
        costs: of wrong decisions, where the sliders over the thresholds begin with them.
        threads: how many pictures are drawn at a time.

    Returns:
        The overview's path, ``index.html``.

    Raises:
        NotAReport: the folder holds something else.
    """
    folder = ReportFolder(path)
    folder.write_look()
    linked: set[tuple[str, str]] = set()
    tied = board.within_noise()
    environment = page_environment(board, tied, **_links(linked))
    edition = Edition(folder, environment, title, written_time(made_at), costs, threads, tied)
    warnings = by_category(board.warnings)
    for category in categories:
        said = warnings.get(category.key, [])
        write_images(folder, category, said, threads)
        for cell in category.cells:
            of_cell = [warning for warning in said if warning.detector in (None, cell.detector)]
            if write_cell(edition, category, cell, of_cell):
                linked.add((category.key, cell.detector))
    write_board(edition, board, linked)
    folder.remove_others()
    return path / INDEX


def _links(linked: AbstractSet[tuple[str, str]]) -> dict[str, Any]:
    """Where the links of the board lead: to the pages of cells, as far as there are any."""
    from jinja2 import pass_context
    from jinja2.runtime import Context

    @pass_context
    def cell_link(context: Context, category_key: str, detector: str) -> str:
        if (category_key, detector) not in linked:
            return "#all-cells"
        return link(CellAddress(category_key, detector).page, context["up"])

    @pass_context
    def warnings_link(context: Context, row: LeaderboardRow) -> str:
        to: str = cell_link(context, row.category_key, next(iter(row.repeats), row.detector))
        return to if to.startswith("#") else f"{to}#warnings"

    @pass_context
    def page_link(context: Context, path: PurePosixPath) -> str:
        return link(path, context["up"])

    return {"cell_link": cell_link, "warnings_link": warnings_link, "page_link": page_link}
