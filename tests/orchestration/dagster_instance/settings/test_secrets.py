"""Passwords that settings name do not get into what is said."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from uad_orchestrator.orchestration.dagster_instance.settings.secrets import passwords, without


@pytest.mark.parametrize("secret", ["hunter2", "p@ss/word", "50%", "päss:word"])
def test_a_secret_is_taken_out_however_it_is_written(secret: str) -> None:
    for written in (secret, quote(secret, safe=""), quote(secret)):
        assert without(f"no entry for uad:{written}@db", secret) == "no entry for uad:***@db"


def test_the_passwords_are_those_of_urls_and_of_parts_from_the_file_or_the_environment() -> None:
    url = "postgresql://uad:in%40url@db/uad"  # pragma: allowlist secret
    whole = {"storage": {"postgres": {"postgres_url": url}}}
    assert list(passwords(whole, {})) == ["in@url"]
    parts = {"username": "uad", "password": {"env": "PG_WORD"}, "hostname": "db", "db_name": "uad"}
    named = {"storage": {"postgres": {"postgres_db": parts}}}
    assert set(passwords(named, {"PG_WORD": "said"})) == {"said"}
    assert list(passwords(named, {})) == list(passwords({}, {})) == []
