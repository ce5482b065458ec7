"""``uad init --cluster``: settings that Dagster and dagster-ray take, and that are never written over others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator

from tests.cli.invoke import uad
from uad_orchestrator.orchestration.dagster_instance import postgres
from uad_orchestrator.orchestration.dagster_instance.settings.cluster import CLUSTER_YAML
from uad_orchestrator.project import load_project

URL, RAY = "postgresql+psycopg2://uad@head/uad", "http://head:8265"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``uad init --cluster`` writes."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("UAD_POSTGRES_URL", URL)
    monkeypatch.setenv("UAD_RAY_ADDRESS", RAY)
    result = uad("init", "--home", tmp_path / "team", "--cluster")
    assert result.exit_code == 0, result.stderr
    assert str(tmp_path / "team/.uad/dagster/dagster.yaml") in result.stderr
    return tmp_path / "team"


@pytest.fixture
def settings(home: Path) -> InstanceRef:
    """The instance's settings as Dagster reads them; the storage is not opened."""
    return InstanceRef.from_dir(str(home / ".uad/dagster"))


def test_records_go_to_the_database_that_the_environment_names(settings: InstanceRef) -> None:
    data = settings.storage_data
    assert data is not None and (data.module_name, data.class_name) == (
        postgres.__name__,
        "DagsterPostgresStorage",
    )
    storage: dict[str, Any] = yaml.safe_load(data.config_yaml)
    assert storage == {"postgres_url": {"env": "UAD_POSTGRES_URL"}}, (
        "the password is in no file, and in no job"
    )


def test_runs_are_jobs_on_ray_that_get_what_they_need(
    settings: InstanceRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = pytest.importorskip("dagster_ray.utils")
    launcher: Any = settings.run_launcher
    assert type(launcher).__name__ == "RayRunLauncher" and launcher.address == RAY
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:9000")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("UAD_HOME", "/srv/team")
    reached = utils.resolve_env_vars_list(launcher.env_vars)
    sent = {"UAD_POSTGRES_URL": URL, "AWS_ENDPOINT_URL": "http://store:9000", "UAD_HOME": "/srv/team"}
    assert reached.items() >= sent.items()
    assert "AWS_SESSION_TOKEN" not in reached


def test_limits_waiting_and_tries_are_as_our_runs_need_them(settings: InstanceRef) -> None:
    assert isinstance(settings.run_coordinator, QueuedRunCoordinator)
    with dg.DagsterInstance.ephemeral(settings=dict(settings.settings)) as instance:
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.pool_granularity is not None
        assert concurrency.pool_config.pool_granularity.value == "op"
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_start_timeout_seconds >= 24 * 3600, "a run waits in Ray's queue"
        assert instance.run_retries_enabled and instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled and not instance.nux_enabled


def test_the_project_keeps_its_artifacts_in_a_bucket_and_its_instance_on_this_machine(home: Path) -> None:
    project = load_project(home)
    assert project.storage.root.startswith("s3://")
    assert Path(project.storage.local) == home / ".uad"
    assert set(project.detectors) == {"patchcore", "patchcore_robust"}, "else as `uad init` writes it"


def test_what_is_there_is_never_written_over(home: Path) -> None:
    settings, project = home / ".uad/dagster/dagster.yaml", home / "uad.yaml"
    settings.write_text("telemetry: {enabled: false}\n")
    project.write_text(project.read_text().replace("s3://<bucket>/<folder>", "s3://ours/uad"))
    written = settings.read_text(), project.read_text()
    refused = uad("init", "--home", home, "--cluster")
    assert refused.exit_code == 2 and str(settings) in refused.stderr
    assert (settings.read_text(), project.read_text()) == written


def test_a_project_that_is_there_gets_the_settings_alone(home: Path) -> None:
    settings, project = home / ".uad/dagster/dagster.yaml", home / "uad.yaml"
    before = project.read_text()
    settings.unlink()
    result = uad("init", "--home", home, "--cluster")
    assert result.exit_code == 0 and "stays as it is" in result.stderr
    assert settings.read_text() == CLUSTER_YAML.read_text() and project.read_text() == before


@pytest.mark.parametrize("command", [("init", "--cluster"), ("refresh",)])
def test_a_file_where_its_folder_should_be_is_named(home: Path, command: tuple[str, ...]) -> None:
    shutil.rmtree(home / ".uad")
    (home / ".uad").write_text("in the way")
    refused = uad(*command, "--home", home)
    assert refused.exit_code == 2
    assert f"a file where a folder is expected; move it away, or name another place: '{home / '.uad'}'" in (
        refused.stderr
    )
    assert (home / ".uad").read_text() == "in the way"
