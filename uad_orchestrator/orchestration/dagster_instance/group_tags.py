"""The tags of a run of a group of cells: what of the group it is to compute, and who makes the board in the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from glob import escape

import dagster as dg

from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection

SELECTION = "uad/selection"
"""Which of the group's cells and assets are meant; without it all."""

BOARD = "uad/board"
"""The last run of its backfill makes the leaderboard."""

WITHIN = "uad/within_run"
"""Of a cell's run that another run works through: that one's id."""


def selection_tag(detectors: Sequence[str], asset: str | None = None) -> dict[str, str]:
    """The tag that narrows a run to some detectors of its group, given as globs, and to an asset."""
    return {SELECTION: json.dumps({"detectors": list(detectors), "asset": asset})}


def selected(cells: Sequence[Cell], run: dg.DagsterRun) -> Selection:
    """What a run is to compute of its group.

    >>> run = dg.DagsterRun("cells", tags=selection_tag(["patch*"]))
    >>> selected([Cell("demo/gear", "dino"), Cell("demo/gear", "patchcore")], run).detectors
    ('patchcore',)
    """
    chosen = json.loads(run.tags.get(SELECTION, '{"detectors": ["*"], "asset": null}'))
    meant = Selection(detectors=tuple(chosen["detectors"]))
    names = tuple(escape(cell.detector) for cell in cells if meant.covers(cell))
    return Selection((escape(cells[0].category),), names, chosen["asset"])
