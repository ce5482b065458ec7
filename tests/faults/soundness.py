"""Whether a project lost nothing: what must hold once a refresh has ended, whatever happened before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from dagster import DagsterRunStatus

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.planning.why import explain
from uad_orchestrator.orchestration.versions.stores import open_index, open_state, open_store
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifact_key import ArtifactKey

ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}

Rows = dict[str, list[tuple]]

INDEXED = {
    "materialization": "SELECT asset, category, detector, version, reused, bytes FROM materialization ORDER BY ALL",
    "lineage": "FROM lineage ORDER BY ALL",
    "metric": "FROM metric ORDER BY ALL",
}


def index_rows(project: Project) -> Rows:
    """The rows of the lineage index, by table; when, where and how fast is left out."""
    index = open_index(open_store(project))
    return {table: index.sql(query).rows for table, query in INDEXED.items()}


def losses(home: Path, *, set_aside: bool = False) -> Iterator[str]:
    """What is not as it should be in a project that was just refreshed; nothing where all is.

    Args:
        home: the project's folder.
        set_aside: whether artifacts may have been set aside as damaged.
    """
    workshop = Workshop(home)
    yield from _planned(workshop)
    yield from _unexplained(workshop.project)
    for left in (home / ".uad/scratch").glob("*"):
        if not (set_aside and left.name.startswith("damaged-")):
            yield f"{left.name} is left in scratch"
    with open_instance(workshop.project) as instance:
        under_way = {run.status for run in instance.get_runs()} - ENDED
    if under_way:
        yield f"runs are left {', '.join(sorted(status.value for status in under_way))}"
    yield from _missing_in_index(workshop.project)


def figures(home: Path) -> dict[str, dict[str, float | None]]:
    """The metrics of every cell in its present version, by the cell's name."""
    project = Workshop(home).project
    state, store = open_state(project), open_store(project)
    found = {}
    for cell in state.cells:
        folder = store.open_dir(cell.artifact_key("metrics_report", state.version("metrics_report", cell)))
        found[cell.key] = json.loads((folder / "metrics.json").read_text())["metrics"]
    return found


def _planned(workshop: Workshop) -> Iterator[str]:
    plan = workshop.plan()
    named = {
        "stale": [f"{node.asset} of {node.category} x {node.detector}" for node in plan.stale],
        "not recorded": [f"{found.asset} of {found.partition}" for found in plan.inputs],
        "to be recorded again": [str(again) for again in plan.rerecorded],
        "away": list(plan.unreachable),
    }
    yield from (f"{word} after a refresh: {', '.join(nodes)}" for word, nodes in named.items() if nodes)


def _unexplained(project: Project) -> Iterator[str]:
    """``uad why`` of every report; all that it names is in the store."""
    state, store = open_state(project), open_store(project)
    for cell in state.cells:
        told = str(explain(state, store, "metrics_report", cell.category, cell.detector))
        yield from (f"uad why {cell.key}: {line}" for line in told.splitlines() if "not in the store" in line)


def _missing_in_index(project: Project) -> Iterator[str]:
    """Rows that only the index made anew has, and such of stored artifacts that it has not.

    An artifact that was damaged and made again has its first making in the live index alone, as has one that is gone.
    """
    live = index_rows(project)
    store = open_store(project)
    open_index(store).rebuild()
    rebuilt = index_rows(project)
    kept = {_place(key) for key in store.list_all()}
    for table in INDEXED:
        lost = set(rebuilt[table]) - set(live[table])
        places = {_row_place(table, row) for row in live[table]} - {
            _row_place(table, row) for row in rebuilt[table]
        }
        if lost:
            yield f"the index lacks {len(lost)} rows of {table}, such as {sorted(lost, key=str)[0]}"
        if more := sorted(places & kept, key=str):
            yield f"the index has rows of {table} that nothing stored gives, of {more[0]}"


def _place(key: ArtifactKey) -> tuple[str, str | None, str | None, str]:
    return key.asset, key.category, key.detector, key.version


def _row_place(table: str, row: tuple) -> tuple[str, str | None, str | None, str]:
    """Which artifact a row is about."""
    return tuple(row[:4]) if table == "materialization" else (row[0], *row[2:5])
