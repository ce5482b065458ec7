"""An index made anew, from the provenance of artifacts: the first one, and one that was lost or damaged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.atomic import new_file
from uad_orchestrator.storage.lineage.database import LineageDatabase
from uad_orchestrator.storage.lineage.events import LineageEvent, insert_events
from uad_orchestrator.storage.lineage.schema import TABLES
from uad_orchestrator.storage.lineage.views import IndexViews

logger = logging.getLogger(__name__)

AT_A_TIME = 1_000
"""So many artifacts are read and put into a new index at a time, each lot a transaction: what bounds the memory."""


def make_anew(
    database: LineageDatabase, views: IndexViews, store: ArtifactStore, keys: Sequence[ArtifactKey]
) -> int:
    """Replace the index, whole or not at all, by one of these artifacts; returns how many of them count."""
    count = 0
    with new_file(database.path) as aside:
        with database.open(aside=aside) as connection:
            connection.execute(TABLES)
            for start in range(0, len(keys), AT_A_TIME):
                events = computed_events(store, keys[start : start + AT_A_TIME])
                connection.begin()
                insert_events(connection, events)
                connection.commit()
                count += len(events)
            _carry_over_reuse(connection, database.path)
            views.renew(connection)
        database.path.with_name(f"{database.path.name}.wal").unlink(missing_ok=True)
    return count


def computed_events(store: ArtifactStore, keys: Sequence[ArtifactKey]) -> list[LineageEvent]:
    """What the provenance of stored artifacts says."""
    made = store.provenances(keys)
    for key in keys:
        if key not in made:
            logger.warning("Left out of the index: %s", key)
    return [LineageEvent.computed(found, store.path(key)) for key, found in made.items()]


def _carry_over_reuse(connection: Any, old: Path) -> None:
    import duckdb

    if not old.exists():
        return
    path = str(old).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{path}' AS old (READ_ONLY)")
        connection.execute(
            "INSERT INTO materialization BY NAME SELECT * FROM old.materialization WHERE reused"
        )
        connection.execute("DETACH old")
    except duckdb.Error as error:
        logger.warning("When artifacts were reused is lost, the old index cannot be read: %s", error)
