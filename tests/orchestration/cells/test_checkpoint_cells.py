"""Cells whose model comes out of a checkpoint, through Dagster; the model itself is a stand-in without maps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.workshop import Workshop, computed, normal_image, write_image
from uad_orchestrator.detectors.anomalib import model as anomalib_model
from uad_orchestrator.detectors.anomalib.results import RawResult, whole
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.orchestration.cells.board import report_of
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.checks.asset_checks import Subject, calibrated_on_unseen
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.planning.why import explain
from uad_orchestrator.orchestration.services.housekeeping import abandoned
from uad_orchestrator.orchestration.services.project_check.check import check_project
from uad_orchestrator.orchestration.services.reports import save_report
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project.trust import trust

if find_spec("anomalib") is None:
    pytest.skip("extra anomalib not installed", allow_module_level=True)

DISC, RING = (Cell(f"alpha/{name}", "ck") for name in ("disc", "ring"))


class Darkest:
    """Scores an image by its darkest pixel and the number in the checkpoint; knows no maps."""

    device = "cpu"

    def __init__(self, number: float) -> None:
        self.number = number

    def run(self, images: Sequence[RgbImage]) -> list[RawResult]:
        return [RawResult(self.number - float(image.min()), None, whole(image)) for image in images]


def load(contents: dict[str, bytes], name: str, network: str | None, device: str, *, safely: bool = False):
    return Darkest(float(contents[name])), network


@pytest.fixture(scope="module", autouse=True)
def stand_in() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anomalib_model, "_load", load)
        yield


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return untrusted(tmp_path)


def untrusted(home: Path) -> Workshop:
    """Two cells, each with a checkpoint that is not trusted yet."""
    workshop = Workshop.build(home, {"alpha": ["disc", "ring"]})
    for cell in (DISC, RING):
        write_checkpoint(workshop, cell, "1")
    workshop.edit(
        lambda values: values.update(
            detectors={"ck": {"model": "vision_padim_anomalib", "checkpoint": "{dataset}/{category}.pt"}}
        )
    )
    return workshop


def checkpoint(workshop: Workshop, cell: Cell) -> Path:
    return workshop.home / f"{cell.category}.pt"


def write_checkpoint(workshop: Workshop, cell: Cell, content: str) -> None:
    path = checkpoint(workshop, cell)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)


def verdict(workshop: Workshop, cell: Cell) -> Any:
    project = workshop.project
    with open_instance(project) as instance:
        subject = Subject("score_table", cell.key, instance, open_state(project), open_store(project))
        return calibrated_on_unseen(subject)


def test_only_the_cell_of_a_changed_and_trusted_checkpoint_is_computed(workshop: Workshop) -> None:
    untrusted = [problem.where for problem in check_project(workshop.project).problems]
    assert untrusted == ["detectors.ck.checkpoint"] * 2
    refused = workshop.refresh()
    assert {(f.asset, f.category) for f in refused.failed} == {
        ("memory_bank", "alpha/disc"),
        ("memory_bank", "alpha/ring"),
    }
    assert f"uad trust {checkpoint(workshop, DISC)}" in refused.failed[0].error

    trust(workshop.home, [checkpoint(workshop, DISC)])
    both = {(stage, cell.category, "ck") for stage in STAGES for cell in (DISC, RING)}
    assert computed(workshop.refresh()) == both
    assert not workshop.plan().stale, "trust is no part of a version"
    check_a_model_without_maps(workshop)

    write_checkpoint(workshop, RING, "2")
    trust(workshop.home, [checkpoint(workshop, RING)])
    stale = workshop.plan().stale
    assert {node.category for node in stale} == {"alpha/ring", None}
    assert "checkpoint changed (sha256 6b86b273.. -> sha256 d4735e3a..)" in stale[0].reasons
    assert computed(workshop.refresh()) == {(stage, "alpha/ring", "ck") for stage in STAGES}


def check_a_model_without_maps(workshop: Workshop) -> None:
    """Image metrics come, pixel metrics have the reason; report, contact sheet and checks cope."""
    project = workshop.project
    report = report_of(DISC, open_state(project), open_store(project))
    assert report is not None
    assert report.metrics["image_auroc"] == 1.0
    assert report.metrics["pixel_auroc"] is None and report.metrics["aupro_0.3"] is None
    assert report.reasons["pixel_auroc"] == "this model gives no anomaly map"
    assert report.pixel_operating_point.source == "none: this model gives no anomaly map"
    assert "train (optimistic)" in report.image_operating_point.source
    assert "alpha/disc" in save_report(project).read_text()
    found = verdict(workshop, DISC)
    assert (found.passed, found.is_error) == (False, True), "padim keeps what it saw of its training normals"


def fresh_normals(workshop: Workshop, category: str, seeds: range) -> Path:
    folder = workshop.home / "fresh" / category
    for seed in seeds:
        write_image(folder / f"{seed}.png", normal_image(seed))
    return folder


def name_calibration_folder(workshop: Workshop, folder: str, **changes: Any) -> None:
    entry = {"calibration": {"folder": folder, **changes}}
    workshop.edit(lambda values: values["detectors"]["ck"].update(entry))


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both cells on their own folder of normals that are in no split."""
    workshop = untrusted(tmp_path_factory.mktemp("calibrated"))
    for cell, first in ((DISC, 8000), (RING, 9000)):
        fresh_normals(workshop, cell.category, range(first, first + 6))
    name_calibration_folder(workshop, "fresh/{dataset}/{category}")
    trust(workshop.home, [checkpoint(workshop, DISC)])
    assert not workshop.refresh().failed
    return workshop.home


@pytest.fixture
def calibrated(refreshed: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(refreshed, tmp_path / "home")
    return Workshop(tmp_path / "home")


def test_a_folder_of_fresh_normals_calibrates_a_checkpoint(calibrated: Workshop) -> None:
    assert not check_project(calibrated.project).problems
    project = calibrated.project
    report = report_of(DISC, open_state(project), open_store(project))
    assert report is not None
    point = report.image_operating_point
    assert point.source.startswith("calibration folder") and point.n == 6
    darkest = [int(normal_image(seed).min()) for seed in range(8000, 8006)]
    assert point.threshold == 1.0 - min(darkest), "the largest score of these six images, of no other"
    assert verdict(calibrated, DISC).passed
    scores = CellRun(DISC, open_state(project), open_store(project)).directory("score_table")
    names = [row.image for row in read_scores(scores) if row.role == "calibration"]
    assert names == [f"calibration/{seed}.png" for seed in range(8000, 8006)]


def test_only_cells_whose_calibration_images_changed_are_stale_and_it_is_said(calibrated: Workshop) -> None:
    moved = calibrated.home / "elsewhere"
    (calibrated.home / "fresh").rename(moved)
    name_calibration_folder(calibrated, "elsewhere/{dataset}/{category}")
    assert not calibrated.plan().stale, "where the folder lies is no part of a version"

    write_image(moved / DISC.category / "8000.png", normal_image(8100))
    (moved / DISC.category / "8001.png").unlink()
    write_image(moved / DISC.category / "8002b.png", normal_image(8102))
    stale = calibrated.plan().stale
    assert {node.category for node in stale} == {"alpha/disc", None}
    said = ("1 new calibration image", "1 calibration image removed", "1 calibration image changed")
    assert next(node for node in stale if node.asset == "memory_bank").reasons == said
    assert computed(calibrated.refresh()) == {(stage, "alpha/disc", "ck") for stage in STAGES}

    project = calibrated.project
    state, store = open_state(project), open_store(project)
    answer = explain(state, store, "score_table", "alpha/disc", "ck", since="previous")
    assert set(said) <= set(answer.causes)


def test_a_calibration_folder_that_can_not_be_used_is_named(calibrated: Workshop) -> None:
    folder = calibrated.home / "fresh" / DISC.category

    def refusal() -> str:
        (problem,) = check_project(calibrated.project).problems
        assert problem.where == "detectors.ck.calibration.folder"
        return problem.problem

    (folder / "8000.png").write_bytes(b"no image")
    (failed,) = calibrated.refresh().failed
    assert failed.category == "alpha/disc" and f"{folder}/8000.png" in failed.error
    assert f"{folder}/8000.png" in refusal()
    (folder / "8000.png").rename(folder / "readme.txt")
    assert "disc/readme.txt: not an image" in refusal()
    for path in folder.iterdir():
        path.unlink()
    assert "no images; expected at least one" in refusal()
    folder.rmdir()
    assert f"there is no folder {folder}" in refusal()
    reasons = {node.category: node.reasons[0] for node in calibrated.plan().stale}
    assert "alpha/ring" not in reasons and f"there is no folder {folder}" in reasons["alpha/disc"]


def test_images_that_are_tested_may_not_calibrate(calibrated: Workshop) -> None:
    tested = "data/alpha/disc/test/good"
    name_calibration_folder(calibrated, tested)
    failed = calibrated.refresh(Selection(categories=("alpha/disc",))).failed
    assert (
        "calibration/000.png is the same file as disc/test/good/000.png, which is scored" in failed[0].error
    )


def test_trainings_that_were_given_up_are_collected(tmp_path: Path) -> None:
    for version in ("wanted", "given_up"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "model.ckpt").write_bytes(b"123")
    assert abandoned(tmp_path, {"wanted"}, dry_run=False) == [], "it may be under way"
    for dry_run in (True, False):
        (found,) = abandoned(tmp_path, {"wanted"}, dry_run=dry_run, min_age_seconds=0)
        assert (found.what, found.bytes) == (str(tmp_path / "given_up"), 3)
    assert [path.name for path in tmp_path.iterdir()] == ["wanted"]
