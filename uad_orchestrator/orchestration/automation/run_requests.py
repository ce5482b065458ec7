"""What sensors ask Dagster for: runs of cells, each under its own key, none of a cell that is at work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.group_tags import selection_of, selection_tag
from uad_orchestrator.orchestration.dagster_instance.names import CELLS, asset_key, name_in_dagster
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.groups import cell_groups, group_of, products
from uad_orchestrator.project import Project
from uad_orchestrator.storage.digests import digest_of


def run_key(cell: Cell, version: str, attempt: int, order: Mapping[str, int]) -> str:
    """The key under which Dagster runs a request at most once.

    The number of the cell's latest memory bank in the event log is part of it: going back to an earlier
    version is a new request, since a later one was materialised in between.

    Args:
        version: of what the cell is to be run for.
        attempt: which try of this version.
        order: from ``recorded_order`` of ``memory_bank``.
    """
    return f"{cell.key}:{version[:16]}:{attempt}:{order.get(cell.key, 0)}"


def in_runs(
    project: Project, cells: Iterable[Cell], loaded: Collection[str]
) -> list[tuple[str | None, list[Cell]]]:
    """The cells by the runs that are to compute them: those of a group, with its name, or one alone.

    Of a group there are several runs where one could not name its cells by categories and detectors.

    Args:
        loaded: the groups that the job ``cells`` has; a cell of another is alone.
    """
    if project.runtime.run_per == "cell":
        return [(None, [cell]) for cell in cells]
    names, alone = group_of(cell_groups(project)), []
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if (name := names[cell]) in loaded:
            groups.setdefault(name, []).append(cell)
        else:  # new in uad.yaml since the definitions were loaded
            alone.append(cell)
    runs = [(name, [*part]) for name, chosen in groups.items() for part in products(chosen)]
    return [*runs, *((None, [cell]) for cell in alone)]


def request_run(
    project: Project,
    group: str | None,
    keys: Mapping[Cell, str],
    sensor: str,
    assets: Sequence[str] | None = None,
) -> dg.RunRequest:
    """A run from ``in_runs``.

    Args:
        keys: of each cell that it computes, from ``run_key``.
        sensor: that asks.
        assets: of a cell alone, if not all; a run of a group computes what is stale.
    """
    if group is None:
        ((cell, key),) = keys.items()
        return _request_cell(project, cell, key, sensor, assets)
    return _request_group(project, group, list(keys), f"{group}:{digest_of([*keys.values()])[:16]}", sensor)


def _request_cell(
    project: Project, cell: Cell, key: str, sensor: str, assets: Sequence[str] | None
) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=key,
        job_name=name_in_dagster(project, "cell"),
        partition_key=cell.key,
        asset_selection=None if assets is None else [asset_key(project, asset) for asset in assets],
        asset_check_keys=None if assets is None else [],  # a selection would bring the assets' checks along
        tags={"uad/asked_by": sensor},  # those of the cell are the job's
    )


def _request_group(
    project: Project, name: str, cells: Sequence[Cell], key: str, sensor: str
) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=key,
        job_name=name_in_dagster(project, CELLS),
        partition_key=name,
        tags={**selection_tag(selection_of(cells)), "uad/asked_by": sensor},
    )


def loaded_groups(project: Project) -> frozenset[str]:
    """The groups that the job ``cells`` has, none where a run is a cell's: call it when the code location is loaded."""
    return frozenset(cell_groups(project)) if project.runtime.run_per == "embedder" else frozenset()


def loaded_cells(project: Project) -> frozenset[str]:
    """The partition keys of a project's cells: call it when the code location is loaded."""
    return frozenset(Cell(category, detector).key for category, detector in project.cells())


def only_loaded(cells: Collection[Cell], loaded: Collection[str]) -> tuple[list[Cell], str | None]:
    """The cells the code location knows, and a sentence about the others: it was loaded before they came."""
    known = [cell for cell in cells if cell.key in loaded]
    missing = len(cells) - len(known)
    if not missing:
        return known, None
    return known, f"{missing} cells are new in uad.yaml: press 'Reload definitions' in the UI to see them"


def tick_result(
    requests: Sequence[dg.RunRequest], cursor: str, notes: Sequence[str], nothing: str
) -> dg.SensorResult:
    """A tick's result; where nothing is asked for, the reason says what was out of reach."""
    if requests:
        return dg.SensorResult(run_requests=list(requests), cursor=cursor)
    return dg.SensorResult(skip_reason="; ".join(notes) or nothing, cursor=cursor)
