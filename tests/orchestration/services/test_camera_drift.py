"""Several cells under drift: the fitted ones are measured, a fault costs its own cell."""

from __future__ import annotations

import pytest

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.services.camera_drift import drifts_of, measure_cells
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

FITTED = [Cell("alpha/disc", "patchcore"), Cell("alpha/disc", "dino")]
NEVER_FITTED = Cell("alpha/disc", "bright")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """One category; of three detectors two are fitted."""
    workshop = Workshop.build(tmp_path_factory.mktemp("drift"), {"alpha": ["disc"]})
    for cell in FITTED:
        assert not workshop.refresh(Selection(detectors=(cell.detector,))).failed
    return workshop


def test_each_cell_is_measured_under_each_drift_and_a_fault_costs_its_own_cell(workshop: Workshop) -> None:
    state, store = open_state(workshop.project), open_store(workshop.project)
    steps: list[Cell] = []
    cells = [FITTED[0], NEVER_FITTED, FITTED[1]]
    results = measure_cells(state, store, cells, drifts_of(["jpeg"], seed=0), steps.append)
    assert [(row.category, row.detector, row.drift, row.level) for row in results.rows] == [
        (cell.category, cell.detector, "jpeg" if level else None, level)
        for cell in FITTED
        for level in range(6)
    ]
    assert all(0 <= row.metrics["image_auroc"] <= 1 for row in results.rows)
    assert list(results.faults) == [NEVER_FITTED] and "uad refresh" in results.faults[NEVER_FITTED]
    assert steps == [cell for cell in FITTED for _ in range(6)]


def test_a_cell_that_fails_on_the_way_has_no_rows(workshop: Workshop) -> None:
    state, store = open_state(workshop.project), open_store(workshop.project)
    lost = workshop.home / "data/alpha/disc/test/good/001.png"
    content = lost.read_bytes()
    steps: list[Cell] = []

    def cut_short(cell: Cell) -> None:
        steps.append(cell)
        lost.write_bytes(content[:-20])

    try:
        results = measure_cells(state, store, FITTED[:1], drifts_of(["blur"], seed=0), cut_short)
    finally:
        lost.write_bytes(content)
    assert steps == FITTED[:1], "the first drift was measured"
    assert results.rows == [] and list(results.faults) == FITTED[:1]
    assert "001.png" in results.faults[FITTED[0]]


def test_no_cells_no_rows(workshop: Workshop) -> None:
    results = measure_cells(open_state(workshop.project), open_store(workshop.project), [], drifts_of([], 0))
    assert (results.rows, results.faults) == ([], {})
