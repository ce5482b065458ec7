"""dagster-postgres' storage, which keeps its connections; for ``storage.custom`` in ``dagster.yaml``.

Not public API of Dagster here: the three storages that one consists of, how they are opened and closed, and how they
ask which tables and columns there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster_postgres
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

from uad_orchestrator.orchestration.dagster_instance.connections.postgres import hold

if TYPE_CHECKING:
    from sqlalchemy import Engine


class _Held:
    """Put before a storage of dagster-postgres."""

    _engine: Engine

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._there: set[str] = set()
        super().__init__(*arguments, **named)
        hold(self)

    def is_there(self, what: str, ask: Callable[[], bool]) -> bool:
        """Whether a table or column is there. What is there stays; Dagster would ask again at each event."""
        if what not in self._there and ask():
            self._there.add(what)
        return what in self._there

    def dispose(self) -> None:
        """Close what is held, too: a code server opens an instance for each tick."""
        super().dispose()  # type: ignore[misc]
        self._engine.dispose()

    def optimize_for_webserver(self, *arguments: Any, **named: Any) -> None:
        """Close what is held before it is held otherwise."""
        held = self._engine
        super().optimize_for_webserver(*arguments, **named)  # type: ignore[misc]
        held.dispose()


class _Schedules(_Held, dagster_postgres.PostgresScheduleStorage):
    pass


class _Events(_Held, dagster_postgres.PostgresEventLogStorage):
    def has_table(self, table_name: str) -> bool:
        return self.is_there(table_name, partial(super().has_table, table_name))

    def has_asset_key_col(self, column_name: str) -> bool:
        return self.is_there(f"asset_keys.{column_name}", partial(super().has_asset_key_col, column_name))


class _Runs(_Held, dagster_postgres.PostgresRunStorage):
    """Closes the schedules with it, which Dagster's instance does not dispose of."""

    def __init__(self, schedules: _Schedules, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._schedules = schedules

    def has_run_stats_index_cols(self) -> bool:
        return self.is_there("runs.start_time", super().has_run_stats_index_cols)

    def has_backfill_id_column(self) -> bool:
        return self.is_there("runs.backfill_id", super().has_backfill_id_column)

    def dispose(self) -> None:
        super().dispose()
        self._schedules.dispose()


class DagsterPostgresStorage(DagsterStorage, ConfigurableClass):
    """Runs, events and schedules in PostgreSQL; its ``config`` is what ``storage.postgres`` takes."""

    def __init__(self, config: Mapping[str, Any], inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        url, create = pg_url_from_config(config), config.get("should_autocreate_tables", True)
        token = get_token_provider_from_config(config)
        self._schedules = _Schedules(url, create, token_provider=token)
        self._events = _Events(url, create, token_provider=token)
        self._runs = _Runs(self._schedules, url, create, token_provider=token)
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What of ``dagster.yaml`` it was made from."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        """Dagster's check of the settings."""
        return dagster_postgres.DagsterPostgresStorage.config_type()

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterPostgresStorage:
        """How Dagster makes one."""
        return cls(config_value, inst_data)

    @property
    def run_storage(self) -> dagster_postgres.PostgresRunStorage:
        """Of runs."""
        return self._runs

    @property
    def event_log_storage(self) -> dagster_postgres.PostgresEventLogStorage:
        """Of their events."""
        return self._events

    @property
    def schedule_storage(self) -> dagster_postgres.PostgresScheduleStorage:
        """Of schedules, sensors and their ticks."""
        return self._schedules
