"""Connections of Dagster's storages that are kept from question to question.

dagster-postgres opens one for each question, but in the web server. That costs more than most questions do, here and
at the server, and a daemon that launches runs asks hundreds a minute, as a cell's run does. In SQLite the engine is
made anew as well, with the statements that it compiles: a quarter of the processor seconds of a refresh of small cells;
and each connection that is closed makes sure that its log is on the disk.

Not public API of Dagster here: ``optimize_for_webserver``, the engine of a storage in PostgreSQL, and how the storages
in SQLite connect.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

HELD_SECONDS, MOST_MORE = 60, 20
"""How old a connection may be that is used again, and how many may be open beside it, closed after use."""

BUSY_SECONDS = 30.0
"""For which a database in SQLite is waited for that another process writes to; as Dagster does."""

INDEX = "index"
"""What an event log calls the database that is about all runs."""


def hold(storage: Any) -> None:
    """Let a storage of dagster-postgres keep a connection; one that the server has closed is replaced before its use.

    What it was opened with is left to whoever has it.
    """
    from sqlalchemy import event

    storage.optimize_for_webserver(statement_timeout=0, pool_recycle=HELD_SECONDS, max_overflow=MOST_MORE)
    event.listen(storage._engine, "checkout", _refuse_closed)


@contextmanager
def held_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """While an instance keeps its connections: in SQLite, and in PostgreSQL where its storage does not by itself.

    Elsewhere, and while they are held already, nothing happens.
    """
    storages = [instance.event_log_storage, instance.run_storage, instance.schedule_storage]
    with ExitStack() as kept:
        kept.enter_context(_held_in_postgres(storages))
        for storage in storages:
            kept.enter_context(_held_in_sqlite(storage))
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
def _held_in_sqlite(storage: Any) -> Iterator[None]:
    """While one of Dagster's storages in SQLite keeps a connection; any other is left alone."""
    from dagster._core.storage.event_log import SqliteEventLogStorage
    from dagster._core.storage.runs import SqliteRunStorage
    from dagster._core.storage.schedules import SqliteScheduleStorage

    kept: _Database | _RunDatabases
    if type(storage) is SqliteEventLogStorage:
        name, kept = "_connect", _RunDatabases(storage)
    elif type(storage) in (SqliteRunStorage, SqliteScheduleStorage):
        name, kept = "connect", _Database(storage)
    else:
        yield
        return
    if name in vars(storage):
        yield
        return
    setattr(storage, name, kept.connect)
    try:
        yield
    finally:
        delattr(storage, name)
        kept.close()


class _Database:
    """The database of the runs, or that of the schedules."""

    def __init__(self, storage: Any) -> None:
        from sqlalchemy import make_url

        path = Path(str(make_url(storage._conn_string).database))
        self._engine = _engine(lambda: path)

    def connect(self) -> AbstractContextManager[Connection]:
        """As ``SqliteRunStorage.connect``, and that of schedules."""
        return self._engine.begin()

    def close(self) -> None:
        """Leave nothing open."""
        self._engine.dispose()


class _RunDatabases:
    """The databases of an event log: one for each run, of which the latest stays open, and the index of all.

    That of a new run is a copy of one that Dagster made for another: to make it by its scripts takes a tenth of a
    small cell's time.
    """

    def __init__(self, storage: Any) -> None:
        self._storage, self._path, self._empty = storage, Path(), b""
        index = Path(storage.path_for_shard(INDEX))
        self._of_index, self._of_run = _engine(lambda: index), _engine(lambda: self._path)

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """As ``SqliteEventLogStorage._connect``."""
        with self._storage._db_lock:  # one question at a time
            engine = self._of_index if shard == INDEX else self._of_run
            if shard != INDEX and (path := Path(self._storage.path_for_shard(shard))) != self._path:
                self._of_run.dispose()
                self._path = path
            if shard not in self._storage._initialized_dbs:
                self._make_sure(engine)
                self._storage._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def close(self) -> None:
        """Leave nothing open."""
        self._of_index.dispose()
        self._of_run.dispose()

    def _make_sure(self, engine: Engine) -> None:
        """Make the database, if it is not there."""
        new = engine is self._of_run and not self._path.exists()
        if new and self._empty:
            with suppress(OSError):  # another process has made it meanwhile, or this disk has no links
                self._copy()
                return
        self._storage._initdb(engine)
        if new:
            with closing(sqlite3.connect(self._path, BUSY_SECONDS)) as connection:
                if connection.execute("SELECT count(*) FROM event_logs").fetchone() == (0,):
                    self._empty = connection.serialize()

    def _copy(self) -> None:
        aside = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
        try:
            aside.write_bytes(self._empty)
            self._path.hardlink_to(aside)  # fails where it is there already
        finally:
            aside.unlink(missing_ok=True)


def _engine(path: Callable[[], Path]) -> Engine:
    """An engine that keeps one connection, to the database that ``path`` names when it is opened."""
    from sqlalchemy import QueuePool, create_engine

    return create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(path(), BUSY_SECONDS, check_same_thread=False),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
    )
