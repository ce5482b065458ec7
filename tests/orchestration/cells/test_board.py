"""The board after a change: what was measured before is shown, and called stale."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.cells.board import board_version, current_board
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.reporting.board.row import LeaderboardRow


def test_a_cell_with_an_earlier_report_only_is_stale_and_shows_it(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc"]})
    workshop.refresh()
    fresh = board_of(workshop)
    workshop.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=1.2))
    stale = board_of(workshop)
    assert {row.detector: row.status for row in stale} == {
        "bright": "stale",
        "dino": "fresh",
        "patchcore": "fresh",
    }
    before, after = (next(row for row in rows if row.detector == "bright") for rows in (fresh, stale))
    assert after.image_auroc == before.image_auroc is not None
    assert after.version == before.version
    assert "uad refresh" in (after.reason or "")
    project = workshop.project
    state, store = open_state(project), open_store(project)
    version = board_version(state, store)
    store.delete(Cell("alpha/disc", "bright").artifact_key("metrics_report", after.version or ""))
    assert {row.status for row in board_of(workshop)} == {"fresh", "missing"}
    assert board_version(open_state(project), store) != version  # the board shows something else


def test_a_report_whose_score_table_is_lost_is_shown_with_a_warning(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc"]})
    workshop.refresh()
    state, store = open_state(workshop.project), open_store(workshop.project)
    cell = Cell("alpha/disc", "bright")
    store.delete(cell.artifact_key("score_table", state.version("score_table", cell)))
    shutil.rmtree(Path(workshop.project.storage.local) / "findings")
    board = current_board(open_state(workshop.project), store)
    assert {row.status for row in board.rows} == {"fresh"}
    [lost] = [warning for warning in board.warnings if warning.check == "artifacts"]
    assert lost.detector == "bright" and "uad refresh" in lost.message


def board_of(workshop: Workshop) -> list[LeaderboardRow]:
    project = workshop.project
    return list(current_board(open_state(project), open_store(project)).rows)
