"""The URL of the database that settings name, whole or in parts."""

from __future__ import annotations

import pytest

from uad_orchestrator.orchestration.dagster_instance.settings.storages import (
    Storage,
    database_url,
    storages,
)

pytest.importorskip("dagster_postgres")
SECRET = "hunter/2@night"  # pragma: allowlist secret
PARTS = {"username": "uad", "password": {"env": "PG_WORD"}, "hostname": "db", "db_name": "uad"}


def test_the_url_is_the_one_that_dagster_makes_of_the_parts() -> None:
    from dagster_postgres.utils import get_conn_string
    from sqlalchemy import make_url

    parts = {**PARTS, "port": 5433, "scheme": "postgresql+psycopg2", "params": {"sslmode": "require"}}
    storage = Storage("storage.postgres", "postgres", {"postgres_db": parts})
    expected = make_url(get_conn_string(**{**parts, "password": SECRET}))
    assert database_url(storage, {"PG_WORD": SECRET}) == expected
    assert database_url(storage, {}) is None, "the variable is not set"


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ("our.postgres.DagsterPostgresStorage", "postgres"),
        ("dagster_mysql.DagsterMySQLStorage", "mysql"),
        ("a.Store", "custom"),
    ],
)
def test_a_storage_that_is_named_by_its_class_is_of_its_kind(named: str, kind: str) -> None:
    module, _, name = named.rpartition(".")
    custom = {"module": module, "class": name, "config": {"postgres_url": "x"}}
    assert storages({"storage": {"custom": custom}}) == [
        Storage("storage.custom.config", kind, {"postgres_url": "x"})
    ]
    assert storages({"storage": {"custom": {}}})[0].kind == "custom", "Dagster says what is missing"
