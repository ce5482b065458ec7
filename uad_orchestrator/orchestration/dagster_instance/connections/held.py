"""While an instance is in use its storages keep their connections, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.connections.postgres import held_in_postgres
from uad_orchestrator.orchestration.dagster_instance.connections.sqlite import held_in_sqlite


@contextmanager
def held_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """While an instance keeps its connections: in SQLite, and in PostgreSQL where its storage does not by itself.

    Elsewhere, and while they are held already, nothing happens.
    """
    storages = [instance.event_log_storage, instance.run_storage, instance.schedule_storage]
    with ExitStack() as kept:
        kept.enter_context(held_in_postgres(storages))
        for storage in storages:
            kept.enter_context(held_in_sqlite(storage))
        yield
