"""The leaderboard in the terminal, and as JSON, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from uad_orchestrator.reporting.columns import column, written
from uad_orchestrator.reporting.leaderboard import Leaderboard, LeaderboardRow, best_of
from uad_orchestrator.reporting.means import NOT_MEASURED, DatasetMeans

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

BoardFormat = Literal["table", "json", "md", "csv"]

_OPERATION = ("threshold", "false_positive_rate", "recall")
_COST = ("seconds_per_image_p50", "seconds_per_image_p95", "bank_rows", "bank_bytes")
_OVERLAP = ("aupro_0.3", "spro_0.05", "seg_f1")
_FIRST = (
    "image_auroc", "pixel_auroc", *_OVERLAP, "recall", "false_positive_rate", "seconds_per_image_p50"
)  # fmt: skip


def render_leaderboard(board: Leaderboard, format: BoardFormat, *, width: int = 120) -> str:
    """The board as text, with a newline at its end.

    Args:
        board: the leaderboard.
        format: ``table`` (plain text for a terminal, the columns that fit), ``json`` (everything), ``md`` or
            ``csv`` (every column of every cell).
        width: characters per line of ``table``.

    Raises:
        ValueError: another format.
    """
    renderers: dict[str, Callable[[], str]] = {
        "table": lambda: _plain_table(board, width),
        "json": lambda: board.to_json() + "\n",
        "md": lambda: _markdown(board),
        "csv": lambda: _csv(board),
    }
    if format not in renderers:
        raise ValueError(f"no leaderboard format {format!r}: choose {', '.join(get_args(BoardFormat))}")
    return renderers[format]()


def leaderboard_table(board: Leaderboard, width: int) -> Group:
    """The board for a rich console ``width`` wide: cells, then the means per dataset with their notes.

    Columns that do not fit are left out, the least asked for first; a line below says so.
    """
    from rich.console import Group
    from rich.text import Text

    keys = _fitting(board, width)
    hidden = len(_all_keys(board)) - len(keys)
    parts: list[Table | Text] = [_cells_table(board, keys)]
    parts += [
        Text(f"{row.category_key} {row.detector}: {row.status}: {row.reason}", "yellow")
        for row in board.rows
        if row.reason
    ]
    if hidden:
        parts.append(Text(f"{hidden} more columns in a wider terminal or with --format md", style="dim"))
    for means in board.means:
        if means.worth_showing:
            parts += [_means_table(means, keys), Text(means.note(), style="dim")]
    return Group(*parts)


def _all_keys(board: Leaderboard) -> tuple[str, ...]:
    """All figures but those that no row's protocol measures."""
    measured = [
        name
        for name in board.metrics
        if any(row.reasons.get(name) != NOT_MEASURED for row in board.rows) or not board.rows
    ]
    return (*measured, *_OPERATION, *_COST)


def _fitting(board: Leaderboard, width: int) -> list[str]:
    """The columns that fit, chosen by how often they are asked for, in the board's order."""
    keys = _all_keys(board)
    names = (
        max((len(text) for text in column), default=0)
        for column in zip(*map(_names, board.rows), strict=True)
    )
    room = width - sum(names) - 4
    chosen: list[str] = []
    for key in (*(key for key in _FIRST if key in keys), *(key for key in keys if key not in _FIRST)):
        figures = (len(_figure(row, key)) for row in board.rows)
        room -= 2 + max(*map(len, _heading(key).split()), *figures, 0)
        if room < 0 and len(chosen) >= 4:
            break
        chosen.append(key)
    return sorted(chosen, key=keys.index)


def _names(row: LeaderboardRow) -> tuple[str, str]:
    """How a row is called: its category, and its detector with what is wrong with it."""
    return row.category_key, row.detector if row.status == "fresh" else f"{row.detector} ({row.status})"


def _heading(key: str) -> str:
    return column(key).heading.replace(" ", "\n").replace("@", "\n@")


def _cells_table(board: Leaderboard, keys: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    best = board.best()
    table = Table(title="Leaderboard", title_justify="left", header_style="bold", pad_edge=False, box=None)
    table.add_column("category", overflow="fold")
    table.add_column("detector", overflow="fold")
    for key in keys:
        table.add_column(_heading(key), justify="right", overflow="fold")
    shown = None
    for row in board.rows:
        if shown is not None and row.category_key != shown:
            table.add_section()
        cells = [
            Text(_figure(row, key), _style((row.category_key, row.detector, key) in best)) for key in keys
        ]
        category, detector = _names(row)
        name = Text(category if category != shown else "")
        table.add_row(name, Text(detector, "" if row.status == "fresh" else "yellow"), *cells)
        shown = row.category_key
    return table


def _means_table(means: DatasetMeans, keys: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"\nMean of {means.dataset}", title_justify="left", pad_edge=False, box=None)
    table.add_column("detector")
    shown = [key for key in keys if any(key in row.values for row in means.detectors)]
    best = {key: _best_mean(means, key) for key in shown}
    for key in shown:
        table.add_column(_heading(key), justify="right")
    for row in means.detectors:
        figures = [
            Text(written(row.values[key], column(key).kind), _style(row.detector in best[key]))
            for key in shown
        ]
        table.add_row(row.detector, *figures)
    return table


def _best_mean(means: DatasetMeans, key: str) -> set[str]:
    if key in (*_OPERATION, *_COST):
        return set()
    values = {row.detector: value for row in means.detectors if (value := row.values[key]) is not None}
    return best_of(values)


def _style(is_best: bool) -> str:
    return "bold green" if is_best else ""


def _figure(row: LeaderboardRow, key: str) -> str:
    return written(row.value(key), column(key).kind)


def _plain_table(board: Leaderboard, width: int) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=width, color_system=None, legacy_windows=False).print(
        leaderboard_table(board, width)
    )
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _markdown(board: Leaderboard) -> str:
    """Tables for a README or a merge request; best values per category in bold."""
    best = board.best()
    keys = (*board.metrics, "threshold", "threshold_source", "false_positive_rate", "recall", *_COST)
    heads = ["category", "detector", *(column(key).heading for key in keys), "status"]

    def figures(row: LeaderboardRow) -> Iterable[str]:
        for key in keys:
            figure = _figure(row, key)
            yield f"**{figure}**" if (row.category_key, row.detector, key) in best else figure

    lines = _markdown_table(heads, ([r.category_key, r.detector, *figures(r), _state(r)] for r in board.rows))
    for means in filter(lambda means: means.worth_showing, board.means):
        shown = (*board.metrics, "false_positive_rate", "recall", "seconds_per_image_p50")
        body = (
            [row.detector, *(written(row.values.get(key), column(key).kind) for key in shown)]
            for row in means.detectors
        )
        heads = ["detector", *(column(key).heading for key in shown)]
        lines += ["", f"Mean of {_escaped(means.dataset)}. {_escaped(means.note())}", ""]
        lines += _markdown_table(heads, body)
    return "\n".join(lines) + "\n"


def _markdown_table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * 2 + "--:|" * (len(heads) - 2)]
    return lines + ["| " + " | ".join(_escaped(cell) for cell in cells) + " |" for cells in body]


def _escaped(text: str) -> str:
    """Text that stays in its table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _state(row: LeaderboardRow) -> str:
    return row.status if row.reason is None else f"{row.status}: {row.reason}"


def _csv(board: Leaderboard) -> str:
    """A line per cell with every field as it is, unrounded; ``reasons`` as ``name: reason; ...``."""
    text = io.StringIO()
    fields = [info.alias or name for name, info in LeaderboardRow.model_fields.items()]
    fields = [*fields, *(key for key in board.metrics if key not in fields)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    for row in board.rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in row.reasons.items())
        values = [reasons if field == "reasons" else row.value(field) for field in fields]
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()
