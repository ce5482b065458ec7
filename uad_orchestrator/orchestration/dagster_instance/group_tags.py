"""The tags of a run of a group of cells: what of the group it is to compute, and who makes the board in the end."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from glob import escape

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.names import BETWEEN, CATEGORY, DETECTOR
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection

SELECTION = "uad/selection"
"""Which of the group's cells and assets are meant; without it all."""

BOARD = "uad/board"
"""The last run of its backfill makes the leaderboard."""

WITHIN = "uad/within_run"
"""Of a cell's run that another run works through: that one's id."""


def selection_tag(meant: Selection) -> dict[str, str]:
    """The tag that narrows a run to some cells of its group, and to an asset."""
    return {SELECTION: json.dumps(asdict(meant))}


def cells_of(
    run: dg.DagsterRun, groups: Mapping[str, tuple[Cell, ...]], grid: Collection[Cell]
) -> tuple[Cell, ...]:
    """The cells that a run of the job ``cells`` is about, narrowed or not.

    Args:
        run: with the tags that the job gave it. Groups may have changed since; it is about the same cells as before.
        groups: of now, for a run that a backfill has not made yet.
        grid: the project's cells.
    """
    if CATEGORY not in run.tags or DETECTOR not in run.tags:
        return groups.get(run.tags.get(PARTITION_TAG, ""), ())
    categories, detectors = (run.tags[tag].split(BETWEEN) for tag in (CATEGORY, DETECTOR))
    asked = (Cell(category, detector) for category in categories for detector in detectors)
    return tuple(cell for cell in asked if cell in grid)


def selection_of(cells: Sequence[Cell]) -> Selection:
    """What covers these cells, all of some categories with all of some detectors, and no others."""
    return Selection(_globs(cell.category for cell in cells), _globs(cell.detector for cell in cells))


def selected(cells: Sequence[Cell], run: dg.DagsterRun) -> Selection:
    """What a run is to compute of its group.

    >>> run = dg.DagsterRun("cells", tags=selection_tag(Selection(detectors=("patch*",))))
    >>> selected([Cell("demo/gear", "dino"), Cell("demo/gear", "patchcore")], run)
    Selection(categories=('demo/gear',), detectors=('patchcore',), asset=None)
    """
    chosen = json.loads(run.tags.get(SELECTION, "{}"))
    narrowed = {name: tuple(chosen[name]) for name in ("categories", "detectors") if name in chosen}
    meant = Selection(**narrowed, asset=chosen.get("asset"))
    return replace(selection_of([cell for cell in cells if meant.covers(cell)]), asset=meant.asset)


def _globs(names: Iterable[str]) -> tuple[str, ...]:
    """Of each name one that means it alone."""
    return tuple(escape(name) for name in dict.fromkeys(names))
