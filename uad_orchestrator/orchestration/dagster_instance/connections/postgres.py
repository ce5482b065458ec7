"""Connections to PostgreSQL that Dagster's storages keep from question to question.

dagster-postgres opens one for each question, but in the web server. That costs more than most questions do, here and
at the server, and a daemon that launches runs asks hundreds a minute, as a cell's run does.

Not public API of Dagster here: ``optimize_for_webserver``, and the engine of a storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HELD_SECONDS, MOST_MORE = 60, 20
"""How old a connection may be that is used again, and how many may be open beside it, closed after use."""


def hold(storage: Any) -> None:
    """Let a storage of dagster-postgres keep a connection; one that the server has closed is replaced before its use.

    What it was opened with is left to whoever has it.
    """
    from sqlalchemy import event

    storage.optimize_for_webserver(statement_timeout=0, pool_recycle=HELD_SECONDS, max_overflow=MOST_MORE)
    event.listen(storage._engine, "checkout", _refuse_closed)


@contextmanager
def held_in_postgres(storages: list[Any]) -> Iterator[None]:
    """While those of an instance's storages that lie in PostgreSQL keep a connection, if they do not by themselves."""
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
