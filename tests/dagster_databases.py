"""Dagster's SQLite databases, opened with less preparation: it makes a third of what a small refresh costs.

For each run's database Alembic reads the forty revisions of Dagster's tables anew, and for each statement SQLAlchemy
gets an engine of its own, which has compiled nothing yet. Both are kept here; what is read and written is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import pytest

STORAGES = (
    "event_log.sqlite.sqlite_event_log",
    "runs.sqlite.sqlite_run_storage",
    "schedules.sqlite.sqlite_schedule_storage",
)
MOST_ENGINES = 16
"""Those of the projects at hand; each remembers what it compiled."""


@contextmanager
def prepared_once() -> Iterator[None]:
    """Revisions are read once, and engines kept."""
    from alembic.script import ScriptDirectory

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScriptDirectory, "from_config", partial(_revisions, ScriptDirectory.from_config, {}))
        for storage in STORAGES:
            module = import_module(f"dagster._core.storage.{storage}")
            patched.setattr(module, "create_engine", partial(_engine, module.create_engine, {}))
        yield


def _revisions(read: Callable[[Any], Any], known: dict[str, Any], config: Any) -> Any:
    place = config.get_main_option("script_location")
    if place not in known:
        known[place] = read(config)
    return known[place]


def _engine(make: Callable[..., Any], known: dict[str, Any], address: str, **settings: Any) -> Any:
    """An engine without a pool, as Dagster asks for it: it holds no connection."""
    if address not in known:
        if len(known) == MOST_ENGINES:
            known.clear()
        known[address] = make(address, **settings)
    return known[address]
