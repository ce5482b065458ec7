"""Where settings keep Dagster's records: the kinds of storage, and the URLs of their databases; nothing is opened.

No message has a password in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uad_orchestrator.orchestration.dagster_instance.settings.read import get

if TYPE_CHECKING:
    from sqlalchemy import URL

SEPARATE = ("run_storage", "event_log_storage", "schedule_storage")
"""The sections of those who configure each store by itself, as was done before ``storage``."""

EXPECTED = "postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE"  # pragma: allowlist secret


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
        if kind == "custom":
            return [_by_class("storage.custom", {"module": "", **mapping(named[kind])})]
        return [Storage(f"storage.{kind}", kind, mapping(named[kind]))]
    if any(settings.get(section) for section in SEPARATE):
        return [_by_class(section, mapping(settings.get(section))) for section in SEPARATE]
    return [Storage("storage", "sqlite", {})]


def _by_class(section: str, value: Mapping[str, Any]) -> Storage:
    named = f"{value.get('module', 'sqlite')}.{value.get('class')}".lower()
    kind = next((kind for kind in ("postgres", "mysql", "sqlite") if kind in named), "custom")
    return Storage(f"{section}.config", kind, mapping(value.get("config")))


def mapping(value: Any) -> Mapping[str, Any]:
    """A setting that has others below it; nothing where it is none."""
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
    whole = value_of(storage.config.get("postgres_url"), environ)
    parts = {
        name: value_of(part, environ) for name, part in mapping(storage.config.get("postgres_db")).items()
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


def value_of(setting: Any, environ: Mapping[str, str]) -> Any:
    """A setting, or what the variable that it names is set to."""
    named = isinstance(setting, Mapping) and set(setting) == {"env"}
    return environ.get(str(setting["env"])) if named else setting


def postgres_in(settings: Mapping[str, Any]) -> Storage | None:
    """The first storage that is PostgreSQL."""
    return next((storage for storage in storages(settings) if storage.kind == "postgres"), None)
