"""Dagster's event log in SQLite, without an engine made anew for each event: a sixth of what a run costs.

Not public API of Dagster here: ``SqliteEventLogStorage`` and how it connects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import MethodType
from typing import Any

import dagster as dg

KEPT = 8
"""Engines that are kept: each run has a file of its own, and the index is in use all the time."""


def keep_engines(instance: dg.DagsterInstance) -> None:
    """Let the event log of an opened instance keep its engines, and with them the statements they have compiled.

    Connections are closed after each use, as before. Any other event log than Dagster's usual one stays as it is.
    """
    from dagster._core.storage.event_log import SqliteEventLogStorage

    storage: Any = instance.event_log_storage
    if type(storage) is SqliteEventLogStorage:
        storage._connect = MethodType(_connecting(), storage)  # type: ignore[method-assign]


def _connecting() -> Any:
    from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    @lru_cache(KEPT)
    def engine_of(place: str) -> Any:
        return create_engine(place, poolclass=NullPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @contextmanager
    def connect(self: Any, shard: str) -> Iterator[Any]:
        with self._db_lock:
            engine = engine_of(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    return connect
