"""Cells whose model comes out of a checkpoint, through Dagster; the model itself is a stand-in without maps."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.workshop import Workshop, computed
from uad_orchestrator.detectors import anomalib_model
from uad_orchestrator.detectors.anomalib_results import RawResult, whole
from uad_orchestrator.images.source import RgbImage
from uad_orchestrator.orchestration.board import report_of
from uad_orchestrator.orchestration.check import check_project
from uad_orchestrator.orchestration.checks import Subject, calibrated_on_unseen
from uad_orchestrator.orchestration.graph import STAGES, Cell
from uad_orchestrator.orchestration.housekeeping import abandoned
from uad_orchestrator.orchestration.instance import open_instance
from uad_orchestrator.orchestration.reports import save_report
from uad_orchestrator.orchestration.resources import open_state, open_store
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


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    def load(
        contents: dict[str, bytes], name: str, network: str | None, device: str, *, safely: bool = False
    ):
        return Darkest(float(contents[name])), network

    monkeypatch.setattr(anomalib_model, "_load", load)
    workshop = Workshop.build(tmp_path, {"alpha": ["disc", "ring"]})
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


def test_trainings_that_were_given_up_are_collected(tmp_path: Path) -> None:
    for version in ("wanted", "given_up"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "model.ckpt").write_bytes(b"123")
    assert abandoned(tmp_path, {"wanted"}, dry_run=False) == [], "it may be under way"
    for dry_run in (True, False):
        (found,) = abandoned(tmp_path, {"wanted"}, dry_run=dry_run, min_age_seconds=0)
        assert (found.what, found.bytes) == (str(tmp_path / "given_up"), 3)
    assert [path.name for path in tmp_path.iterdir()] == ["wanted"]
