"""One odd image among the normals: it is named everywhere, and does not rule the threshold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from tests.cli.invoke import uad
from tests.own_data.cases import housing, picture, save
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.project import load_project

ODD: dict[str, Callable[[Path], None]] = {
    "07_one_grey_normal": lambda path: save(path, picture(3)[0][..., 0]),
    "08_one_defective_normal": lambda path: save(path, picture(205, defect=True)[0]),
}
SAID = {"07_one_grey_normal": "is it one of them?", "08_one_defective_normal": "the same file as"}
"""What its file says besides: the mode is another; the defective one is a copy of a test image."""

NAME = "housing/train/good/003.png"


def board(home: Path) -> dict:
    return json.loads(uad("leaderboard", "--home", home, "--json").stdout)


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> dict:
    home = tmp_path_factory.mktemp("reference")
    housing(home)
    done = uad("refresh", "--home", home, "--json")
    assert json.loads(done.stdout)["warnings"] == []
    return board(home)["rows"][0]


@pytest.fixture(scope="module", params=ODD)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp(request.param)
    root = housing(home)
    ODD[request.param](root / "train/good/003.png")
    done = uad("refresh", "--home", home)
    assert done.exit_code == 0
    assert f"odd_normals: {NAME} scores " in done.stderr
    assert SAID[request.param] in done.stderr
    assert "2 warnings" in done.stdout
    return home


def test_the_threshold_is_about_that_of_the_others(home: Path, tidy: dict) -> None:
    (row,) = board(home)["rows"]
    for what in ("threshold", "pixel_threshold"):
        assert 0.5 < row[what] / tidy[what] < 2
        assert f"left aside, far above the other 11: {NAME}" in row[f"{what}_source"]
    assert row["recall"] > 0.8
    assert row["false_positive_rate"] == tidy["false_positive_rate"]


def test_it_is_named_in_json_board_and_report(home: Path) -> None:
    said = json.loads(uad("refresh", "--home", home, "--json").stdout)["warnings"]
    (found,) = [warning for warning in said if warning["check"] == "odd_normals"]
    assert found == {
        "category": "line7/housing",
        "detector": "patchcore",
        "check": "odd_normals",
        "message": found["message"],
        "images": [NAME],
    }
    assert NAME in found["message"]
    assert board(home)["warnings"] == said
    assert board(home)["rows"][0]["warnings"] == len(said)
    table = uad("leaderboard", "--home", home).stdout
    assert f"⚠{len(said)}" in table
    assert NAME in " ".join(table.split())
    page = Path(uad("report", "--single-file", "--home", home).stdout.strip()).read_text()
    shown = page[page.index("<b>odd normals</b>") : page.index('id="overview"')]
    assert NAME in shown
    assert shown.count("data:image/jpeg") == 2, "the odd one, and an ordinary one beside it"


def test_a_click_in_dagster_judges_by_the_same_rules(home: Path) -> None:
    project = load_project(home)
    definitions = build_definitions(project)
    with open_instance(project) as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            partition_key="line7/housing|patchcore",
            asset_selection=[asset_key(project, "score_table")],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    odd = found.pop("odd_normals")
    assert (odd.passed, odd.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert NAME in (odd.description or "")
    assert all(check.passed for check in found.values())


def test_who_wants_it_counted_gets_it_counted_and_said(home: Path, tidy: dict) -> None:
    text = (home / "uad.yaml").read_text()
    try:
        robust = text.replace("contamination: 0.1", "contamination: 0.1, calibration: {robust: false}")
        (home / "uad.yaml").write_text(robust)
        result = json.loads(uad("refresh", "--home", home, "--json").stdout)
        (found,) = [warning for warning in result["warnings"] if warning["check"] == "odd_normals"]
        assert "it counts" in found["message"]
        assert board(home)["rows"][0]["threshold"] > 20 * tidy["threshold"]
        assert not any(node["asset"] == "memory_bank" for node in result["materialized"])
    finally:
        (home / "uad.yaml").write_text(text)
