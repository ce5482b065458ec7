"""What Dagster's storages keep from question to question: connections to PostgreSQL, engines of SQLite.

dagster-postgres opens a connection for each question, but in the web server. That costs more than most questions do,
here and at the server, and a daemon that launches runs asks hundreds a minute, as a cell's run does. In SQLite it is
the engine that is made anew each time, with all that it finds out of its database and the statements it compiles: a
third of the processor seconds of a refresh of small cells.

Not public API of Dagster here: ``optimize_for_webserver``, the engine of a storage in PostgreSQL, and how the storages
in SQLite connect.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

Connect = Callable[..., Any]

HELD_SECONDS, MOST_MORE = 60, 20
"""How old a connection may be that is used again, and how many may be open beside it, closed after use."""

BUSY_SECONDS = 30.0
"""For which a database in SQLite is waited for that another process writes to; as Dagster does."""


def hold(storage: Any) -> None:
    """Let a storage of dagster-postgres keep a connection; one that the server has closed is replaced before its use.

    What it was opened with is left to whoever has it.
    """
    from sqlalchemy import event

    storage.optimize_for_webserver(statement_timeout=0, pool_recycle=HELD_SECONDS, max_overflow=MOST_MORE)
    event.listen(storage._engine, "checkout", _refuse_closed)


@contextmanager
def held_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """While an instance keeps what its storages would make anew for each question.

    In PostgreSQL these are connections, where its settings name a storage that does not keep them by itself; in SQLite
    engines: connections are opened and closed as before, and lock as before. Elsewhere, and while all of it is kept
    already, nothing happens.
    """
    storages = [instance.event_log_storage, instance.run_storage, instance.schedule_storage]
    with ExitStack() as kept:
        kept.enter_context(_held_in_postgres(storages))
        for storage in storages:
            kept.enter_context(_one_engine(storage))
        yield


@contextmanager
def _held_in_postgres(storages: list[Any]) -> Iterator[None]:
    from sqlalchemy.pool import NullPool

    postgres = [one for one in storages if type(one).__module__.startswith("dagster_postgres.")]
    engines = [one._engine for one in postgres]
    if not any(isinstance(engine.pool, NullPool) for engine in engines):
        yield
        return
    for storage in postgres:
        hold(storage)
    try:
        yield
    finally:
        for storage, engine in zip(postgres, engines, strict=True):
            storage._engine.dispose()
            storage._engine = engine


def _refuse_closed(connection: Any, record: object, proxy: object) -> None:
    """Before a connection that was held is used; the pool opens another where this says that it is closed."""
    from sqlalchemy.exc import DisconnectionError

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except connection.Error as error:
        raise DisconnectionError from error


@contextmanager
def _one_engine(storage: Any) -> Iterator[None]:
    """While one of Dagster's storages in SQLite asks by one engine; any other is left alone."""
    from dagster._core.storage.event_log import SqliteEventLogStorage
    from dagster._core.storage.runs import SqliteRunStorage
    from dagster._core.storage.schedules import SqliteScheduleStorage

    name, connect = "connect", _connecting
    if type(storage) is SqliteEventLogStorage:
        name, connect = "_connect", lambda storage: _RunDatabases(storage).connect
    elif type(storage) not in (SqliteRunStorage, SqliteScheduleStorage):
        name = ""
    if not name or name in vars(storage):
        yield
        return
    setattr(storage, name, connect(storage))
    try:
        yield
    finally:
        delattr(storage, name)


def _connecting(storage: Any) -> Connect:
    """As ``SqliteRunStorage.connect``, and that of schedules."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    return create_engine(
        storage._conn_string, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS}
    ).begin


class _RunDatabases:
    """The databases of an event log in SQLite, one for each run and one that is the index of all, by one engine.

    That of a new run is a copy of one that Dagster made for another: to make it by its scripts takes a tenth of a
    small cell's time.
    """

    def __init__(self, storage: Any) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        self._storage, self._path, self._empty = storage, Path(), b""
        self._engine: Engine = create_engine("sqlite://", creator=self._open, poolclass=NullPool)

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """As ``SqliteEventLogStorage._connect``."""
        storage = self._storage
        with storage._db_lock:  # one question at a time
            self._path = Path(storage.path_for_shard(shard))
            if shard not in storage._initialized_dbs:
                self._make_sure()
                storage._initialized_dbs.add(shard)
            with self._engine.begin() as connection:
                yield connection

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, BUSY_SECONDS, check_same_thread=False)

    def _make_sure(self) -> None:
        """Make the database, if it is not there."""
        new = not self._path.exists()
        if new and self._empty:
            with suppress(OSError):  # another process has made it meanwhile, or this disk has no links
                self._copy()
                return
        self._storage._initdb(self._engine)
        if new:
            with closing(self._open()) as connection:
                if connection.execute("SELECT count(*) FROM event_logs").fetchone() == (0,):
                    self._empty = connection.serialize()

    def _copy(self) -> None:
        aside = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
        try:
            aside.write_bytes(self._empty)
            self._path.hardlink_to(aside)  # fails where it is there already
        finally:
            aside.unlink(missing_ok=True)
