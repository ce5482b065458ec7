"""A detector with several seeds: planned, refreshed and folded on the leaderboard."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.orchestration.workshop import EMBEDDER, Workshop, computed
from uad_orchestrator.metrics.bootstrap import LEVEL
from uad_orchestrator.metrics.catalogue import NEWCOMBE
from uad_orchestrator.metrics.intervals import interval_of_auroc
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.assets.metadata import describe_stage
from uad_orchestrator.orchestration.cells.board import current_board, report_of
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.reporting.board.board_text import render_leaderboard

FEW = {
    "model": "vision_patchcore",
    "embedder": EMBEDDER,
    "references": {"k": 2},
    "repeats": {"seeds": [0, 1]},
}
SEEDS = ("few@seed0", "few@seed1")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    found = Workshop.build(tmp_path_factory.mktemp("repeats"), {"alpha": ["disc"]})
    found.edit(
        lambda v: v.update(detectors={"few": FEW, "all": {**FEW, "repeats": None, "references": None}})
    )
    found.edit(lambda v: [v["detectors"]["all"].pop(key) for key in ("repeats", "references")])
    return found


def test_each_seed_is_a_detector_and_the_board_folds_them(workshop: Workshop) -> None:
    assert {node.detector for node in workshop.plan().stale if node.detector} == {*SEEDS, "all"}
    done = computed(workshop.refresh(Selection(detectors=("few",))))
    assert {detector for _, _, detector in done} == set(SEEDS), "--detector few means all its seeds"
    assert not workshop.refresh().failed

    state, store = open_state(workshop.project), open_store(workshop.project)
    board = current_board(state, store)
    assert [row.detector for row in board.rows] == ["all", "few", *SEEDS]
    _, few, *singles = board.rows
    reports = {cell.detector: report_of(cell, state, store) for cell in state.cells}
    assert reports["few@seed1"].seeds["memory_bank.fit"] == 1
    assert (few.repeats, {row.repeat_of for row in singles}) == (SEEDS, {"few"})
    for name in ("image_auroc", "pixel_ap", "aupro_0.3"):
        values = [reports[seed].metrics[name] for seed in SEEDS]
        assert few.value(name) == pytest.approx(np.mean(values))
        assert few.std[name] == pytest.approx(np.std(values, ddof=1))
    assert few.std["pixel_ap"] > 0, "other references, other numbers"
    assert board.counts()["fresh"] == 3
    assert not {mark for mark in board.best() if mark[1] in SEEDS}, "single seeds do not compete"
    assert [row.detector for row in board.means[0].detectors] == ["all", "few"]
    assert f"{few.pixel_auroc:.3f} ± {few.std['pixel_auroc']:.3f}" in render_leaderboard(
        board, "table", width=160
    )
    assert workshop.plan().stale == ()


def test_the_interval_of_the_image_auroc_stands_in_report_and_board(workshop: Workshop) -> None:
    state, store = open_state(workshop.project), open_store(workshop.project)
    row = next(row for row in current_board(state, store).rows if row.detector == "all")
    report = report_of(next(cell for cell in state.cells if cell.detector == "all"), state, store)
    told = report.intervals["image_auroc"]
    assert (told.level, told.method) == (LEVEL, NEWCOMBE)
    tested = (report.counts.n_test_normal, report.counts.n_test_anomalous)
    assert (told.n_normal, told.n_anomalous) == tested
    assert (told.low, told.high) == interval_of_auroc(report.metrics["image_auroc"], *tested)
    assert row.image_auroc_interval == pytest.approx((told.low, told.high), abs=1e-6)
    assert row.intervals.keys() == {*report.intervals, "recall", "false_positive_rate"}
    assert told.low <= report.metrics["image_auroc"] <= told.high
    assert MetricsReport.from_json(report.to_json()) == report
    run = CellRun(next(cell for cell in state.cells if cell.detector == "all"), state, store)
    shown = describe_stage(
        "metrics_report", run.directory("metrics_report"), run.provenance("metrics_report")
    )
    images = f"{tested[0]} normal + {tested[1]} anomalous"
    assert shown["image_auroc_interval"] == f"{told.low:.3f} to {told.high:.3f} (95%, {images})"
    assert shown["recall_interval"].endswith(f"(95%, {tested[1]} anomalous)")
    assert shown["false_positive_rate_interval"].endswith(f"(95%, {tested[0]} normal)")
    again = json.loads(current_board(state, store).to_json())["rows"][0]
    assert again["image_auroc_interval"] == pytest.approx([told.low, told.high], abs=1e-6)


def test_another_seed_costs_itself_alone(workshop: Workshop) -> None:
    workshop.edit(lambda values: values["detectors"]["few"]["repeats"].update(seeds=[0, 1, 2]))
    assert {node.detector for node in workshop.plan().stale if node.detector} == {"few@seed2"}
    state, store = open_state(workshop.project), open_store(workshop.project)
    few = next(row for row in current_board(state, store).rows if row.detector == "few")
    assert few.status == "missing" and "few@seed2" in few.reason and few.image_auroc is None
