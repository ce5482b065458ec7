"""The database that settings name: its driver, its answer, and that no message repeats a password."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from sqlalchemy.exc import SQLAlchemyError

from tests.cli.invoke import uad
from tests.orchestration.workshop import Workshop
from tests.postgres_server import PASSWORD, empty_database, postgres_url
from uad_orchestrator.orchestration.dagster_instance.settings import database
from uad_orchestrator.orchestration.dagster_instance.settings.database import (
    opened_alone,
    unusable,
)
from uad_orchestrator.orchestration.dagster_instance.settings.storages import storages
from uad_orchestrator.orchestration.services.project_check.instance import instance_problems

pytest.importorskip("dagster_postgres")
SECRET = "hunter/2@night"  # pragma: allowlist secret
WRITTEN = quote(SECRET, safe="")
PARTS = {"username": "uad", "password": {"env": "PG_WORD"}, "hostname": "db", "db_name": "uad"}


def storage(**config: Any) -> Any:
    return storages({"storage": {"postgres": config}})[0]


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({"postgres_url": f"postgresql://uad:{WRITTEN}@db/uad"}, "postgres_url", "psycopg is not installed"),
        ({"postgres_url": f"postgres://uad:{WRITTEN}@db/uad"}, "postgres_url", "postgresql+psycopg2://"),
        (
            {"postgres_url": f"postgresql+psycopg2//uad:{SECRET}@db/uad"},
            "postgres_url",
            "is no URL of a database",
        ),
        (
            {"postgres_url": f"postgresql+psycopg2://uad:{SECRET}@db/uad"},
            "postgres_url",
            "is no URL of a database",
        ),
        ({"postgres_url": f"sqlite://uad:{WRITTEN}@db/uad"}, "postgres_url", "which is not PostgreSQL's"),
        ({"postgres_db": PARTS}, "postgres_db", "psycopg is not installed"),
        ({"postgres_db": {**PARTS, "port": SECRET}}, "postgres_db", "is no URL of a database"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_with_what_to_write(
    config: dict[str, Any], key: str, words: str
) -> None:
    fault = unusable(storage(**config), {"PG_WORD": SECRET})
    assert fault is not None and fault.key == f"storage.postgres.{key}"
    assert words in fault.said and "postgresql+psycopg2://USER" in fault.said
    assert "hunter" not in fault.said and "night" not in fault.said


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_url() as url:
        yield url


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], dict[str, str]]:
    """What ``uad check`` finds in an instance whose settings were changed."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]}, train=1)

    def check(change: Any) -> dict[str, str]:
        path = tmp_path / ".uad/dagster/dagster.yaml"
        assert uad("init", "--home", tmp_path, "--cluster").exit_code == 0
        settings = yaml.safe_load(path.read_text())
        change(settings)
        path.write_text(yaml.safe_dump(settings))
        workshop.edit(lambda values: values["storage"].update(root="s3://ours/uad", local=".uad"))
        found = {problem.where: problem.problem for problem in instance_problems(workshop.project)}
        assert not (tmp_path / ".uad/dagster/history").exists(), "looking makes nothing"
        path.unlink()
        return found

    return check


def test_what_uad_init_writes_fits_once_its_variables_are_set(
    said: Callable[[Any], dict[str, str]], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dagster_ray")
    monkeypatch.setenv("UAD_RAY_ADDRESS", "http://head:8265")
    monkeypatch.setenv("UAD_POSTGRES_URL", empty_database(server))
    assert said(lambda settings: None) == {}
    monkeypatch.delenv("UAD_POSTGRES_URL")
    assert list(said(lambda settings: None)) == ["dagster.yaml: storage.custom.config.postgres_url"]


def test_a_server_that_refuses_or_is_not_there_is_said_without_the_password(
    said: Callable[[Any], dict[str, str]], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        nobody = f"postgresql+psycopg2://uad:{quote(SECRET, safe='')}@127.0.0.1:{port}/uad"
        monkeypatch.setenv("UAD_POSTGRES_URL", nobody)
        (line,) = said(lambda settings: settings.pop("run_launcher")).values()
    assert "127.0.0.1, database uad" in line and "Connection refused" in line and "hunter" not in line
    monkeypatch.setenv("UAD_POSTGRES_URL", server.replace("p%40ss", "hunter"))
    (line,) = said(lambda settings: settings.pop("run_launcher")).values()
    assert "password authentication failed" in line and "hunter" not in line and PASSWORD not in line


def test_a_launcher_that_refuses_its_settings_is_said(
    said: Callable[[Any], dict[str, str]], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dagster_ray")
    monkeypatch.setenv("UAD_POSTGRES_URL", server)
    found = said(lambda settings: settings["run_launcher"].update(config={"address": "http://head:8265"}))
    assert "RayRunLauncher refuses it" in found["dagster.yaml: run_launcher.config"]
    found = said(lambda settings: settings["run_launcher"].update(module="no_such_launcher"))
    assert "no_such_launcher" in found["dagster.yaml: run_launcher.module"]


def test_what_dagster_refuses_is_said_in_its_words(
    said: Callable[[Any], dict[str, str]], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_POSTGRES_URL", server)
    monkeypatch.setenv("UAD_RAY_ADDRESS", "http://head:8265")
    found = said(lambda settings: settings["run_monitoring"].update(pol_interval=3))
    assert list(found) == ["dagster.yaml"] and "pol_interval" in found["dagster.yaml"]


def test_a_process_that_was_stopped_while_it_made_tables_holds_up_nobody_for_ever(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"storage": {"postgres": {"postgres_url": empty_database(server)}}}
    monkeypatch.setattr(database, "LOCK_SECONDS", 1)
    refused = pytest.raises(SQLAlchemyError, match="lock timeout")
    with opened_alone(settings, {}), refused, opened_alone(settings, {}):
        pass
    with opened_alone(settings, {}):
        pass
