"""Connections to SQLite that Dagster's storages keep from question to question.

Dagster makes an engine for each question, which finds out and compiles everything anew: a quarter of the processor
seconds of a refresh of small cells. And each connection that is closed makes sure that its log is on the disk.

Not public API of Dagster here: how the storages connect, and how the event log makes the database of a run.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from sqlalchemy import Connection

BUSY_SECONDS = 30.0
"""For which a database in SQLite is waited for that another process writes to; as Dagster does."""

INDEX = "index"
"""What an event log calls the database that is about all runs."""


@contextmanager
def held_in_sqlite(storage: Any) -> Iterator[None]:
    """While one of Dagster's storages in SQLite keeps a connection; any other is left alone."""
    from dagster._core.storage.event_log import SqliteEventLogStorage
    from dagster._core.storage.runs import SqliteRunStorage
    from dagster._core.storage.schedules import SqliteScheduleStorage

    connects_by = {
        SqliteEventLogStorage: "_connect",
        SqliteRunStorage: "connect",
        SqliteScheduleStorage: "connect",
    }
    name = connects_by.get(type(storage))
    if name is None or name in vars(storage):  # of another kind, or held already
        yield
        return
    kept = _RunDatabases(storage) if name == "_connect" else _Database(storage._conn_string)
    setattr(storage, name, kept.connect)
    try:
        yield
    finally:
        delattr(storage, name)
        kept.close()


class _Database:
    """A database that stays open from question to question: that of the runs, that of the schedules, ..."""

    def __init__(self, url: str) -> None:
        from sqlalchemy import QueuePool, create_engine

        self.lead_to(url)
        self._opened: tuple[int, int, int] | None = None
        self.engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(self.path, BUSY_SECONDS, check_same_thread=False),
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=-1,
        )

    def lead_to(self, url: str) -> None:
        """Whichever this names is asked from now on; one of all engines is used on, for what it has compiled."""
        from sqlalchemy import make_url

        self.path = Path(str(make_url(url).database))

    def connect(self) -> AbstractContextManager[Connection]:
        """As ``SqliteRunStorage.connect``, and that of schedules."""
        self.open_again_if_replaced()
        return self.engine.begin()

    def open_again_if_replaced(self) -> None:
        """Close what is open if another file is there by now, as after a wipe, or this is another process."""
        try:
            found = self.path.stat()
        except OSError:
            now = None
        else:
            now = found.st_dev, found.st_ino, os.getpid()  # none is another's while its file is open
        if now is None or now != self._opened:
            self.engine.dispose()
            self._opened = now

    def close(self) -> None:
        """Leave nothing open."""
        self.engine.dispose()


class _RunDatabases:
    """The databases of an event log: one for each run, of which the latest stays open, and the index of all.

    That of a new run is a copy of one that Dagster made for another: to make it by its scripts takes a tenth of a
    small cell's time.
    """

    def __init__(self, storage: Any) -> None:
        self._storage, self._empty = storage, b""
        self._of_index, self._of_run = (_Database(storage.conn_string_for_shard(INDEX)) for _ in range(2))

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """As ``SqliteEventLogStorage._connect``."""
        with self._storage._db_lock:  # one question at a time
            database = self._of_index if shard == INDEX else self._of_run
            if shard != INDEX:
                database.lead_to(self._storage.conn_string_for_shard(shard))
            if shard not in self._storage._initialized_dbs:
                self._make_sure(database)
                self._storage._initialized_dbs.add(shard)
            with database.connect() as connection:
                changed = _changes_of(connection)
                yield connection
                changed -= _changes_of(connection)
            if changed and shard != INDEX:
                _tell_who_watches(database.path)

    def close(self) -> None:
        """Leave nothing open."""
        self._of_index.close()
        self._of_run.close()

    def _make_sure(self, database: _Database) -> None:
        """Make the database, if it is not there."""
        database.open_again_if_replaced()
        path = database.path
        # Beside the log of one that was deleted only SQLite begins anew: to a copy it would add what that log says.
        new = database is self._of_run and not (path.exists() or path.with_name(f"{path.name}-wal").exists())
        if new and self._empty:
            with suppress(OSError):  # another process has made it meanwhile, or this disk has no links
                _put(self._empty, path)
                return
        self._storage._initdb(database.engine)
        if new:
            self._empty = _if_empty(path)
            for left in path.parent.glob(".*.db.*"):  # by a killed process; who misses it does without
                left.unlink(missing_ok=True)


def _if_empty(path: Path) -> bytes:
    """A database as it is, if no event is in it yet; nothing else, nor where that cannot be asked."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, BUSY_SECONDS)) as connection:
        connection.execute("BEGIN")  # another process may record one between this question and the next
        if connection.execute("SELECT count(*) FROM event_logs").fetchone() == (0,):
            return connection.serialize()
    return b""


def _put(database: bytes, path: Path) -> None:
    """Write a database where none is; whole, on the disk, and with SQLite's permissions.

    Raises:
        OSError: one is there, or this disk has no links.
    """
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with open(aside, "xb", opener=partial(os.open, mode=0o644)) as file:
            file.write(database)
            file.flush()
            os.fsync(file.fileno())  # or after a loss of power what is recorded in it would be lost as well
        path.hardlink_to(aside)
    finally:
        aside.unlink(missing_ok=True)


def _changes_of(connection: Connection) -> int:
    """How many rows were written by it."""
    opened: Any = connection.connection.dbapi_connection
    return int(opened.total_changes)


def _tell_who_watches(path: Path) -> None:
    """Wake those who wait for events of a run, as its page does: Dagster looks whether the database has changed.

    While a connection stays open, only the log beside it does.
    """
    with suppress(OSError):  # it was deleted meanwhile
        os.utime(path)
