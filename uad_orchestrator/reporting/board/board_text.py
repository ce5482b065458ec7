"""The leaderboard in the terminal, and as JSON, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from uad_orchestrator.metrics.catalogue import SCOPES, Metric, averaged, headlines, metrics_of
from uad_orchestrator.reporting.board.best import best_of
from uad_orchestrator.reporting.board.columns import INTERVAL, TIED_NOTE, column, shown, with_intervals
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.board.means import NOT_MEASURED, DatasetMeans, DetectorMeans
from uad_orchestrator.reporting.board.remarks import remarks
from uad_orchestrator.reporting.board.row import PROMISE, LeaderboardRow, published_fields

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

WARNED = "⚠"
"""Stands before how many findings speak against a row's figures."""

SHOWN_WARNINGS = 20

BoardFormat = Literal["table", "json", "md", "csv"]


def render_leaderboard(
    board: Leaderboard, format: BoardFormat, *, width: int = 120, sorted_by: str | None = None
) -> str:
    """The board as text, with a newline at its end.

    Args:
        board: the leaderboard.
        format: ``table`` (plain text for a terminal, the columns that fit), ``json`` (everything), ``md`` or
            ``csv`` (every column of every cell).
        width: characters per line of ``table``.
        sorted_by: the metric that the board is sorted by: ``table`` shows it, whatever else fits.

    Returns:
        The text.

    Raises:
        ValueError: another format.
    """
    renderers: dict[str, Callable[[], str]] = {
        "table": lambda: _plain_table(board, width, sorted_by),
        "json": lambda: board.to_json() + "\n",
        "md": lambda: _markdown(board),
        "csv": lambda: _csv(board),
    }
    if format not in renderers:
        raise ValueError(f"no leaderboard format {format!r}: choose {', '.join(get_args(BoardFormat))}")
    return renderers[format]()


def leaderboard_table(board: Leaderboard, width: int, sorted_by: str | None = None) -> Group:
    """The board for a rich console ``width`` wide: cells, then the means per dataset with their notes.

    Where columns do not fit, what it is sorted by and the headlines of the catalogue are kept first; a line below says
    how many are hidden.
    """
    from rich.console import Group
    from rich.text import Text

    keys = _fitting(board, width, sorted_by)
    hidden = len(_all_keys(board)) - len(keys) if board.rows else 0
    nothing = Text("Leaderboard: there are no cells, as no category is known.")
    parts: list[Table | Text] = [_cells_table(board, keys) if board.rows else nothing]
    parts += [
        Text(f"{row.category_key} {row.detector}: {row.status}: {row.reason}", "yellow")
        for row in board.rows
        if row.reason
    ]
    parts += [Text(remark, style="dim") for remark in remarks(board)]
    parts += [Text(f"Error: {place}: {why}", "red") for place, why in board.unreachable.items()]
    parts += [Text(f"{WARNED} {warning}", "yellow") for warning in board.warnings[:SHOWN_WARNINGS]]
    if (more := len(board.warnings) - SHOWN_WARNINGS) > 0:
        parts.append(Text(f"{more} more warnings with --format json, or in the report", style="dim"))
    if hidden:
        parts.append(Text(f"{hidden} more columns in a wider terminal or with --format md", style="dim"))
    for means in board.means:
        if means.worth_showing:
            parts += [_means_table(means, keys, board.metrics), Text(means.note(), style="dim")]
    if _has_ties(board):
        parts.append(Text(TIED_NOTE, style="dim"))
    return Group(*parts)


def _all_keys(board: Leaderboard) -> tuple[str, ...]:
    """All figures but those that no row's protocol measures, and intervals that no row has."""
    measured = [
        name
        for name in board.metrics
        if any(row.reasons.get(name) != NOT_MEASURED for row in board.rows) or not board.rows
    ]
    at_threshold = with_intervals(_names_of(averaged("operating point")))
    keys = (
        *with_intervals(measured),
        "threshold",
        *PROMISE,
        *at_threshold,
        *with_intervals(board.line_metrics),
        *_costs(),
    )
    return tuple(
        key
        for key in keys
        if not key.endswith(INTERVAL) or any(row.value(key) is not None for row in board.rows)
    )


def _costs() -> tuple[str, ...]:
    return _names_of(metrics_of("cost"))


def _names_of(metrics: Iterable[Metric]) -> tuple[str, ...]:
    return tuple(metric.name for metric in metrics)


def _has_ties(board: Leaderboard) -> bool:
    """Whether a mark of a tie is shown, which its note explains."""
    of_means = (means.within_noise() for means in board.means if means.worth_showing)
    return bool(board.within_noise()) or any(of_means)


def _fitting(board: Leaderboard, width: int, sorted_by: str | None) -> list[str]:
    """The columns that fit, what the board is sorted by and the headlines chosen first, in the board's order."""
    keys = _all_keys(board)
    names = (
        max((len(text) for text in column), default=0)
        for column in zip(*map(_names, board.rows), strict=True)
    )
    left = width - sum(names) - 4
    chosen: list[str] = []
    first = [key for key in dict.fromkeys((sorted_by, *_names_of(headlines(*SCOPES)))) if key in keys]
    for key in (*first, *(key for key in keys if key not in first)):
        figures = (len(shown(row, key, tied=True)) for row in board.rows)
        left -= 2 + max(*map(len, _heading(key).split()), *figures, 0)
        if left < 0 and len(chosen) >= 4:
            break
        chosen.append(key)
    return sorted(chosen, key=keys.index)


def _names(row: LeaderboardRow) -> tuple[str, str]:
    """How a row is called: its category, and its detector with what is wrong with it."""
    name = f"  {row.detector}" if row.repeat_of else row.detector
    name = name if row.status == "fresh" else f"{name} ({row.status})"
    return row.category_key, f"{name} {WARNED}{row.warnings}" if row.warnings else name


def _heading(key: str) -> str:
    return column(key).heading.replace(" ", "\n").replace("@", "\n@")


def _cells_table(board: Leaderboard, keys: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    best, tied = board.best(), board.within_noise()
    table = Table(title="Leaderboard", title_justify="left", header_style="bold", pad_edge=False, box=None)
    table.add_column("category", overflow="fold")
    table.add_column("detector", overflow="fold")
    for key in keys:
        table.add_column(_heading(key), justify="right", overflow="fold")
    before = None
    for row in board.rows:
        if before is not None and row.category_key != before:
            table.add_section()
        place = (row.category_key, row.detector)
        cells = [Text(shown(row, key, tied=place in tied), _style((*place, key) in best)) for key in keys]
        category, detector = _names(row)
        name = Text(category if category != before else "")
        table.add_row(name, Text(detector, "" if row.status == "fresh" else "yellow"), *cells)
        before = row.category_key
    return table


def _means_table(means: DatasetMeans, keys: Sequence[str], compared: Sequence[str]) -> Table:
    """The means; the best is marked among those of the ``compared`` metrics."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"\nMean of {means.dataset}", title_justify="left", pad_edge=False, box=None)
    table.add_column("detector")
    shown_keys = [key for key in keys if any(_has(row, key) for row in means.detectors)]
    best = {key: _best_mean(means, key) if key in compared else set() for key in shown_keys}
    tied = means.within_noise()
    for key in shown_keys:
        table.add_column(_heading(key), justify="right")
    for row in means.detectors:
        figures = [
            Text(shown(row, key, tied=row.detector in tied), _style(row.detector in best[key]))
            for key in shown_keys
        ]
        table.add_row(row.detector, *figures)
    return table


def _has(row: DetectorMeans, key: str) -> bool:
    return key in row.values or row.value(key) is not None


def _best_mean(means: DatasetMeans, key: str) -> set[str]:
    values = {row.detector: value for row in means.detectors if (value := row.values[key]) is not None}
    return best_of(values, key)


def _style(is_best: bool) -> str:
    return "bold green" if is_best else ""


def _plain_table(board: Leaderboard, width: int, sorted_by: str | None) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=width, color_system=None, legacy_windows=False).print(
        leaderboard_table(board, width, sorted_by)
    )
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _markdown(board: Leaderboard) -> str:
    """Tables for a README or a merge request; best values per category in bold."""
    best, tied = board.best(), board.within_noise()
    at_threshold = with_intervals(_names_of(averaged("operating point")))
    operation = ("threshold", "threshold_source", *PROMISE, *at_threshold)
    keys = (*with_intervals(board.metrics), *operation, *with_intervals(board.line_metrics), *_costs())
    heads = ["category", "detector", *(column(key).heading for key in keys), "status"]

    def figures(row: LeaderboardRow) -> Iterable[str]:
        for key in keys:
            figure = shown(row, key, tied=(row.category_key, row.detector) in tied)
            yield f"**{figure}**" if (row.category_key, row.detector, key) in best else figure

    lines = _markdown_table(heads, ([r.category_key, r.detector, *figures(r), _state(r)] for r in board.rows))
    beside = [metric.name for metric in averaged("operating point", "cost") if metric.headline]
    of_means = (board.metrics[0], f"{board.metrics[0]}{INTERVAL}", *board.metrics[1:], *beside)
    for means in filter(lambda means: means.worth_showing, board.means):
        tied_means = means.within_noise()
        body = (
            [row.detector, *(shown(row, key, tied=row.detector in tied_means) for key in of_means)]
            for row in means.detectors
        )
        heads = ["detector", *(column(key).heading for key in of_means)]
        lines += ["", f"Mean of {_escaped(means.dataset)}. {_escaped(means.note())}", ""]
        lines += _markdown_table(heads, body)
    for remark in remarks(board):
        lines += ["", _escaped(remark)]
    if _has_ties(board):
        lines += ["", TIED_NOTE]
    said = [f"{place}: {why}" for place, why in board.unreachable.items()] + [str(w) for w in board.warnings]
    if said:
        lines += ["", *(f"- {WARNED} {_escaped(line)}" for line in said)]
    return "\n".join(lines) + "\n"


def _markdown_table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * 2 + "--:|" * (len(heads) - 2)]
    return lines + ["| " + " | ".join(_escaped(cell) for cell in cells) + " |" for cells in body]


def _escaped(text: str) -> str:
    """Text that stays in its table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _state(row: LeaderboardRow) -> str:
    state = row.status if row.reason is None else f"{row.status}: {row.reason}"
    return f"{state} {WARNED}{row.warnings}" if row.warnings else state


def _csv(board: Leaderboard) -> str:
    """A line per row with every field as it is, unrounded; lists as ``a; b``, mappings as ``name: value; ...``."""
    text = io.StringIO()
    fields = list(dict.fromkeys([*published_fields(), *board.metrics]))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    for row in board.rows:
        writer.writerow([_csv_cell(row.value(field)) for field in fields])
    return text.getvalue()


def _csv_cell(value: object) -> object:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {inner}" for name, inner in value.items())
    if isinstance(value, tuple):
        return "; ".join(map(str, value))
    return "" if value is None else value
