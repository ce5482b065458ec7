"""Regions of interest and drift on whole cells: what is computed again, what the reports say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.orchestration.workshop import EMBEDDER, Workshop, computed, write_image
from uad_orchestrator.cli import app
from uad_orchestrator.detectors.protocol.scoring import read_responses
from uad_orchestrator.inference import infer
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.board import report_of
from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.services.camera_drift import drifts_of, measure_robustness
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.reporting.pictures.robustness_figure import robustness_figure
from uad_orchestrator.reporting.robustness_table import robustness_table

CATEGORY = "alpha/disc"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Two detectors on one category, one of them behind a mask that leaves the upper left out."""
    home = tmp_path_factory.mktemp("presets")
    workshop = Workshop.build(home, {"alpha": ["disc"]})
    mask = np.full((64, 64), 255, np.uint8)
    mask[:44, :44] = 0  # the scratches lie there
    write_image(home / "fixtures/roi.png", mask)
    patchcore = {"model": "vision_patchcore", "embedder": EMBEDDER, "coreset": {"ratio": 0.1}}

    def change(values: dict) -> None:
        values["presets"] = {"part": [{"roi": {"method": "mask", "path": "fixtures/roi.png"}}]}
        values["detectors"] = {"plain": patchcore, "part": {**patchcore, "preset": "part"}}

    workshop.edit(change)
    workshop.refresh()
    return workshop


def report(workshop: Workshop, detector: str) -> MetricsReport:
    state = open_state(workshop.project)
    found = report_of(Cell(CATEGORY, detector), state, open_store(workshop.project))
    assert found is not None
    return found


def test_a_defect_wholly_outside_is_reported_and_not_counted(workshop: Workshop) -> None:
    part, plain = report(workshop, "part"), report(workshop, "plain")
    assert plain.roi is None and plain.metrics["pixel_auroc"] is not None
    assert part.roi is not None and part.roi.pixels == "excluded"
    assert part.roi.regions_outside == {f"disc/test/scratch/00{i}.png": 1 for i in range(2)}
    assert part.metrics["pixel_auroc"] is None and "no defect pixels" in part.reasons["pixel_auroc"]
    assert part.bank.rows < plain.bank.rows
    assert part.counts.n_test_anomalous == 2, "the label stays"


def test_roi_metrics_recompute_metrics_alone(workshop: Workshop) -> None:
    workshop.edit(lambda values: values["evaluation"].update(roi_metrics="include"))
    try:
        assert {node.asset for node in workshop.plan().stale} == {"metrics_report", "leaderboard"}
        workshop.refresh(Selection(detectors=("part",)))
        included = report(workshop, "part")
        assert included.roi is not None and included.roi.pixels == "included"
        assert included.metrics["pixel_auroc"] is not None
    finally:
        workshop.edit(lambda values: values["evaluation"].update(roi_metrics="exclude"))
    state = open_state(workshop.project)
    spelt_out = state.version("evaluation_protocol", Cell(CATEGORY, "part"))
    workshop.edit(lambda values: values["evaluation"].pop("roi_metrics"))
    unsaid = open_state(workshop.project).version("evaluation_protocol", Cell(CATEGORY, "part"))
    assert spelt_out == unsaid


def test_another_mask_refits_its_detector_and_embeds_nothing(workshop: Workshop) -> None:
    mask = np.full((64, 64), 255, np.uint8)
    mask[:20] = 0
    write_image(workshop.home / "fixtures/roi.png", mask)
    result = workshop.refresh()
    assert {detector for _, _, detector in computed(result)} == {"part"}
    assert result.embedded_images == 0
    assert report(workshop, "part").metrics["pixel_auroc"] is not None


def test_a_bundle_needs_neither_the_project_nor_its_mask_image(workshop: Workshop, tmp_path: Path) -> None:
    home, images = tmp_path / "project", tmp_path / "images"
    shutil.copytree(workshop.home, home)
    shutil.copytree(home / "data/alpha", images)
    project = Workshop(home).project
    run = CellRun(Cell(CATEGORY, "part"), open_state(project), open_store(project))
    expected = {
        row.image: row.score for row, _ in read_responses(run.directory("score_table")) if row.role == "test"
    }
    command = ["export", "bundle", "--home", str(home), "--category", CATEGORY, "--detector", "part"]
    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "bundle")])
    assert done.exit_code == 0, done.output
    shutil.rmtree(home)
    found = infer(tmp_path / "bundle", [images / name for name in expected])
    assert [result.score for result in found] == list(expected.values())


def test_drift_is_measured_on_the_fitted_cell(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project
    state, store, pool = open_state(project), open_store(project), EmbedderPool()
    drifts = drifts_of(["exposure", "jpeg"], seed=0)
    steps: list[None] = []
    rows = {
        detector: list(
            measure_robustness(
                CellRun(Cell(CATEGORY, detector), state, store), pool, drifts, lambda: steps.append(None)
            )
        )
        for detector in ("plain", "part")
    }
    assert len(steps) == 22 and [row.level for row in rows["plain"]] == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    undrifted, of_report = rows["plain"][0], report(workshop, "plain")
    for name in ("image_auroc", "pixel_auroc", "aupro_0.3", "aupro_0.05"):
        assert undrifted.metrics[name] == pytest.approx(of_report.metrics[name], abs=1e-6)
    point = of_report.image_operating_point
    assert undrifted.metrics["false_positive_rate"] == point.false_positive_rate
    assert undrifted.metrics["recall"] == point.recall
    assert rows["plain"][5].metrics["false_positive_rate"] == 1, "a stop of light is far from any normal"
    assert json.dumps([row.to_json() for row in rows["part"]], allow_nan=False)

    both = rows["plain"] + rows["part"]
    table = robustness_table(both, 140)
    assert table.count("exposure") == 2 * len(undrifted.metrics)
    assert "part (part)" in table and "level 5" in table
    figure = robustness_figure(both)
    assert figure.startswith(b"\x89PNG") and len(figure) > 20_000


def test_a_cell_that_is_not_fitted_says_which_command_does_it(workshop: Workshop) -> None:
    state = open_state(workshop.project)
    workshop.edit(lambda values: values["detectors"]["plain"]["coreset"].update(ratio=0.2))
    try:
        state = open_state(workshop.project)
        run = CellRun(Cell(CATEGORY, "plain"), state, open_store(workshop.project))
        with pytest.raises(MissingUpstream, match="uad refresh"):
            list(measure_robustness(run, EmbedderPool(), drifts_of(["jpeg"], 0)))
    finally:
        workshop.edit(lambda values: values["detectors"]["plain"]["coreset"].update(ratio=0.1))
