"""Twelve normals for a false-positive rate of 0.05: what they guarantee is said wherever the threshold stands."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from tests.cli.invoke import uad
from tests.own_data.cases import housing
from uad_orchestrator.orchestration.assets.metadata import describe_stage
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import load_project

PROMISE = {"guaranteed_rate": 1 / 13, "false_positive_limit": 1 - 0.05 ** (1 / 12)}
SAID = "contamination 0.05 is asked for, 0.077 is guaranteed: 12 normals set the threshold, 19 are needed"


def promised(values: dict, prefix: str = "") -> dict:
    return {name: values[f"{prefix}{name}"] for name in PROMISE}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("few")
    housing(home)
    settings = home / "uad.yaml"
    settings.write_text(settings.read_text().replace("contamination: 0.1", "contamination: 0.05"))
    done = uad("refresh", "--home", home)
    assert done.exit_code == 0
    assert done.stderr.count("enough_normals: ") == 1 and SAID in done.stderr
    return home


def test_the_board_and_the_report_have_it_once_per_cell(home: Path) -> None:
    board = json.loads(uad("leaderboard", "--home", home, "--json").stdout)
    (row,), (warning,) = board["rows"], board["warnings"]
    assert promised(row) == promised(row, "pixel_") == pytest.approx(PROMISE)
    assert (warning["check"], row["warnings"]) == ("enough_normals", 1)
    assert ", guaranteed 0.077: 19 or more are needed" in row["threshold_source"]
    heads, _, figures = uad("leaderboard", "--home", home, "--format", "md").stdout.splitlines()[:3]
    columns = dict(zip(heads.split(" | "), figures.split(" | "), strict=True))
    assert (columns["guaranteed FPR"], columns["FPR limit"]) == ("0.077", "0.221")
    page = Path(uad("report", "--single-file", "--home", home).stdout.strip()).read_text()
    assert SAID in page
    assert "The chance that a new normal lies above the threshold, at most. 0.077." in page
    assert page.count("<td>0.077</td><td>0.221</td>") == 2, "image and pixel threshold"


def test_a_bundle_says_it_and_refuses_what_it_cannot_hold(home: Path) -> None:
    bundle = home / "bundle"
    assert uad("export", "bundle", "--home", home, "--output", bundle).exit_code == 0
    card = (bundle / "MODEL_CARD.md").read_text()
    assert card.count("| 12 | 0.05 | 0.0769 | 0.221 |") == 2
    assert f"- enough_normals: {SAID}" in card
    report = json.loads((bundle / "metrics.json").read_text())
    assert promised(report["image_operating_point"]) == pytest.approx(PROMISE)
    images = home / "images/housing/test/good"
    told = json.loads(uad("infer", "--bundle", bundle, "--json", images).stdout)
    assert promised(told["thresholds"]["image"]) == pytest.approx(PROMISE)
    assert told["thresholds"]["image"]["threshold"] == told["threshold"]
    refused = uad("export", "bundle", "--home", home, "--output", home / "no", "--fpr", "0.05")
    assert refused.exit_code == 1 and "19 or more are needed" in refused.stderr


def test_dagster_shows_it_and_judges_by_the_same_rule(home: Path) -> None:
    project = load_project(home)
    state, store = open_state(project), open_store(project)
    run = CellRun(state.cells[0], state, store)
    for asset, prefixes in {
        "score_table": ("",),
        "anomaly_maps": ("pixel_",),
        "metrics_report": ("", "pixel_"),
    }.items():
        shown = describe_stage(asset, run.directory(asset), run.provenance(asset))
        for prefix in prefixes:
            assert promised(shown, prefix) == pytest.approx(PROMISE)
    with open_instance(project) as instance:
        result = (
            build_definitions(project)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                partition_key="line7/housing|patchcore",
                asset_selection=[asset_key(project, name) for name in ("score_table", "anomaly_maps")],
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert "odd_maps" in found
    enough = found.pop("enough_normals")
    assert (enough.passed, enough.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert SAID in (enough.description or "")
    assert all(check.passed for check in found.values())
