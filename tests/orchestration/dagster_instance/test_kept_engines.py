"""What ``kept_engines.py`` takes from Dagster, held against the installed version."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.storage.event_log import SqliteEventLogStorage

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.kept_engines import keep_engines
from uad_orchestrator.project import demo_project


@dg.asset
def looked_at() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("one"))


@contract("kept_engines.py", "connects to the event log of a run, or to its index, by the name of the file")
def test_an_engine_is_made_once_per_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    made: Counter[str] = Counter()
    create = sqlalchemy.create_engine

    def counted(place: str, **options: Any) -> Any:
        made[Path(place).stem] += 1
        return create(place, **options)

    monkeypatch.setattr(sqlalchemy, "create_engine", counted)
    with open_instance(demo_project(tmp_path)) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage, "dagster.yaml names none"
        runs = [dg.materialize([looked_at], instance=instance).run_id for _ in range(2)]
        assert all(instance.all_logs(run) for run in runs)
        assert made == {"index": 1, **dict.fromkeys(runs, 1)}
    with open_instance(demo_project(tmp_path)) as again:
        event = again.get_latest_materialization_event(dg.AssetKey("looked_at"))
        assert event is not None and event.run_id == runs[-1]


def test_another_event_log_stays_as_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        before = dict(vars(instance.event_log_storage))
        keep_engines(instance)
        assert vars(instance.event_log_storage).keys() == before.keys()
