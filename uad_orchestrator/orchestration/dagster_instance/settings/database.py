"""The database that settings keep Dagster's records in: its URL, its driver, and whether it answers.

No message has a password in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from uad_orchestrator.extras import require_extra
from uad_orchestrator.orchestration.dagster_instance.settings.misfit import (
    Misfit,
    get,
    unset_variables,
)

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

SEPARATE = ("run_storage", "event_log_storage", "schedule_storage")
"""The sections of those who configure each store by itself, as was done before ``storage``."""

WITHIN_SECONDS = 5
"""What a server is given to answer when it is asked whether it is there."""

TABLES_LOCK = 0x756164
"""The number of the lock within the database: "uad"."""

TABLES_SECONDS = 60
"""For which another process may hold that lock: one that was stopped, or whose machine sleeps, would hold up all."""

EXPECTED = "postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE"  # pragma: allowlist secret


class DatabaseUnusable(RuntimeError):
    """The database that settings name cannot be opened from here; the message says what to set."""


@dataclass(frozen=True)
class Storage:
    """A place of Dagster's records.

    Attributes:
        key: where it stands in the settings.
        kind: ``sqlite``, ``postgres``, or another.
        config: its own settings.
    """

    key: str
    kind: str
    config: Mapping[str, Any]

    @property
    def url_key(self) -> str:
        """Where its URL stands, or the parts of one."""
        return f"{self.key}.{'postgres_db' if 'postgres_db' in self.config else 'postgres_url'}"


def storages(settings: Mapping[str, Any]) -> list[Storage]:
    """Where runs, events and schedules are kept; Dagster's default is SQLite.

    >>> storages({})
    [Storage(key='storage', kind='sqlite', config={})]
    """
    named = get(settings, "storage")
    if isinstance(named, Mapping) and named:
        kind = str(next(iter(named)))
        return [Storage(f"storage.{kind}", kind, _mapping(named[kind]))]
    if any(settings.get(section) for section in SEPARATE):
        return [_separate(section, _mapping(settings.get(section))) for section in SEPARATE]
    return [Storage("storage", "sqlite", {})]


def _separate(section: str, value: Mapping[str, Any]) -> Storage:
    named = f"{value.get('module', 'sqlite')}.{value.get('class')}".lower()
    kind = next((kind for kind in ("postgres", "mysql", "sqlite") if kind in named), "custom")
    return Storage(f"{section}.config", kind, _mapping(value.get("config")))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def database_url(storage: Storage, environ: Mapping[str, str]) -> URL | None:
    """SQLAlchemy's URL of a PostgreSQL storage.

    Returns:
        The URL; None where a variable of the environment is missing, or a password is made for each connection anew.

    Raises:
        ValueError: it is no URL of a database; the message does not repeat it.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if storage.config.get("auth_provider"):
        return None
    whole = _value(storage.config.get("postgres_url"), environ)
    parts = {
        name: _value(part, environ) for name, part in _mapping(storage.config.get("postgres_db")).items()
    }
    wrong = f"is no URL of a database: expected {EXPECTED}, with @, / and : of the password encoded"
    if not whole and (not parts or None in parts.values()):
        return None
    try:
        url = make_url(str(whole)) if whole else _url_of_parts(parts)
    except (ArgumentError, TypeError, ValueError):
        raise ValueError(wrong) from None
    if "@" in (url.host or ""):  # what stands before it is the end of a password
        raise ValueError(wrong)
    return url


def _url_of_parts(parts: Mapping[str, Any]) -> URL:
    from sqlalchemy import URL

    return URL.create(
        parts.get("scheme", "postgresql"),
        username=parts.get("username"),
        password=str(parts.get("password", "")) or None,
        host=parts.get("hostname"),
        port=int(parts.get("port", 5432)),
        database=parts.get("db_name"),
        query=parts.get("params", {}),
    )


def _value(setting: Any, environ: Mapping[str, str]) -> Any:
    """A setting, or what the variable that it names is set to."""
    named = isinstance(setting, Mapping) and set(setting) == {"env"}
    return environ.get(str(setting["env"])) if named else setting


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
        SQLAlchemyError: the server does not take us, or does not answer within seconds; or another process makes its
            tables for longer than ``TABLES_SECONDS``.
    """
    from sqlalchemy import text

    storage = postgres_in(settings)
    if storage is None:
        yield
        return
    if fault := next(unset_variables(storage.config, environ, storage.key), None) or unusable(
        storage, environ
    ):
        raise DatabaseUnusable(f"{fault.key} {fault.said}")
    if (url := database_url(storage, environ)) is None:
        yield
        return
    with connected(url) as connection, connection.begin():
        connection.execute(text(f"SET LOCAL lock_timeout = '{TABLES_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": TABLES_LOCK})
        yield


def postgres_in(settings: Mapping[str, Any]) -> Storage | None:
    """The first storage that is PostgreSQL."""
    return next((storage for storage in storages(settings) if storage.kind == "postgres"), None)


def storage_errors() -> tuple[type[Exception], ...]:
    """What dagster-postgres raises by itself when it has given up; nothing where it was not needed."""
    found = sys.modules.get("dagster_postgres.utils")
    return () if found is None else (found.DagsterPostgresException,)


def said_by(error: BaseException) -> str:
    """What a driver said, in one line, without the query and its values."""
    if isinstance(error, storage_errors()) and error.__cause__ is not None:
        error = error.__cause__
    return (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]


def passwords(settings: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    """The passwords of the databases that settings name."""
    for storage in storages(settings):
        if password := _value(_mapping(storage.config.get("postgres_db")).get("password"), environ):
            yield str(password)
        with suppress(ValueError):
            if (url := database_url(storage, environ)) is not None and url.password:
                yield str(url.password)


def without(text: str, *secrets: str) -> str:
    """A text with secrets taken out of it, as they are and as they stand in a URL.

    >>> without("no user for uad:p%40ss", "p@ss")
    'no user for uad:***'
    """
    for secret in filter(None, secrets):
        for written in (quote(secret, safe=""), quote(secret), secret):
            text = text.replace(written, "***")
    return text
