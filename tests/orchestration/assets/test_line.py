"""The assets of the line and their checks, through Dagster."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from tests.inference.records.made_up import write_parquet
from tests.orchestration.watched_line import CELL, WatchedLine
from tests.orchestration.workshop import normal_image, write_image
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.inference.records.health import LineHealth, Share
from uad_orchestrator.inference.records.record_files import cell_folder
from uad_orchestrator.orchestration.assets import line_partitions
from uad_orchestrator.orchestration.assets.line_partitions import cell_and_day, day_key, first_day, today
from uad_orchestrator.orchestration.cells import line_normals
from uad_orchestrator.orchestration.cells.findings.line_rules import alarm_rate
from uad_orchestrator.orchestration.cells.line_day import kept_days, kept_health
from uad_orchestrator.orchestration.cells.line_normals import calibration_normals
from uad_orchestrator.orchestration.cells.points_in_use import image_point
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_versions
from uad_orchestrator.project.settings.line import LineSettings

DAY = "2026-11-20"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> WatchedLine:
    return WatchedLine.build(tmp_path_factory.mktemp("line"))


@pytest.fixture
def line(built: WatchedLine, tmp_path: Path) -> WatchedLine:
    return built.copied_to(tmp_path / "line")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def figures_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key.path[-1] == asset]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def versions(instance: dg.DagsterInstance, line: WatchedLine, day: str) -> list[str]:
    names, key = ("line_records", "line_health"), str(day_key(CELL, day))
    return [recorded_versions(instance, line.workshop.project, name, [key])[key] for name in names]


def test_without_records_nothing_is_there(built: WatchedLine, tmp_path: Path) -> None:
    line = built.copied_to(tmp_path / "plain")
    line.workshop.edit(lambda values: values.pop("line"))
    definitions = build_definitions(line.workshop.project)
    names = {key.path[-1] for key in definitions.resolve_all_asset_keys()}
    assert not names & {"line_records", "line_health"} and "score_table" in names
    assert "line_days" not in {sensor.name for sensor in definitions.sensors or []}


def test_a_usual_day_passes_and_shows_its_figures(line: WatchedLine, instance: dg.DagsterInstance) -> None:
    line.record(DAY, 120)
    result = line.materialize(instance, DAY)
    assert result.success
    found = checks_of(result)
    assert {name: check.passed for name, check in found.items()} == {
        "score_drift": True, "look_drift": True, "alarm_rate": True
    }  # fmt: skip
    assert {check.partition for check in found.values()} == {str(day_key(CELL, DAY))}
    assert {check.metadata["decided"].value for check in found.values()} == {True}
    records, health = figures_of(result, "line_records"), figures_of(result, "line_health")
    assert records["dagster/row_count"] == health["parts"] == 120
    assert records["pass"] + records.get("reject", 0) == 120
    assert health["rejected_promised"] == pytest.approx(image_point(line.run).guaranteed_rate)
    assert {"score_ks", "brightness_wasserstein", "seconds_p95", "rejected_low"} <= set(health)
    assert all(
        isinstance(health[name], float) for name in health if name.endswith(("_ks", "_p95", "rejected"))
    )
    kept = LineHealth.model_validate_json(Path(health["health_json"]).read_bytes())
    assert kept == kept_health(line.workshop.project, CELL, DAY)
    assert kept_days(line.workshop.project, CELL) == [kept]


def test_a_day_in_other_light_and_one_with_other_scores_are_said(
    line: WatchedLine, instance: dg.DagsterInstance
) -> None:
    line.record("2026-11-21", 120, light=0.1)
    line.record("2026-11-22", 120, score=6.0)
    light, scores = (checks_of(line.materialize(instance, f"2026-11-{day}")) for day in (21, 22))
    assert [light[name].passed for name in ("score_drift", "look_drift", "alarm_rate")] == [True, False, True]
    assert [scores[name].passed for name in ("score_drift", "look_drift", "alarm_rate")] == [
        False,
        True,
        False,
    ]
    said = str(light["look_drift"].description)
    assert (
        "brightness up" in said and "red up" in said and "sharpness" not in said and "24 calibration" in said
    )
    assert light["look_drift"].severity is dg.AssetCheckSeverity.WARN
    assert "more parts than promised are rejected" in str(scores["alarm_rate"].description)


def test_more_than_promised_above_both_limits_is_one_sentence() -> None:
    above = Share(count=43, parts=100, share=0.43, low=0.33, high=0.53, promised=0.03, expected=0.03, p=1e-7)
    health = LineHealth(
        category="line7/housing", detector="p", day=DAY, records="", stamp="", parts=100,
        shares={"rejected": above, "alarms": above},
    )  # fmt: skip
    said = alarm_rate(health, LineSettings()).said
    assert said.startswith("more parts than promised are rejected or in review; rejected: 43 of 100")
    assert "; rejected or in review: 43 of 100" in said
    only = health.model_copy(update={"shares": {"rejected": above}})
    assert "promised are rejected; " in alarm_rate(only, LineSettings()).said


def test_few_parts_decide_nothing(line: WatchedLine, instance: dg.DagsterInstance) -> None:
    line.record(DAY, 49, light=0.5)
    found = checks_of(line.materialize(instance, DAY))["look_drift"]
    assert found.passed and found.metadata["decided"].value is False
    assert "49 parts: 50 are needed" in str(found.description)
    line.workshop.edit(lambda values: values["line"].update(min_parts=20))
    assert not checks_of(line.materialize(instance, DAY))["look_drift"].passed, (
        "settings are read by every run"
    )


def test_the_version_of_a_day_is_that_of_its_records(line: WatchedLine, instance: dg.DagsterInstance) -> None:
    line.record(DAY, 60)
    line.materialize(instance, DAY)
    first = versions(instance, line, DAY)
    folder = cell_folder(line.folder, CELL.category, CELL.detector) / DAY
    records = line.records(DAY, 60)
    shutil.rmtree(folder)
    write_parquet(line.folder, records[30:], "b.parquet")
    write_parquet(line.folder, records[:30], "a.parquet")
    line.materialize(instance, DAY)
    assert versions(instance, line, DAY) == first, "the same records in other files"
    line.record(DAY, 5, seed=1)
    line.materialize(instance, DAY)
    assert all(a != b for a, b in zip(versions(instance, line, DAY), first, strict=True))


def test_a_recalibrated_cell_is_judged_by_the_normals_its_bundle_has(line: WatchedLine) -> None:
    threshold = image_point(line.run).threshold
    before = calibration_normals(line.run, threshold)
    assert len(before.scores) == 24 and len(before.looks["red"]) == 24 and not before.missing
    images = line.workshop.home / "data/alpha/disc/train/good"
    for number in range(4):
        write_image(images / f"new{number}.png", normal_image(900 + number) // 10 * 9)
    assert not line.workshop.refresh().failed
    after = image_point(line.run).threshold
    assert after != threshold
    assert len(calibration_normals(line.run, after).scores) == 28
    assert calibration_normals(line.run, threshold) == before, "the line goes on with the bundle it has"
    unknown = calibration_normals(line.run, 17.25)
    assert unknown.scores == () and "17.25" in unknown.missing["score"]


def test_a_threshold_is_that_of_the_table_calibrated_to_it_though_a_newer_one_has_the_score(
    line: WatchedLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    threshold = image_point(line.run).threshold
    (table,) = line_normals._score_tables(line.run)
    more = [replace(row, image=f"new{n}", score=threshold * 2 + n) for n, row in enumerate(table.normals[:6])]
    newer = table._replace(
        normals=[*table.normals, *more], point=replace(table.point, threshold=threshold * 2)
    )
    monkeypatch.setattr(line_normals, "_score_tables", lambda run: iter([newer, table]))
    assert len(calibration_normals(line.run, threshold).scores) == 24
    assert len(calibration_normals(line.run, threshold * 2).scores) == 30
    # The old table was removed: the new one is not taken for it, but serves another rate of its own model.
    monkeypatch.setattr(line_normals, "_score_tables", lambda run: iter([newer]))
    model = DetectorState.load(line.run.directory("memory_bank")).digest()
    assert "score" in calibration_normals(line.run, threshold, "of another bundle").missing
    assert len(calibration_normals(line.run, threshold, model).scores) == 30


def test_normals_that_are_gone_are_said(line: WatchedLine) -> None:
    threshold = image_point(line.run).threshold
    shutil.rmtree(line.workshop.home / "data")
    found = calibration_normals(line.run, threshold)
    assert len(found.scores) == 24 and not found.looks and "look" in found.missing


def test_the_looks_of_normals_are_kept(line: WatchedLine, monkeypatch: pytest.MonkeyPatch) -> None:
    threshold = image_point(line.run).threshold
    first = calibration_normals(line.run, threshold)
    monkeypatch.setattr("uad_orchestrator.orchestration.cells.line_normals.look_at", lambda source: 1 / 0)
    assert calibration_normals(line.run, threshold) == first


def test_partitions_are_cells_and_days(built: WatchedLine, tmp_path: Path) -> None:
    project = built.workshop.project
    assert first_day(project) == "2026-11-01"
    partitions = build_definitions(project).resolve_assets_def(dg.AssetKey("line_health")).partitions_def
    assert partitions is not None
    for day in ("2026-11-01", today()):
        assert partitions.has_partition_key(str(day_key(CELL, day)))
    tomorrow = (date.fromisoformat(today()) + timedelta(days=1)).isoformat()
    assert not partitions.has_partition_key(str(day_key(CELL, tomorrow)))
    assert cell_and_day(str(day_key(CELL, DAY))) == (CELL, DAY)
    for wrong in (
        "alpha/disc|2026-11-20",
        "alpha:disc|2026-11-20",
        "alpha/disc:patchcore",
        "alpha/disc:patchcore|x",
    ):
        with pytest.raises(ValueError):
            cell_and_day(wrong)
    found = built.copied_to(tmp_path / "found")
    found.workshop.edit(lambda values: values["line"].pop("start"))
    assert first_day(found.workshop.project) == today()
    found.record("2026-10-05", 1)
    found.record("2026-10-07", 1)
    found.record("1970-01-01", 1)
    assert first_day(found.workshop.project) == "2026-10-05"


def test_the_benchmark_loads_while_the_records_cannot_be_reached(
    line: WatchedLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.workshop.edit(lambda values: values["line"].pop("start"))

    def away(*_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(line_partitions, "recorded_days", away)
    assert first_day(line.workshop.project) == today()
    dg.Definitions.validate_loadable(build_definitions(line.workshop.project))


def test_loading_reads_no_record(line: WatchedLine, monkeypatch: pytest.MonkeyPatch) -> None:
    line.record(DAY, 3)
    monkeypatch.setattr("uad_orchestrator.inference.records.record.LineRecord.from_json", lambda *_: 1 / 0)
    monkeypatch.setattr(pq, "read_table", lambda *_, **__: 1 / 0)
    dg.Definitions.validate_loadable(build_definitions(line.workshop.project))


def test_the_benchmark_does_not_depend_on_the_line(line: WatchedLine) -> None:
    before = line.workshop.plan().stale
    line.record(DAY, 60)
    line.workshop.edit(lambda values: values["line"].update(min_parts=7))
    assert line.workshop.plan().stale == before
