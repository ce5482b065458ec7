"""Which settings of ``dagster.yaml`` do not fit: one line each, none where all do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._check import CheckError

from uad_orchestrator.orchestration.dagster_instance.instance import DAGSTER_YAML
from uad_orchestrator.orchestration.dagster_instance.settings.cluster import CLUSTER_YAML
from uad_orchestrator.orchestration.dagster_instance.settings.fitting import ProjectFacts, find_misfits

Settings = dict[str, Any]
ENVIRON = {"UAD_POSTGRES_URL": "postgresql+psycopg2://uad@head/uad", "UAD_RAY_ADDRESS": "http://head:8265"}
CLUSTER: Settings = yaml.safe_load(CLUSTER_YAML.read_text())
OWN: Settings = yaml.safe_load(DAGSTER_YAML)
POOLS = ProjectFacts(pools=True)


def misfits(
    settings: Settings, facts: ProjectFacts = POOLS, environ: dict[str, str] = ENVIRON
) -> dict[str, tuple[str, str]]:
    """What does not fit, by key: severity and words."""
    found = find_misfits(settings, environ, facts)
    assert len({misfit.key for misfit in found}) == len(found), "one line each"
    return {misfit.key: (misfit.severity, misfit.said) for misfit in found}


@pytest.mark.parametrize("settings", [CLUSTER, OWN], ids=["uad init --cluster", "one machine"])
def test_what_uad_writes_fits(settings: Settings) -> None:
    assert misfits(settings) == {}


def changed(settings: Settings, change: Callable[[Settings], object]) -> Settings:
    mine = copy.deepcopy(settings)
    change(mine)
    return mine


def without(*path: str) -> Callable[[Settings], object]:
    def change(settings: Settings) -> None:
        for name in path[:-1]:
            settings = settings[name]
        del settings[path[-1]]

    return change


def with_value(value: Any, *path: str) -> Callable[[Settings], object]:
    def change(settings: Settings) -> None:
        for name in path[:-1]:
            settings = settings.setdefault(name, {})
        settings[path[-1]] = value

    return change


START = "run_monitoring.start_timeout_seconds"
RUNS = "concurrency.runs.max_concurrent_runs"
RESUME = "run_monitoring.max_resume_run_attempts"
QUEUED = {"module": "dagster", "class": "QueuedRunCoordinator", "config": {"max_concurrent_runs": 4}}
AT_ONCE = {"module": "dagster", "class": "DefaultRunCoordinator"}


@pytest.mark.parametrize(
    ("change", "key", "severity", "words"),
    [
        (without("storage"), "storage", "error", "SQLite, files of this machine, while RayRunLauncher"),
        (with_value({"sqlite": {"base_dir": "/d"}}, "storage"), "storage.sqlite", "error", "SQLite"),
        (without("storage"), "storage", "error", "expected PostgreSQL in storage, as `uad init"),
        (
            with_value(QUEUED, "run_coordinator"),
            "run_coordinator.config",
            "error",
            "max_concurrent_runs beside",
        ),
        (with_value(4, "run_queue", "max_concurrent_runs"), "run_queue", "error", "Dagster refuses"),
        (with_value(AT_ONCE, "run_coordinator"), "run_coordinator", "warning", "at once"),
        (without("concurrency", "runs"), RUNS, "warning", "is not set, so that 10 runs"),
        (with_value(-1, "concurrency", "runs", "max_concurrent_runs"), RUNS, "warning", "no limit"),
        (with_value(0, "concurrency", "runs", "max_concurrent_runs"), RUNS, "error", "no run ever starts"),
        (with_value(-7, "concurrency", "runs", "max_concurrent_runs"), RUNS, "error", "is -7: no run ever"),
        (
            with_value("run", "concurrency", "pools", "granularity"),
            "concurrency.pools.granularity",
            "warning",
            "is run, expected op",
        ),
        (
            without("concurrency", "pools"),
            "concurrency.pools.granularity",
            "warning",
            "is not set, expected op",
        ),
        (without("run_monitoring"), "run_monitoring.enabled", "warning", "is off, expected true"),
        (without("run_monitoring", "start_timeout_seconds"), START, "warning", "not set, so 180"),
        (with_value(3, *RESUME.split(".")), RESUME, "warning", "is 3: a lost run is resumed in a new job"),
        (with_value(600, "run_monitoring", "start_timeout_seconds"), START, "warning", "is 600"),
        (without("run_retries"), "run_retries.enabled", "warning", "is off, expected true"),
        (with_value(-1, "run_retries", "max_retries"), "run_retries.max_retries", "warning", "is -1"),
        (without("run_retries", "max_retries"), "run_retries.max_retries", "warning", "is 0"),
        (
            without("run_retries", "retry_on_asset_or_op_failure"),
            "run_retries.retry_on_asset_or_op_failure",
            "warning",
            "expected false",
        ),
        (
            with_value(["UAD_HOME", "AWS_REGION=eu"], "run_launcher", "config", "ray", "env_vars"),
            "run_launcher.config.ray.env_vars",
            "warning",
            "does not name UAD_POSTGRES_URL:",
        ),
    ],
)
def test_each_setting_that_does_not_fit_is_named_alone(
    change: Callable[[Settings], object], key: str, severity: str, words: str
) -> None:
    found = misfits(changed(CLUSTER, change))
    assert list(found) == [key]
    assert found[key][0] == severity and words in found[key][1]


@pytest.mark.parametrize("place", ["run_queue", "run_coordinator.config"])
@pytest.mark.parametrize("limit", [0, -7])
def test_a_queue_that_lets_nothing_start_is_named_wherever_it_stands(place: str, limit: int) -> None:
    settings = changed(OWN, without("concurrency"))
    found = misfits(
        changed(settings, with_value(limit, *place.split("."), "max_concurrent_runs")), facts=ProjectFacts()
    )
    assert found == {
        f"{place}.max_concurrent_runs": (
            "error",
            f"is {limit}: no run ever starts; expected how many may run at once",
        )
    }


@pytest.mark.parametrize(
    "launcher", ["K8sRunLauncher", "CeleryK8sRunLauncher", "EcsRunLauncher", "RayRunLauncher"]
)
def test_runs_that_wait_in_a_clusters_queue_are_given_the_time(launcher: str) -> None:
    def change(settings: Settings) -> None:
        settings["run_launcher"]["class"] = launcher
        settings["run_monitoring"]["start_timeout_seconds"] = 300

    assert list(misfits(changed(CLUSTER, change))) == [START]


def test_resuming_by_a_launcher_that_cannot_keeps_dagster_from_starting(tmp_path: Path) -> None:
    settings = changed(OWN, with_value(1, *RESUME.split(".")))
    found = misfits(settings)
    assert list(found) == [RESUME] and found[RESUME][0] == "error"
    assert "DefaultRunLauncher cannot resume a run: Dagster does not start" in found[RESUME][1]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(CheckError, match="does not support resuming"):
        dg.DagsterInstance.from_config(str(tmp_path))
    assert misfits(changed(OWN, with_value(0, *RESUME.split(".")))) == {}
    off = changed(settings, with_value(False, "run_monitoring", "enabled"))
    assert list(misfits(off)) == ["run_monitoring.enabled"], "without monitoring nothing is resumed"


def test_resuming_by_launchers_whose_lost_runs_only_dagster_finds_is_left_alone() -> None:
    def change(settings: Settings) -> None:
        settings["run_launcher"]["class"] = "K8sRunLauncher"
        settings["run_monitoring"]["max_resume_run_attempts"] = 3

    assert misfits(changed(CLUSTER, change)) == {}


def test_runs_that_start_at_once_need_no_longer_timeout() -> None:
    local = changed(CLUSTER, without("run_launcher"))
    assert misfits(changed(local, without("run_monitoring", "start_timeout_seconds"))) == {}
    never = changed(CLUSTER, with_value(0, "run_monitoring", "start_timeout_seconds"))
    assert misfits(never) == {}, "0 is no timeout"


def test_variables_that_are_not_set_are_named_where_they_stand() -> None:
    found = misfits(CLUSTER, environ={"UAD_POSTGRES_URL": ""})
    assert set(found) == {"storage.custom.config.postgres_url", "run_launcher.config.ray.address"}
    assert "UAD_RAY_ADDRESS, which is not set" in found["run_launcher.config.ray.address"][1]


def test_sqlite_fits_one_machine_and_not_several_that_share_a_store() -> None:
    assert misfits(OWN, ProjectFacts(hosts=("head",))) == {}
    found = misfits(OWN, ProjectFacts(hosts=("head", "line7", "line8", "line9")))
    assert list(found) == ["storage"] and found["storage"][0] == "warning"
    assert "4 machines (head, line7, line8)" in found["storage"][1]
    assert (
        misfits(changed(OWN, with_value(CLUSTER["storage"], "storage")), ProjectFacts(hosts=("a", "b"))) == {}
    )


def test_artifacts_in_a_folder_of_this_machine_are_out_of_reach_of_jobs_elsewhere() -> None:
    assert misfits(OWN, ProjectFacts(own_folder=True)) == {}
    found = misfits(CLUSTER, ProjectFacts(own_folder=True))
    assert list(found) == ["run_launcher.class"] and "storage.root" in found["run_launcher.class"][1]


def test_pools_matter_only_to_a_project_that_uses_them() -> None:
    assert misfits(changed(CLUSTER, without("concurrency", "pools")), ProjectFacts()) == {}


def test_stores_that_are_configured_one_by_one_are_looked_at_one_by_one() -> None:
    def change(settings: Settings) -> None:
        del settings["storage"]
        url = {"postgres_url": {"env": "UAD_POSTGRES_URL"}}
        settings["run_storage"] = {"module": "dagster_postgres", "class": "PostgresRunStorage", "config": url}

    assert set(misfits(changed(CLUSTER, change))) == {"event_log_storage.config", "schedule_storage.config"}


@pytest.mark.parametrize(
    "odd",
    [
        {"concurrency": 3},
        {"storage": 3},
        {"run_launcher": []},
        {"run_launcher": {"class": "RayRunLauncher", "config": {"ray": {"env_vars": 5}}}},
        {"run_retries": "on"},
    ],
)
def test_settings_that_are_no_settings_break_nothing(odd: Settings) -> None:
    """Dagster refuses them, which is said by who asks Dagster."""
    find_misfits(OWN | odd, ENVIRON, POOLS)
