"""The pages of the board: the overview, and, of a board with many cells, a page per part of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.board.row import LeaderboardRow
from uad_orchestrator.reporting.pages.addresses import INDEX, board_page
from uad_orchestrator.reporting.pages.cell_pages import Edition
from uad_orchestrator.storage.digests import digest_of

CELLS_ON_A_PAGE = 200
"""A row of the board with all its figures takes some 5 kB."""
WARNINGS_ON_A_PAGE = 200
"""Of the overview; all of them are on the pages of their cells."""

Warnings = Mapping[str, Sequence[CellWarning]]


@dataclass(frozen=True)
class BoardPart:
    """Some of a dataset's categories, on a page of their own.

    Attributes:
        path: of the page.
        number: from 1.
        board: the board with their rows alone.
    """

    path: PurePosixPath
    number: int
    board: Leaderboard

    @property
    def categories(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(row.category for row in self.board.rows))

    def lowest(self) -> LeaderboardRow | None:
        """The row with the lowest leading figure; None where no row has one."""
        metric = self.board.metrics[0]
        measured = [row for row in self.board.compared if row.value(metric) is not None]
        return min(measured, key=lambda row: row.value(metric), default=None)


def write_board(edition: Edition, board: Leaderboard, linked: AbstractSet[tuple[str, str]]) -> None:
    """The overview, and the parts of a board that does not fit it.

    Args:
        edition: what all pages share.
        board: the whole board.
        linked: (category key, detector) of the cells that have a page.
    """
    parts = list(board_parts(board)) if len(board.rows) > CELLS_ON_A_PAGE else []
    for part in parts:
        _write_part(edition, part, linked)
    html = edition.render(
        "pages/index.html.j2",
        INDEX,
        board=board,
        parts=parts,
        found=_by_check(board.warnings),
        most_warnings=WARNINGS_ON_A_PAGE,
    )
    edition.folder.write_page(INDEX, digest_of(html), html)


def board_parts(board: Leaderboard) -> Iterator[BoardPart]:
    """A dataset's categories together, as many as fit a page; those of one category are never parted."""
    for dataset, rows in groupby(board.rows, key=lambda row: row.dataset):
        number, held = 1, list[LeaderboardRow]()
        for _, of_category in groupby(rows, key=lambda row: row.category):
            found = list(of_category)
            if held and len(held) + len(found) > CELLS_ON_A_PAGE:
                yield _part(board, dataset, number, held)
                number, held = number + 1, []
            held += found
        yield _part(board, dataset, number, held)


def _part(board: Leaderboard, dataset: str, number: int, rows: Sequence[LeaderboardRow]) -> BoardPart:
    alone = board.model_copy(update={"rows": tuple(rows), "means": (), "warnings": ()})
    return BoardPart(board_page(dataset, number), number, alone)


def _write_part(edition: Edition, part: BoardPart, linked: AbstractSet[tuple[str, str]]) -> None:
    here = [(row.category_key, row.detector) for row in part.board.rows]
    key = digest_of(
        {
            "look": edition.folder.look_digest,
            "title": edition.title,
            "rows": [row.model_dump(mode="json") for row in part.board.rows],
            "linked": [list(cell) for cell in here if cell in linked],
            "tied": [list(cell) for cell in here if cell in edition.tied],
            "metrics": list(part.board.metrics),
            "line": list(part.board.line_metrics),
        }
    )
    edition.folder.keep(part.path)
    if not edition.folder.is_current(part.path, key):
        html = edition.render("pages/board_page.html.j2", part.path, board=part.board, part=part)
        edition.folder.write_page(part.path, key, html)


def _by_check(warnings: Sequence[CellWarning]) -> dict[str, list[CellWarning]]:
    """What the overview says, rule by rule: the rarest first, which a rule that every cell breaks would hide."""
    found: dict[str, list[CellWarning]] = {}
    for warning in warnings:
        found.setdefault(warning.check, []).append(warning)
    return dict(sorted(found.items(), key=lambda item: len(item[1])))
