"""New normal images: what is taken in, what is put in quarantine and why, and what a recalibration records."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster import DagsterRunStatus
from typer.testing import CliRunner

from tests.orchestration.workshop import Workshop, defective_image, normal_image, write_image
from uad_orchestrator.cli.app import app
from uad_orchestrator.images.file_facts import image_digest
from uad_orchestrator.orchestration.automation import recalibration
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.checks.threshold_steady import compare_thresholds
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.ingestion import folders
from uad_orchestrator.orchestration.ingestion.folders import list_quarantined, take_in, taken_name
from uad_orchestrator.orchestration.ingestion.ingest import (
    IngestionResult,
    accept_quarantined,
    ingest_category,
)
from uad_orchestrator.orchestration.ingestion.votes import Vote, objection, vote_limit
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

CATEGORY = "line7/disc"


def own_images(values: dict[str, Any]) -> None:
    values["datasets"]["line7"] |= {"layout": "folder", "incoming": "arriving"}
    del values["detectors"]["bright"]
    values["automation"] = {"recalibrate": "0 3 * * *", "threshold_shift": 1e-6}


@pytest.fixture(scope="module")
def never_refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workshop = Workshop.build(tmp_path_factory.mktemp("own"), {"line7": ["disc"]}, train=12)
    workshop.edit(own_images)
    (workshop.home / "arriving/disc").mkdir(parents=True)
    return workshop.home


@pytest.fixture(scope="module")
def refreshed(never_refreshed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("refreshed") / "home"
    shutil.copytree(never_refreshed, home)
    assert not Workshop(home).refresh().failed
    return home


@pytest.fixture
def fresh(never_refreshed: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(never_refreshed, tmp_path / "home")
    return Workshop(tmp_path / "home")


@pytest.fixture
def workshop(refreshed: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(refreshed, tmp_path / "home")
    return Workshop(tmp_path / "home")


def arrive(workshop: Workshop, name: str, image: np.ndarray) -> Path:
    path = workshop.home / "arriving/disc" / name
    write_image(path, image)
    return path


def training_normals(workshop: Workshop) -> set[str]:
    return {path.name for path in (workshop.home / "data/line7/disc/train/good").iterdir()}


def take(workshop: Workshop, settled_seconds: float = 0.0) -> IngestionResult:
    project = workshop.project
    return ingest_category(
        open_state(project), open_store(project), EmbedderPool(), CATEGORY, settled_seconds=settled_seconds
    )


def reasons(result: IngestionResult) -> dict[str, str]:
    return {image.path.name: image.reason for image in result.held}


def test_recalibration_takes_normals_in_puts_the_rest_in_quarantine_and_records_what_moved(
    workshop, monkeypatch
):
    monkeypatch.setattr(folders, "SETTLED_SECONDS", 0.0)
    good = [arrive(workshop, f"{i}.PNG", normal_image(300 + i)) for i in range(3)]
    digests = [image_digest(path) for path in good]
    arrive(workshop, "scratched.png", defective_image(300)[0])
    project = workshop.project
    with open_instance(project) as instance:
        definitions = build_definitions(project)
        result = definitions.resolve_job_def("recalibrate").execute_in_process(instance=instance)
        assert result.success
        (metadata,) = [e.step_output_data.metadata for e in result.all_events if e.is_successful_output]
        assert (metadata["taken_in"].value, metadata["quarantined"].value) == (3, 1)
        assert metadata["in_quarantine"].value == 1
        records = [record.data for record in metadata["cells"].records]
        runs = instance.get_runs()
        key = dg.AssetCheckKey(dg.AssetKey("score_table"), "threshold_steady")
        checked = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)

    assert training_normals(workshop) == {f"{i:03d}.png" for i in range(12)} | {
        f"{i}-{d[:12]}.png" for i, d in enumerate(digests)
    }
    assert not any(path.exists() for path in good)
    (held,) = list_quarantined(project.datasets["line7"], "disc")
    assert held.path.name == "scratched.png" and "limit" in held.reason
    assert set(held.scores) == {"patchcore", "dino"}
    assert workshop.plan().stale == ()

    assert {record["detector"] for record in records} == {"patchcore", "dino"}
    for record in records:
        assert record["bank_rows_after"] > record["bank_rows_before"] or record["detector"] == "dino"
        assert record["threshold_before"] is not None and record["false_positive_rate_after"] is not None
    (path,) = (workshop.home / ".uad/recalibrations").iterdir()
    written = json.loads(path.read_text())
    assert [cell["detector"] for cell in written["cells"][CATEGORY]] == ["patchcore", "dino"]
    assert written["cells"][CATEGORY][0]["before"]["n_train"] == 12
    assert written["cells"][CATEGORY][0]["after"]["n_train"] == 15
    assert len(written["intakes"][0]["taken"]) == 3

    assert {run.job_name for run in runs} >= {"recalibrate", "cell"}
    # The shift that is allowed is next to nothing here, so new normals exceed it: a warning, no failed run.
    evaluations = [record.event.dagster_event.asset_check_evaluation_data for record in checked]
    passed = {evaluation.partition: evaluation.passed for evaluation in reversed(evaluations)}
    assert passed.keys() == {f"{CATEGORY}|patchcore", f"{CATEGORY}|dino"}
    assert not passed[f"{CATEGORY}|patchcore"] and "patchcore" in written["warnings"][0]
    run = CellRun(Cell(CATEGORY, "patchcore"), open_state(project), open_store(project))
    found = compare_thresholds(run)
    assert not found.passed and found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["shift"].value == pytest.approx(
        abs(found.metadata["threshold"].value / found.metadata["earlier_threshold"].value - 1)
    )
    workshop.edit(lambda values: values["automation"].update(threshold_shift=1e6))
    run = CellRun(Cell(CATEGORY, "patchcore"), open_state(workshop.project), open_store(workshop.project))
    assert compare_thresholds(run).passed


def test_what_moved_is_recorded_each_time_even_where_a_cell_fails(workshop, monkeypatch):
    monkeypatch.setattr(folders, "SETTLED_SECONDS", 0.0)
    project = workshop.project
    key = dg.AssetCheckKey(dg.AssetKey("score_table"), "threshold_steady")
    with open_instance(project) as instance:
        job = build_definitions(project).resolve_job_def("recalibrate")
        for night, success in enumerate((True, True, False)):
            arrive(workshop, f"{night}.png", normal_image(300 + night))
            if not success:
                monkeypatch.setattr(recalibration, "_failures", lambda refreshed: ["one of them"])
            assert job.execute_in_process(instance=instance, raise_on_error=False).success == success
        checked = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    assert len({record.run_id for record in checked}) == 3 and len(checked) == 6


def test_images_that_are_not_like_the_others_are_quarantined_with_the_reason(fresh):
    home, copies = fresh.home, fresh.home / "arriving/disc"
    shutil.copy(home / "data/line7/disc/train/good/003.png", copies / "again.png")
    shutil.copy(home / "data/line7/disc/test/good/000.png", copies / "tested.png")
    shutil.copy(home / "data/line7/disc/test/scratch/000.png", copies / "defect.png")
    (copies / "damaged.png").write_bytes((copies / "again.png").read_bytes()[:-200])
    (copies / "notes.txt").write_text("no image")
    (copies / ".hidden.png").write_text("a copy that is under way")
    arrive(fresh, "large.png", np.zeros((80, 64, 3), np.uint8))
    arrive(fresh, "grey.png", normal_image(1)[..., 0])
    arrive(fresh, "deep.png", normal_image(1).astype(np.uint16) * 257)
    before = training_normals(fresh)
    found = reasons(take(fresh))
    assert found["again.png"] == "a copy of disc/train/good/003.png"
    assert found["tested.png"] == "a copy of disc/test/good/000.png"
    assert found["defect.png"] == "a copy of disc/test/scratch/000.png"
    assert "decoded" in found["damaged.png"]
    assert "not an image" in found["notes.txt"]
    assert found["large.png"] == "is 64x80 pixels; the category's normals are 64x64"
    assert found["grey.png"] == "is stored as gray8; the category's normals are rgb8"
    assert found["deep.png"] == "is stored as rgb16; the category's normals are rgb8"
    assert len(found) == 8
    held = fresh.home / "arriving/held/disc"
    assert {path.name for path in held.iterdir()} == set(found) | {f"{name}.json" for name in found}
    assert json.loads((held / "large.png.json").read_text())["reason"] == found["large.png"]
    assert training_normals(fresh) == before


def test_excluded_image_does_not_come_back_by_another_door(fresh):
    shutil.copy(fresh.home / "data/line7/disc/train/good/003.png", fresh.home / "arriving/disc/new.png")
    fresh.edit(lambda values: values["datasets"]["line7"].update(exclude=["disc/train/good/003.png"]))
    assert reasons(take(fresh)) == {"new.png": "a copy of disc/train/good/003.png"}


def test_two_arrivals_of_the_same_bytes_count_once(fresh):
    for name in ("a.png", "b.png"):
        arrive(fresh, name, normal_image(300))
    assert reasons(take(fresh))["b.png"] == "a copy of a.png"


def test_without_a_score_table_images_are_quarantined_with_that_reason(fresh):
    arrive(fresh, "new.png", normal_image(300))
    (reason,) = reasons(take(fresh)).values()
    assert "no current score table" in reason and "uad refresh" in reason


def test_image_that_may_still_be_on_its_way_is_left_alone(fresh):
    path = arrive(fresh, "new.png", normal_image(300))
    os.utime(path, (0, 0))  # as a copy that keeps times: ctime says it came just now
    result = take(fresh, settled_seconds=60)
    assert (result.waiting, result.held, path.exists()) == (["new.png"], [], True)


def test_unreadable_file_is_reported_and_the_rest_goes_on(fresh):
    (fresh.home / "arriving/disc/lost.png").symlink_to(fresh.home / "nowhere.png")
    arrive(fresh, "large.png", np.zeros((80, 64, 3), np.uint8))
    result = take(fresh)
    assert set(reasons(result)) == {"large.png"}
    assert len(result.faults) == 1 and "lost.png" in result.faults[0]


def test_ingestion_cut_off_between_copy_and_removal_is_finished(fresh):
    path = arrive(fresh, "new.png", normal_image(300))
    target = fresh.home / "data/line7/disc/train/good" / f"new-{image_digest(path)[:12]}.png"
    shutil.copy(path, target)
    result = take(fresh)
    assert result.taken == [f"disc/train/good/{target.name}"] and not result.held
    assert target.exists() and not path.exists()


def test_names_stay_readable_and_apart(fresh):
    manifest = open_state(fresh.project).manifest(CATEGORY)
    name = taken_name(manifest, "a" * 64, "Part 42, left\n.PNG")
    assert name == f"disc/train/good/Part_42_left-{'a' * 12}.png"
    assert taken_name(manifest, "b" * 64, "Part 42, left\n.PNG") != name
    assert taken_name(manifest, "a" * 64, "....png").startswith("disc/train/good/image-aaaa")
    assert len(PurePosixPath(taken_name(manifest, "a" * 64, "n" * 300 + ".png")).name) < 100


def test_image_replaced_after_it_was_checked_is_not_taken_in(fresh):
    path = arrive(fresh, "new.png", normal_image(300))
    target = fresh.home / "data/line7/disc/train/good/0.png"
    with pytest.raises(folders.ChangedMeanwhileError, match=r"new\.png"):
        take_in(path, target, "0" * 64)
    assert path.exists() and not target.exists()
    assert not [name for name in training_normals(fresh) if name.startswith(".")]


def test_category_that_says_normal_keeps_its_word(fresh):
    folder = fresh.home / "data/line7/disc/train"
    (folder / "good").rename(folder / "normal")
    path = arrive(fresh, "new.JPG.png", normal_image(300))
    fresh.edit(lambda values: values["automation"].update(intake={"detectors": "any"}))
    digest = image_digest(path)
    take(fresh)
    result = accept_quarantined(open_state(fresh.project), CATEGORY)
    assert result.taken == [f"disc/train/normal/new.JPG-{digest[:12]}.png"]


NORMAL, HIGH = Vote(1.0, 2.0), Vote(3.0, 2.0)
FAILED, NEVER = Vote(fault="no current score table"), Vote(fault="no held-out normals", abstains=True)


@pytest.mark.parametrize(
    ("votes", "rules_that_take_it"),
    [
        ([NORMAL], {"any", "majority", "all"}),
        ([HIGH], set()),
        ([NORMAL, HIGH], {"any"}),
        ([NORMAL, NORMAL, HIGH], {"any", "majority"}),
        ([NORMAL, FAILED], {"any"}),
        ([NORMAL, NEVER], {"any", "majority", "all"}),
        ([NEVER], set()),
        ([], set()),
    ],
)
def test_rule_of_the_vote(votes, rules_that_take_it):
    by_name = {f"d{i}": vote for i, vote in enumerate(votes)}
    assert {
        rule for rule in ("any", "majority", "all") if objection(by_name, rule) is None
    } == rules_that_take_it


def test_score_at_the_limit_is_normal():
    """Pitfall 11: anomalous means above the limit, everywhere."""
    assert Vote(2.0, 2.0).normal and not Vote(np.nextafter(2.0, 3.0), 2.0).normal


def test_limit_turns_away_the_share_it_names():
    scores = np.random.default_rng(0).normal(size=1999)
    for quantile in (0.9, 0.95, 0.999):
        above = np.mean(scores > vote_limit(scores, quantile))
        assert abs(above - (1 - quantile)) <= 1 / len(scores)
    assert vote_limit(scores, 1.0) == scores.max()


def test_ingestion_command_lists_and_accepts(fresh):
    arrive(fresh, "large.png", np.zeros((80, 64, 3), np.uint8))
    arrive(fresh, "wide.png", np.zeros((64, 80, 3), np.uint8))
    shutil.copy(fresh.home / "data/line7/disc/train/good/003.png", fresh.home / "arriving/disc/again.png")
    take(fresh)

    def run(*arguments: str) -> tuple[int, Any]:
        result = CliRunner().invoke(app, ["ingest", "--home", str(fresh.home), "--json", *arguments])
        return result.exit_code, json.loads(result.stdout)

    arrive(fresh, "next.png", normal_image(400))
    code, listed = run()
    assert listed["waiting"] == [{"category": CATEGORY, "image": "next.png"}]
    said = CliRunner().invoke(app, ["ingest", "--home", str(fresh.home)]).stdout
    assert "3 in quarantine" in said and "1 new images wait" in said
    (fresh.home / "arriving/disc/next.png").unlink()
    assert code == 0 and {image["image"] for image in listed["held"]} == {
        "large.png",
        "wide.png",
        "again.png",
    }
    code, accepted = run("--accept", "large.png")
    assert code == 0 and len(accepted["categories"][0]["taken"]) == 1
    code, accepted = run("--accept")
    assert code == 1, "a copy is never taken in"
    assert "again.png" in accepted["faults"][0] and len(accepted["categories"][0]["taken"]) == 1
    _, listed = run()
    assert {image["image"] for image in listed["held"]} == {"again.png"}
    assert len(training_normals(fresh)) == 14
    assert run("--accept", "nothing.png")[0] == 1


def test_ingestion_command_says_where_no_images_arrive(fresh):
    fresh.edit(lambda values: values["datasets"]["line7"].pop("incoming"))
    for name in ("ingest", "intake"):  # its name, and its earlier one
        assert CliRunner().invoke(app, [name, "--home", str(fresh.home)]).exit_code == 2


@pytest.fixture
def tick(fresh: Workshop) -> Iterator[Any]:
    with open_instance(fresh.project) as instance:
        definitions = build_definitions(fresh.project)
        schedule = definitions.resolve_schedule_def("recalibrate")

        def look() -> dg.RunRequest | str:
            with dg.build_schedule_context(
                instance=instance, repository_def=definitions.get_repository_def()
            ) as context:
                found = schedule.evaluate_tick(context)
            return found.run_requests[0] if found.run_requests else found.skip_message

        look.instance = instance  # type: ignore[attr-defined]
        yield look


def test_schedule_asks_when_images_have_arrived_and_only_then(fresh, tick):
    assert tick() == "there are no new images"
    arrive(fresh, "new.png", normal_image(300))
    assert tick().tags["uad/incoming"] == CATEGORY
    tick.instance.add_run(dg.DagsterRun(job_name="recalibrate", status=DagsterRunStatus.STARTED))
    assert "still at work" in tick()
    assert (fresh.home / "arriving/disc/new.png").exists(), "a tick moves nothing"


def test_schedule_says_that_another_cron_line_counts_after_a_reload(fresh, tick):
    fresh.edit(lambda values: values["automation"].update(recalibrate="30 4 * * *"))
    assert "uad.yaml says 30 4 * * * now, which counts after Reload definitions" in tick()
    (schedule,) = build_definitions(fresh.project).schedules
    assert schedule.cron_schedule == "30 4 * * *" and "Reload definitions" in schedule.description


def test_schedule_reports_what_it_can_not_read_and_goes_on(fresh, tick):
    fresh.edit(
        lambda values: values["datasets"].update(
            line8={"layout": "folder", "root": "nowhere", "incoming": "lost", "categories": ["disc"]}
        )
    )
    assert "there is no folder" in tick() and "lost" in tick()
    (fresh.home / "arriving/unknown").mkdir()
    assert "no such category" in tick()
    (fresh.home / "arriving/disc/monday").mkdir()
    assert "not looked into" in tick()
    arrive(fresh, "new.png", normal_image(300))
    assert tick().tags["uad/incoming"] == CATEGORY


def test_no_cron_line_no_schedule(fresh):
    fresh.edit(lambda values: values.pop("automation"))
    assert not list(build_definitions(fresh.project).get_repository_def().schedule_defs)
