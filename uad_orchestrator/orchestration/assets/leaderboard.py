"""The asset ``leaderboard``: all cells side by side, and what Dagster's UI shows of the board."""

# No `from __future__ import annotations` here: Dagster reads the types of an asset's parameters.

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from uad_orchestrator.metrics.catalogue import headlines
from uad_orchestrator.orchestration.assets.resources import PROJECT_INPUTS, inputs_of, resource_keys
from uad_orchestrator.orchestration.cells.board import (
    BOARD_FILE,
    board_key,
    board_version,
    current_board,
    keep_board,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.orchestration.versions.graph import NODES
from uad_orchestrator.project import Project
from uad_orchestrator.reporting.board.columns import INTERVAL, shown, with_intervals
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.board.row import LeaderboardRow

Item = TypeVar("Item")

MOST_ROWS = 200
"""Of a table in an event: Dagster keeps the event whole, and its pages load many events at once."""


def leaderboard_asset(project: Project) -> dg.AssetsDefinition:
    """The asset ``leaderboard``: it reads every cell's report and fails for none of them."""
    node = NODES["leaderboard"]

    spec = dg.AssetSpec(
        asset_key(project, node.asset),
        deps=[asset_key(project, name) for name in node.reads],
        group_name=project.dagster.group or node.group,
        kinds=set(node.kinds),
        owners=list(project.dagster.owners),
        description=node.description,
    )

    # An op may not be called what a job is called, and the job is `leaderboard`: hence an op's name of its own.
    @dg.multi_asset(
        name=name_in_dagster(project, "build_leaderboard"),
        specs=[spec],
        required_resource_keys=resource_keys(project, PROJECT_INPUTS),
    )
    def leaderboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        inputs = inputs_of(project, context)
        state, store = inputs.state, inputs.store
        with store.listed():
            board, version = current_board(state, store), board_version(state, store)
            keep_board(store, board, version)
        if nowhere := _shown_nowhere(state.project):
            raise dg.Failure(nowhere, allow_retries=False)
        whole = f"{store.path(board_key(version))}/{BOARD_FILE}"
        return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata=_metadata(board, whole))

    return leaderboard


def _shown_nowhere(project: Project) -> str:
    """Datasets that cannot be read and of which no category is known: no partition of theirs can fail and say so."""
    known = {key.partition("/")[0] for key in project.category_keys()}
    return "; ".join(
        f"{name}: {why}" for name, why in project.unreachable.items() if name.partition("/")[0] not in known
    )


def _metadata(board: Leaderboard, whole: str) -> dict[str, dg.MetadataValue | int | str]:
    """Counts, and tables whose rows are one line each: what is said in sentences has a table of its own.

    Args:
        board: the board.
        whole: the file that has all of it, where there is more than an event shows.
    """
    counts = {f"cells_{status}": n for status, n in board.counts().items()}
    rows, left_out = _first(_those_to_look_at_first(board.rows))
    measured = [
        metric.name
        for metric in headlines("image", "pixel", "operating point")
        if metric.always or any(row.value(metric.name) is not None for row in board.rows)
    ]
    bounds = [key for key in with_intervals(measured) if key not in measured]
    cells = [
        {"category": row.category_key, "detector": row.detector, "status": row.status}
        | {name: _figure(row.value(name)) for name in (*measured, "warnings")}
        | {name: shown(row, name) for name in bounds}
        for row in rows
    ]
    reasons = [
        {"category": row.category_key, "detector": row.detector, "reason": row.reason}
        for row in rows
        if row.reason
    ]
    averaged = [
        name for name in measured if any(name in d.values for of in board.means for d in of.detectors)
    ]
    mean_interval = f"{measured[0]}{INTERVAL}"  # only the mean of the first figure has one
    means = [
        {"dataset": of.dataset, "detector": detector.detector}
        | {name: _figure(detector.values.get(name)) for name in averaged}
        | {mean_interval: shown(detector, mean_interval)}
        for of in board.means
        for detector in of.detectors
    ]
    tables: dict[str, list[dict[str, Any]]] = {"leaderboard": cells, "means": means, "reasons": reasons}
    return {
        "dagster/row_count": len(board.rows),
        **counts,
        **({"shown": _left_out(board, whole)} if left_out else {}),
        **({"unreachable": dg.MetadataValue.json(_unreachable(board))} if board.unreachable else {}),
        **({"warnings": dg.MetadataValue.json(_warnings(board))} if board.warnings else {}),
        **{name: value for of in tables.items() for name, value in _table(*of)},
    }


def _first(found: Sequence[Item], command: str = "uad leaderboard") -> tuple[Sequence[Item], list[str]]:
    """As many as an event shows; and where there are more a sentence that says how many, and what shows them."""
    more = len(found) - MOST_ROWS
    return found[:MOST_ROWS], [f"and {more:,} more: see `{command}`"] if more > 0 else []


def _those_to_look_at_first(rows: Sequence[LeaderboardRow]) -> Sequence[LeaderboardRow]:
    """All rows; of many those first that are not fresh, then those that something speaks against."""
    if len(rows) <= MOST_ROWS:
        return rows
    return sorted(rows, key=lambda row: (row.status == "fresh", not row.warnings))


def _left_out(board: Leaderboard, whole: str) -> str:
    return (
        f"{MOST_ROWS} of {len(board.rows):,} rows, those first that are not fresh or have warnings; "
        f"all: `uad leaderboard`, `uad report`, {whole}"
    )


def _warnings(board: Leaderboard) -> list[str]:
    said, more = _first(board.warnings)
    return [*map(str, said), *more]


def _unreachable(board: Leaderboard) -> dict[str, str]:
    reasons, more = _first(list(board.unreachable.items()), "uad check")
    return dict([*reasons, *(("...", sentence) for sentence in more)])


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dg.MetadataValue | str]]:
    shown, more = _first(rows)
    if shown:
        yield name, dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in shown])
    for sentence in more:
        yield f"{name}_shown", f"the first {len(shown)}, {sentence}"


def _figure(value: object) -> float | None:
    return round(float(value), 4) if isinstance(value, int | float) else None
