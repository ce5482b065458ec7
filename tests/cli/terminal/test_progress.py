"""Without a terminal progress is lines: one per step, and one now and then while a step takes long."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from uad_orchestrator.cli.terminal import progress


def outcome(cell: str, *failed: str) -> Any:
    return SimpleNamespace(cell=cell, failed=[SimpleNamespace(asset=asset) for asset in failed])


def test_each_cell_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.cell_progress() as cells:
        cells.start(2)
        cells.advance(outcome("line7/housing x patchcore"))
        cells.advance(outcome("line7/lid x patchcore", "score_table"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/2 cells") and lines[0].endswith("line7/housing x patchcore")
    assert lines[1] == "failed: line7/lid x patchcore: score_table"
    assert lines[2].startswith("2/2 cells") and len(lines) == 3


def test_a_long_cell_is_heard_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)
    with progress.cell_progress() as cells:
        cells.start(2)
        time.sleep(0.4)
    said = capsys.readouterr().err.splitlines()
    assert len(said) >= 2 and all(line.startswith("0/2 cells") for line in said)
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_files_are_no_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.file_progress() as show:
        for done in range(1000):
            show("line7/housing", done, 1000)
    assert capsys.readouterr().err == ""
