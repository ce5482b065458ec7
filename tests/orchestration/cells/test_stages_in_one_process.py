"""A cell's stages after each other in one process: one hands on to the next what it has worked out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.detectors.bank.rows.gathering import noted_gathering
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.versions.selection import Selection


def test_calibration_does_not_gather_the_patches_that_the_fit_has_just_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    times = noted_gathering(monkeypatch)
    chosen = Selection(detectors=("patchcore",))
    assert not workshop.refresh(chosen).failed
    assert not times
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(contamination=0.2))
    assert not workshop.refresh(chosen).failed
    assert times, "the bank was there already, made by a refresh before this one"
