"""The leaderboard: all cells side by side, whatever became of them."""

# No `from __future__ import annotations` here: Dagster reads the types of an asset's parameters.

from collections.abc import Sequence

from uad_orchestrator import __version__
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.artifact_files import METRICS_FILE, REPLICATES, read_replicates
from uad_orchestrator.orchestration.cells.findings.cell_warnings import project_findings
from uad_orchestrator.orchestration.versions.graph import INPUTS, NODES, STAGES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import is_stored, open_index
from uad_orchestrator.reporting.board.board_rows import board_rows
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, board_of
from uad_orchestrator.reporting.board.row import BoardCell
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore, DamagedArtifact
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.storage.failures import FailureLog, RecordedFailure
from uad_orchestrator.storage.provenance import Provenance

BOARD_FILE = "leaderboard.json"


def current_board(
    state: ProjectState,
    store: ArtifactStore,
    selection: Selection = Selection(),  # noqa: B008 - frozen
) -> Leaderboard:
    """The board of the selected cells, as the artifacts have it now."""
    with store.listed():
        failures, cells = FailureLog(store), [cell for cell in state.cells if selection.covers(cell)]
        _fetch_reports(cells, state, store)
        outcomes = (
            ((cell.category, cell.detector), _outcome(cell, state, store, failures)) for cell in cells
        )
        rows = board_rows(outcomes, state.project.costs)
        return board_of(
            rows,
            state.project.repeats(),
            selection.away(state.project),
            project_findings(state, store, selection).warnings,
        )


def board_version(state: ProjectState, store: ArtifactStore) -> str:
    """Digest of what the board shows: each cell's report version, or what keeps it from having one; the costs."""
    failures, costs = FailureLog(store), state.project.costs
    with store.listed():
        shown = {cell.key: _shown(cell, state, store, failures) for cell in state.cells}
    weighed = {} if costs is None else {"costs": costs.model_dump()}
    return digest_of({"asset": "leaderboard", "cells": shown, **weighed})


def board_key(version: str) -> ArtifactKey:
    """Where the board of a version is kept."""
    return ArtifactKey("leaderboard", None, None, None, version)


def report_of(cell: Cell, state: ProjectState, store: ArtifactStore) -> MetricsReport | None:
    """The cell's current report; None if there is none in the version it should have."""
    key = _report_key(cell, state)
    if key is None or not store.holds(key):  # as the planner asks: what it counts is read here, or set aside
        return None
    return _read_report(key, store)


def keep_board(store: ArtifactStore, board: Leaderboard, version: str) -> None:
    """Store the board as an artifact, once per version; it is noted each time, lest a kill came between."""
    key = board_key(version)
    there = is_stored(store, key)
    if not there:
        inputs = {
            f"metrics_report@{row.dataset}/{row.category}/{row.detector}": row.version
            for row in board.rows
            if row.version
        }
        provenance = Provenance(**vars(key), inputs=inputs, code_version=__version__)
        with store.write(key, provenance) as draft:
            (draft.directory / BOARD_FILE).write_text(board.to_json())
    if not (there and store.shared):
        open_index(store).record(store.provenance(key))


def _fetch_reports(cells: Sequence[Cell], state: ProjectState, store: ArtifactStore) -> None:
    """From an object store several at a time, ahead of being read one by one."""
    if store.shared:
        keys = [key for cell in cells if (key := _report_key(cell, state)) is not None and store.holds(key)]
        store.fetch(keys, METRICS_FILE, REPLICATES)


def _outcome(cell: Cell, state: ProjectState, store: ArtifactStore, failures: FailureLog) -> BoardCell:
    if why := state.project.why_unreachable(cell.category):
        return _last_outcome(cell, store, _last_report(cell, state, store), why)
    try:
        key = _report_key(cell, state)
        if key is not None and store.holds(key):
            directory = store.open_dir(key, METRICS_FILE, REPLICATES)
            report = MetricsReport.from_json((directory / METRICS_FILE).read_bytes())
            version = report.versions["metrics_report"]
            return BoardCell("fresh", report, version=version, replicates=read_replicates(directory))
    except DamagedArtifact as error:
        return _last_outcome(cell, store, _older_report(cell, store), str(error))
    failure = _last_failure(cell, state, failures)
    if failure is not None:
        return BoardCell("failed", reason=f"{failure.asset}: {failure.error}")
    return _last_outcome(cell, store, _older_report(cell, store), _why_missing(cell, state))


def _last_outcome(cell: Cell, store: ArtifactStore, older: ArtifactKey | None, why: str) -> BoardCell:
    """A report of other versions than the cell should have, or none, and the reason."""
    if older is None:
        return BoardCell("missing", reason=why)
    try:
        report = _read_report(older, store)
    except DamagedArtifact as error:
        return BoardCell("missing", reason=f"{why}; its last report cannot be read: {error}")
    except ValueError:  # written by a program of another schema: it cannot be shown beside the others
        return BoardCell("missing", reason=f"{why}; its last report is of another schema")
    return BoardCell("stale", report, reason=why, version=older.version)


def _shown(cell: Cell, state: ProjectState, store: ArtifactStore, failures: FailureLog) -> str | None:
    if why := state.project.why_unreachable(cell.category):
        last = _last_report(cell, state, store)
        return f"{why} {last.version if last else ''}"
    key = _report_key(cell, state)
    if key is not None and store.holds(key):
        return key.version
    failure = _last_failure(cell, state, failures)
    if failure is not None:
        return failure.error
    older = _older_report(cell, store)
    return f"{_why_missing(cell, state)} {older.version if older else ''}"


def _last_report(cell: Cell, state: ProjectState, store: ArtifactStore) -> ArtifactKey | None:
    """The newest report of a cell whose images are away; of today's settings, if there is one."""
    versions = store.versions("metrics_report", cell.dataset, cell.category_name, cell.detector)
    keys = [cell.artifact_key("metrics_report", version) for version in versions]
    now = {name: state.version(name, cell) for name in INPUTS if NODES[name].dimension == "detector"}
    return next(
        (key for key in keys if now.items() <= _versions_in(key, store).items()), next(iter(keys), None)
    )


def _versions_in(report: ArtifactKey, store: ArtifactStore) -> dict[str, str]:
    """The versions a stored report was made from; none where it is of another schema."""
    try:
        return _read_report(report, store).versions
    except (ValueError, DamagedArtifact):
        return {}


def _read_report(key: ArtifactKey, store: ArtifactStore) -> MetricsReport:
    return MetricsReport.from_json((store.open_dir(key, METRICS_FILE) / METRICS_FILE).read_bytes())


def _older_report(cell: Cell, store: ArtifactStore) -> ArtifactKey | None:
    """The newest report of a cell that has none in the version it should have."""
    versions = store.versions("metrics_report", cell.dataset, cell.category_name, cell.detector)
    return cell.artifact_key("metrics_report", versions[0]) if versions else None


def _report_key(cell: Cell, state: ProjectState) -> ArtifactKey | None:
    try:
        return cell.artifact_key("metrics_report", state.version("metrics_report", cell))
    except InputUnavailable:
        return None


def _last_failure(cell: Cell, state: ProjectState, failures: FailureLog) -> RecordedFailure | None:
    """The failure of the version the cell should have; one of an earlier version says nothing about it."""
    for asset in STAGES:
        found = failures.find(asset, cell.dataset, cell.category_name, cell.detector)
        if found is None:
            continue
        try:
            expected = state.version(asset, cell)
        except InputUnavailable:
            expected = None
        if found.version == expected:
            return found
    return None


def _why_missing(cell: Cell, state: ProjectState) -> str:
    try:
        state.version("metrics_report", cell)
    except InputUnavailable as error:
        return str(error)
    return "not computed in this version: run `uad refresh`"
