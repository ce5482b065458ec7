"""The database that settings keep Dagster's records in: whether it can be used, whether it answers, what it says.

No message has a password in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uad_orchestrator.extras import require_extra
from uad_orchestrator.orchestration.dagster_instance.settings.misfit import Misfit, unset_variables
from uad_orchestrator.orchestration.dagster_instance.settings.secrets import without
from uad_orchestrator.orchestration.dagster_instance.settings.storages import (
    EXPECTED,
    Storage,
    database_url,
    postgres_in,
)

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

WITHIN_SECONDS = 5
"""What a server is given to answer when it is asked whether it is there."""

TABLES_LOCK, ASKING_LOCK = 0x756164, 0x756165
"""The numbers of the locks within the database: "uad", and the next."""

LOCK_SECONDS = 60
"""For which another process may hold one: one that was stopped, or whose machine sleeps, would hold up all."""


class DatabaseUnusable(RuntimeError):
    """The database that settings name cannot be opened from here; the message says what to set."""


def unusable(storage: Storage, environ: Mapping[str, str]) -> Misfit | None:
    """Why a PostgreSQL storage cannot be opened, whether or not its server answers: packages, URL, driver."""
    from sqlalchemy.exc import NoSuchModuleError

    try:
        require_extra("dagster_postgres", extra="postgres", what="Dagster's storage in PostgreSQL")
        url = database_url(storage, environ)
        if url is not None:
            url.get_dialect().import_dbapi()
            if url.get_backend_name() != "postgresql":
                said = f"begins with {url.drivername}://, which is not PostgreSQL's: write {EXPECTED}"
                return Misfit(storage.url_key, said)
    except NoSuchModuleError:
        said = f"begins with {url.drivername if url else ''}://, which SQLAlchemy does not know: write {EXPECTED}"
        return Misfit(storage.url_key, said)
    except ModuleNotFoundError as error:
        said = f"names {url.drivername if url else ''}, whose driver {error.name} is not installed"
        return Misfit(storage.url_key, f"{said}: write {EXPECTED}, or install it")
    except (ImportError, ValueError) as error:
        return Misfit(storage.url_key, str(error))
    return None


def unreachable(storage: Storage, environ: Mapping[str, str]) -> Misfit | None:
    """Why the server of a PostgreSQL storage does not take us; it has to answer soon."""
    from sqlalchemy.exc import SQLAlchemyError

    if (url := database_url(storage, environ)) is None:
        return None
    try:
        with connected(url):
            return None
    except SQLAlchemyError as error:
        said = without(said_by(error), str(url.password or ""))
        place = f"{url.host or 'this machine'}, database {url.database}"
        return Misfit(storage.url_key, f"PostgreSQL ({place}) cannot be reached: {said}")


@contextmanager
def connected(url: URL) -> Iterator[Connection]:
    """A connection for just this long.

    Raises:
        SQLAlchemyError: the server does not take us, or does not answer within seconds.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    patience = {"connect_timeout": WITHIN_SECONDS} if url.get_driver_name().startswith("psycopg") else {}
    with create_engine(url, poolclass=NullPool, connect_args=patience).connect() as connection:
        yield connection


@contextmanager
def opened_alone(settings: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[None]:
    """While an empty PostgreSQL database may get its tables: of several who make them one might find half of them.

    Raises:
        DatabaseUnusable: it cannot be opened with these settings, here.
        SQLAlchemyError: as ``alone`` says.
    """
    storage = postgres_in(settings)
    if storage is not None and (
        fault := next(unset_variables(storage.config, environ, storage.key), None)
        or unusable(storage, environ)
    ):
        raise DatabaseUnusable(f"{fault.key} {fault.said}")
    with alone(settings, environ, TABLES_LOCK):
        yield


@contextmanager
def alone(settings: Mapping[str, Any], environ: Mapping[str, str], lock: int) -> Iterator[None]:
    """While no process of any machine holds the same lock of a PostgreSQL database; nothing where there is none.

    Raises:
        SQLAlchemyError: the server does not take us, or does not answer within seconds; or another process holds the
            lock for longer than ``LOCK_SECONDS``.
    """
    from sqlalchemy import text

    storage = postgres_in(settings)
    url = None if storage is None else database_url(storage, environ)
    if url is None:
        yield
        return
    with connected(url) as connection, connection.begin():
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": lock})
        yield


def storage_errors() -> tuple[type[Exception], ...]:
    """What dagster-postgres raises by itself when it has given up; nothing where it was not needed."""
    found = sys.modules.get("dagster_postgres.utils")
    return () if found is None else (found.DagsterPostgresException,)


def said_by(error: BaseException) -> str:
    """What a driver said, in one line, without the query and its values."""
    if isinstance(error, storage_errors()) and error.__cause__ is not None:
        error = error.__cause__
    return (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
