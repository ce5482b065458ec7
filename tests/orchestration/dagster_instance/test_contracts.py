"""A contract that Dagster breaks is said in one plain sentence."""

from __future__ import annotations

import dagster as dg
import pytest

from tests.orchestration.dagster_instance.contracts import contract


@contract("event_log.py", "numbers materialisations")
def numbered() -> None:
    """Holds as long as there is such a method."""
    assert callable(dg.DagsterInstance.get_latest_storage_id_by_partition), "not a method any more"


def test_a_contract_that_holds_says_nothing() -> None:
    numbered()


def test_a_broken_contract_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg.DagsterInstance, "get_latest_storage_id_by_partition", 3)
    with pytest.raises(pytest.fail.Exception) as raised:
        numbered()
    assert str(raised.value) == (
        f"Dagster {dg.__version__} no longer numbers materialisations; dagster_instance/event_log.py relies on it "
        "(not a method any more)"
    )
