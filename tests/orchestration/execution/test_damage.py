"""What disks, hands and kills do to stored files: named, set aside, put back or computed again by a refresh."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.faults.soundness import index_rows
from tests.orchestration.workshop import Workshop, computed, normal_image, write_image
from uad_orchestrator.orchestration.cells.board import current_board
from uad_orchestrator.orchestration.dagster_instance import event_log
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.execution.refresh import refresh
from uad_orchestrator.orchestration.services.project_check.storage import artifact_problems
from uad_orchestrator.orchestration.versions.graph import INPUTS
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import Input
from uad_orchestrator.orchestration.versions.stores import open_index, open_state, open_store

CELL = ("alpha/disc", "patchcore")
ONLY = Selection(detectors=("patchcore",))


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    built = Workshop.build(tmp_path_factory.mktemp("refreshed") / "home", {"alpha": ["disc"]})
    assert not built.refresh(ONLY).failed
    return built


@pytest.fixture
def workshop(refreshed: Workshop, tmp_path: Path) -> Workshop:
    return refreshed.copied_to(tmp_path / "home")


def only_file(workshop: Workshop, asset: str, name: str) -> Path:
    (found,) = (workshop.home / ".uad/artifacts" / asset).rglob(name)
    return found


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def figures(workshop: Workshop) -> dict[str, float]:
    return json.loads(only_file(workshop, "metrics_report", "metrics.json").read_text())["metrics"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_bank_is_computed_again_by_the_refresh_that_meets_it(
    workshop: Workshop, workers: int
) -> None:
    before = figures(workshop)
    flip(only_file(workshop, "memory_bank", "*.npz"))
    shutil.rmtree(workshop.home / ".uad/artifacts/score_table")
    result = workshop.refresh(ONLY, workers=workers)
    assert not result.failed and not result.skipped
    assert {asset for asset, *_ in computed(result)} == {"memory_bank", "score_table"}
    assert figures(workshop) == before
    assert list((workshop.home / ".uad/scratch").glob("damaged-memory_bank-*/state.npz"))
    assert not workshop.refresh(ONLY).materialized


def test_two_damaged_artifacts_of_a_cell_are_mended_in_one_refresh(workshop: Workshop) -> None:
    before = figures(workshop)
    flip(only_file(workshop, "memory_bank", "*.npz"))
    flip(only_file(workshop, "score_table", "scores.parquet"))
    for asset in ("anomaly_maps", "metrics_report"):
        shutil.rmtree(workshop.home / ".uad/artifacts" / asset)
    result = workshop.refresh(ONLY)
    assert not result.failed and figures(workshop) == before


def test_changed_figures_never_come_on_the_board(workshop: Workshop) -> None:
    metrics = only_file(workshop, "metrics_report", "metrics.json")
    auroc = figures(workshop)["image_auroc"]
    text = metrics.read_text().replace(f'"image_auroc": {auroc}', '"image_auroc": 0.5')
    assert text != metrics.read_text()
    metrics.write_text(text)
    (row,) = board(workshop)
    assert row.status != "fresh" and "metrics.json" in row.reason and "refresh" in row.reason
    result = workshop.refresh(ONLY)
    assert {asset for asset, *_ in computed(result)} == {"metrics_report"}
    (row,) = board(workshop)
    assert row.status == "fresh" and figures(workshop)["image_auroc"] == auroc


@pytest.mark.parametrize("asset", ["memory_bank", "metrics_report"])
def test_a_provenance_that_was_cut_counts_as_missing(workshop: Workshop, asset: str) -> None:
    provenance = only_file(workshop, asset, "provenance.json")
    provenance.write_bytes(provenance.read_bytes()[:-40])
    stale = {(node.asset, node.detector): node.reasons for node in workshop.plan().stale}
    assert stale[asset, "patchcore"] == ("artifact missing from the store",)
    assert not workshop.refresh(ONLY).failed
    assert (asset, "patchcore") not in {(node.asset, node.detector) for node in workshop.plan().stale}


def test_a_changed_provenance_above_is_computed_again_by_the_refresh_that_meets_it(
    workshop: Workshop,
) -> None:
    flip(only_file(workshop, "memory_bank", "provenance.json"))
    shutil.rmtree(workshop.home / ".uad/artifacts/score_table")
    result = workshop.refresh(ONLY)
    assert not result.failed and {asset for asset, *_ in computed(result)} == {"memory_bank", "score_table"}


@pytest.mark.parametrize("lost", ["folder", "damaged"])
def test_lost_contents_of_inputs_are_put_back_by_the_next_refresh(workshop: Workshop, lost: str) -> None:
    for asset in INPUTS:
        for content in list((workshop.home / ".uad/artifacts" / asset).rglob("content.json")):
            if lost == "folder":
                shutil.rmtree(content.parent)
            else:
                provenance = content.parent / "provenance.json"
                provenance.write_bytes(provenance.read_bytes()[:50])
    assert not workshop.refresh(ONLY).materialized
    (workshop.home / "data/alpha/disc/train/good/000.png").unlink()
    stale = {(node.asset, node.detector): node.reasons for node in workshop.plan().stale}
    assert stale["memory_bank", "patchcore"] == ("1 normal image removed",)


def test_a_kill_between_content_and_event_loses_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(workshop.home / "data/alpha/disc/train/good/900.png", normal_image(900))

    class Killed(BaseException):
        pass

    def killed(*given: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(event_log, "report_version", killed)
        with pytest.raises(Killed):
            workshop.refresh(ONLY)
    state, store = open_state(workshop.project), open_store(workshop.project)
    (cell,) = (cell for cell in state.cells if cell.detector == "patchcore")
    found: Input = state.input("dataset_category", cell)
    assert found.version in store.versions("dataset_category", "alpha", "disc", None)
    assert not workshop.refresh(ONLY).failed


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("score_table", "operating_point.json"),
        ("score_table", "provenance.json"),
        ("anomaly_maps", "operating_point.json"),
        ("metrics_report", "provenance.json"),
    ],
)
def test_what_checks_read_may_be_damaged_and_the_board_still_comes(
    workshop: Workshop, asset: str, name: str
) -> None:
    (sound,) = board(workshop)
    shutil.rmtree(workshop.home / ".uad/findings")
    flip(only_file(workshop, asset, name))
    found = current_board(open_state(workshop.project), open_store(workshop.project), ONLY)
    assert name in (found.rows[0].reason or "") or any(name in warning.message for warning in found.warnings)
    assert not workshop.refresh(ONLY).failed
    (row,) = board(workshop)
    assert (row.status, row.warnings) == ("fresh", sound.warnings)


def board(workshop: Workshop) -> list:
    return list(current_board(open_state(workshop.project), open_store(workshop.project), ONLY).rows)


def test_a_lost_index_is_made_again_and_holds_what_the_live_one_held(workshop: Workshop) -> None:
    live = index_rows(workshop.project)
    assert {row[0] for row in live["materialization"]} >= {"normal_images", "memory_bank", "metrics_report"}
    (workshop.home / ".uad/uad.duckdb").unlink()
    assert index_rows(workshop.project) == live
    assert open_index(open_store(workshop.project)).rebuild() == len(live["materialization"])
    assert index_rows(workshop.project) == live


def test_what_nothing_reads_is_found_by_check_and_mended_on_demand(workshop: Workshop) -> None:
    assert not list(artifact_problems(workshop.project))
    bank = only_file(workshop, "memory_bank", "state.npz")
    flip(bank)
    flip(only_file(workshop, "anomaly_maps", "provenance.json"))
    flip(only_file(workshop, "ground_truth", "content.json"))
    flip(only_file(workshop, "leaderboard", "provenance.json"))
    found = {problem.where: str(problem) for problem in artifact_problems(workshop.project)}
    assert [place.split("/")[0] for place in found] == [
        "anomaly_maps",
        "ground_truth",
        "leaderboard",
        "memory_bank",
    ]
    assert all("--rehash" in text for text in found.values()) and str(bank) in "".join(found.values())
    with open_instance(workshop.project) as instance:
        result = refresh(workshop.project, instance, selection=ONLY, rehash=True)
    assert {asset for asset, *_ in computed(result)} == {"memory_bank", "anomaly_maps"}
    assert not list(artifact_problems(workshop.project))
