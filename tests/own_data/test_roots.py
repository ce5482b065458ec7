"""A root that is not there: an error on every command, and nothing of what is known of the dataset is lost."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import dagster as dg
import pytest

from tests.cli.invoke import uad
from tests.own_data.cases import DETECTORS, housing, write_category, write_project
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.project import load_project

SMALL = {"train": 6, "good": 2, "bad": 2}


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refreshed project whose two categories are not named in the file."""
    home = tmp_path_factory.mktemp("computed")
    housing(home, **SMALL)
    write_category(home / "images/cover", **SMALL)
    assert uad("refresh", "--home", home).exit_code == 0
    return home


@pytest.fixture
def home(computed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(computed, tmp_path / "home"))


def away(home: Path) -> None:
    """The share is not mounted."""
    (home / "images").rename(home / "elsewhere")


def emptied(home: Path) -> None:
    """Its mount point is there, and empty."""
    away(home)
    (home / "images").mkdir()


def rows(home: Path) -> dict[str, dict]:
    done = uad("leaderboard", "--home", home, "--json")
    board = json.loads(done.stdout)
    assert done.exit_code == (1 if board["unreachable"] else 0)
    return {row["category"]: row for row in board["rows"]}


@pytest.mark.parametrize("lose", [away, emptied])
def test_it_is_an_error_everywhere_and_the_board_keeps_its_rows(home: Path, lose) -> None:  # type: ignore[no-untyped-def]
    before = rows(home)
    lose(home)
    for command in ("plan", "refresh", "leaderboard", "report"):
        done = uad(command, "--home", home)
        assert done.exit_code == 1, command
        assert "root away since 20" in done.stderr, command
    assert uad("check", "--home", home).exit_code == 1
    after = rows(home)
    assert after.keys() == before.keys() == {"housing", "cover"}
    for category, row in after.items():
        assert row["status"] == "stale"
        assert row["reason"].startswith("root away since 20")
        assert row["image_auroc"] == before[category]["image_auroc"]
        assert row["threshold"] == before[category]["threshold"]
    page = (home / ".uad/report.html").read_text()
    assert "root away since 20" in page

    planned = json.loads(uad("plan", "--home", home, "--json").stdout)
    assert planned["unreachable"].keys() == {"line7"}
    refreshed = json.loads(uad("refresh", "--home", home, "--json").stdout)
    failed = {(node["asset"], node["category"]) for node in refreshed["failed"]}
    assert failed >= {
        ("dataset_category", "line7"),
        ("memory_bank", "line7/housing"),
        ("memory_bank", "line7/cover"),
    }


def test_when_it_is_back_all_is_fresh_again(home: Path) -> None:
    away(home)
    assert uad("refresh", "--home", home).exit_code == 1
    (home / "elsewhere").rename(home / "images")
    done = uad("plan", "--home", home)
    assert done.exit_code == 0
    assert uad("refresh", "--home", home).exit_code == 0
    assert {row["status"] for row in rows(home).values()} == {"fresh"}


def test_the_rows_kept_are_those_of_the_settings_of_today(home: Path) -> None:
    """Going back to earlier settings reuses their report, which is then older than the other one."""
    before, text = rows(home), (home / "uad.yaml").read_text()
    (home / "uad.yaml").write_text(text.replace("contamination: 0.1", "contamination: 0.4"))
    assert uad("refresh", "--home", home).exit_code == 0
    (home / "uad.yaml").write_text(text)
    assert uad("refresh", "--home", home).exit_code == 0
    away(home)
    assert {name: row["version"] for name, row in rows(home).items()} == {
        name: row["version"] for name, row in before.items()
    }


@pytest.mark.parametrize("lose", [away, emptied])
def test_gc_touches_nothing_that_it_uses(home: Path, lose) -> None:  # type: ignore[no-untyped-def]
    day = time.time() - 86400
    for path in (home / ".uad").rglob("*"):
        os.utime(path, (day, day))
    for provenance in (home / ".uad/artifacts").rglob("provenance.json"):
        values = json.loads(provenance.read_text())
        provenance.write_text(json.dumps(values | {"started_at": "2026-01-01T00:00:00+00:00"}))
    lose(home)
    done = uad("gc", "--home", home, "--json")
    found = json.loads(done.stdout)
    assert found["artifacts"] == []
    assert not [left for left in found["leftovers"] if "embeddings" in left["path"]]
    assert found["unreachable"].keys() == {"line7"}
    assert "left alone" in done.stderr


def test_a_click_in_dagster_fails_with_the_reason(home: Path) -> None:
    away(home)
    project = load_project(home)
    definitions = build_definitions(project)
    with open_instance(project) as instance:
        for asset, partition in (
            ("dataset_category", "line7/cover"),
            ("memory_bank", "line7/cover|patchcore"),
        ):
            result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance,
                partition_key=partition,
                asset_selection=[asset_key(project, asset)],
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            assert not result.success
            (failure,) = [
                event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_FAILURE
            ]
            assert "root away since 20" in failure.step_failure_data.error_display_string


def test_a_root_that_never_was_there_fails_too(tmp_path: Path) -> None:
    write_project(tmp_path, root="not-mounted")
    for command in ("plan", "refresh", "leaderboard", "report", "check"):
        done = uad(command, "--home", tmp_path)
        assert done.exit_code == 1, command
        assert "not-mounted" in done.stderr + done.stdout, command
        assert "is the disk or share mounted?" in done.stderr + done.stdout
    with open_instance(load_project(tmp_path)) as instance:
        assert instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))


def test_the_plan_says_once_why_a_category_cannot_be_computed(home: Path) -> None:
    assert uad("plan", "--home", home).exit_code == 0, "the categories are seen at this root"
    (home / "images/cover").rename(home / "cover")
    planned = uad("plan", "--home", home).stdout
    assert planned.count("images/cover is gone since") == 1
    assert planned.count("cannot be computed, as above") == 3 and "memory_bank" in planned
    stale = json.loads(uad("plan", "--home", home, "--json").stdout)["stale"]
    assert sum("is gone since" in reason for node in stale for reason in node["reasons"]) == 4


def test_the_other_dataset_goes_on(tmp_path: Path) -> None:
    write_category(tmp_path / "here/housing", **SMALL)
    gone = "line8: {layout: folder, root: gone, categories: [lid]}"
    datasets = f"datasets:\n  line7: {{layout: folder, root: here}}\n  {gone}\n"
    (tmp_path / "uad.yaml").write_text(datasets + DETECTORS)
    done = uad("refresh", "--home", tmp_path, "--json")
    assert done.exit_code == 1
    result = json.loads(done.stdout)
    assert {(n["asset"], n["category"]) for n in result["materialized"]} >= {
        ("metrics_report", "line7/housing")
    }
    assert {node["category"] for node in result["failed"]} == {"line8", "line8/lid"}
    assert uad("refresh", "--home", tmp_path, "--category", "line7/*").exit_code == 0
    assert uad("plan", "--home", tmp_path, "--category", "housing").exit_code == 0


def test_a_category_folder_that_vanished_is_named_until_it_is_meant_so(home: Path) -> None:
    assert uad("plan", "--home", home).exit_code == 0
    shutil.rmtree(home / "images/cover")
    done = uad("plan", "--home", home)
    assert done.exit_code == 1
    assert "cover is gone since 20" in done.stderr
    kept = rows(home)
    assert (kept["cover"]["status"], kept["housing"]["status"]) == ("stale", "fresh")
    text = (home / "uad.yaml").read_text()
    (home / "uad.yaml").write_text(text.replace("root: images", "root: images, categories: [housing]"))
    assert uad("plan", "--home", home).exit_code == 0
    (home / "uad.yaml").write_text(text)
    assert uad("plan", "--home", home).exit_code == 0, "naming the others once was enough"
    assert rows(home).keys() == {"housing"}


def test_another_root_is_another_dataset(home: Path) -> None:
    write_category(home / "new/lid", **SMALL)
    (home / "uad.yaml").write_text((home / "uad.yaml").read_text().replace("root: images", "root: new"))
    assert uad("plan", "--home", home).exit_code == 0
    assert load_project(home).category_keys() == ["line7/lid"]


def test_a_category_refused_for_its_name_is_never_skipped_in_silence(tmp_path: Path) -> None:
    housing(tmp_path, **SMALL)
    write_category(tmp_path / "images/a,b", **SMALL)
    for command in ("plan", "refresh", "leaderboard", "report", "check"):
        done = uad(command, "--home", tmp_path)
        assert done.exit_code == 1, command
        assert "line7/a,b" in done.stderr + done.stdout
    assert {row["status"] for row in rows(tmp_path).values()} == {"fresh"}


def test_a_lost_record_is_found_in_the_artifacts(home: Path) -> None:
    (home / ".uad/categories.json").unlink()
    away(home)
    done = uad("leaderboard", "--home", home, "--json")
    assert done.exit_code == 1
    board = json.loads(done.stdout)
    assert {row["category"] for row in board["rows"]} == {"housing", "cover"}
    (home / ".uad/categories.json").write_text("{")
    assert uad("plan", "--home", home).exit_code == 1
