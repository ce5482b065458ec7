"""What happened to artifacts: events, kept in small files until they are rows of the index."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.artifact_key import InputReference
from uad_orchestrator.storage.atomic import write_text
from uad_orchestrator.storage.provenance import Provenance

logger = logging.getLogger(__name__)

ARTIFACT_COLUMNS = ("asset", "dataset", "category", "detector", "version")


@dataclass(frozen=True)
class LineageEvent:
    """One materialisation: an artifact was computed, or found there and reused."""

    event_id: str
    recorded_at: datetime
    reused: bool
    location: str
    provenance: Provenance

    @classmethod
    def computed(cls, provenance: Provenance, location: str) -> LineageEvent:
        """The event of the artifact's making; the same however often it is recorded."""
        finished = provenance.started_at + timedelta(seconds=provenance.seconds)
        cell = (provenance.dataset, provenance.category, provenance.detector)
        identity = json.dumps(
            [provenance.asset, *cell, provenance.version, provenance.started_at.isoformat()]
        )
        return cls(identity, finished, False, location, provenance)

    def to_json(self) -> str:
        """As stored until it is folded in."""
        return json.dumps(
            {
                "event_id": self.event_id,
                "recorded_at": self.recorded_at.isoformat(),
                "reused": self.reused,
                "location": self.location,
                "provenance": self.provenance.model_dump(mode="json"),
            }
        )

    @classmethod
    def from_json(cls, text: str, place: Path) -> LineageEvent:
        """Read what ``to_json`` wrote; ValueError (or KeyError) if it is something else."""
        stored = json.loads(text)
        provenance = Provenance.from_json(json.dumps(stored["provenance"]), place)
        for name in provenance.inputs:
            InputReference.parse(name)
        return cls(
            stored["event_id"],
            datetime.fromisoformat(stored["recorded_at"]),
            bool(stored["reused"]),
            stored["location"],
            provenance,
        )


class PendingEvents:
    """A folder of events, one small file each, that wait to be folded into the index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, event: LineageEvent) -> None:
        """Add an event; its file is written aside and renamed, and names sort by time."""
        write_text(self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}.json", event.to_json())

    def files(self) -> list[Path]:
        """The events' files, oldest first."""
        return sorted(self.folder.glob("[0-9]*.json"))

    def read(self, files: Sequence[Path]) -> list[LineageEvent]:
        """The events in ``files``; one that cannot be read is set aside and said."""
        events = []
        for file in files:
            try:
                events.append(LineageEvent.from_json(file.read_text(encoding="utf-8"), file))
            except (ValueError, KeyError, TypeError) as error:
                aside = file.with_suffix(".unreadable")
                logger.warning("%s is no readable event (%s): renamed to %s.", file, error, aside.name)
                file.rename(aside)
        return events


def insert_events(connection: Any, events: Sequence[LineageEvent]) -> None:
    """Add events to the tables; what is there already is replaced, so it may be repeated."""
    made = {_artifact(event.provenance): event.provenance for event in events}
    _register(connection, "new_artifact", ARTIFACT_COLUMNS, list(made))
    unique = {event.event_id: event for event in events}
    rows = {
        "materialization": [_materialization_row(event) for event in unique.values()],
        "lineage": [edge for key, provenance in made.items() for edge in _lineage_rows(key, provenance)],
        "metric": [(*key, *metric) for key, p in made.items() for metric in p.metrics.items()],
    }
    for table, values in rows.items():
        columns = [name for name, *_ in connection.execute(f"DESCRIBE {table}").fetchall()]
        _register(connection, f"new_{table}", columns, values)
    connection.execute(
        "DELETE FROM materialization WHERE event_id IN (SELECT event_id FROM new_materialization)"
    )
    for table in ("lineage", "metric"):
        same = " AND ".join(f"{table}.{c} IS NOT DISTINCT FROM new_artifact.{c}" for c in ARTIFACT_COLUMNS)
        connection.execute(f"DELETE FROM {table} USING new_artifact WHERE {same}")
    for table in rows:
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_{table}")


def _register(connection: Any, name: str, columns: Sequence[str], rows: Sequence[tuple]) -> None:
    """Rows as a table DuckDB can read at once: thousands of single inserts take minutes."""
    import pyarrow as pa

    arrays = list(zip(*rows, strict=True)) or [()] * len(columns)
    connection.register(name, pa.table([pa.array(values) for values in arrays], names=list(columns)))


def _artifact(provenance: Provenance) -> tuple[str | None, ...]:
    return (
        provenance.asset, provenance.dataset, provenance.category, provenance.detector, provenance.version,
    )  # fmt: skip


def _materialization_row(event: LineageEvent) -> tuple:
    made = event.provenance
    return (
        event.event_id, _utc(event.recorded_at), event.reused, *_artifact(made),
        str(made.stage_version), _utc(made.started_at), made.seconds, made.bytes, made.host, made.device,
        made.code_version, made.run_id, event.location, json.dumps(made.settings), json.dumps(made.facts),
        json.dumps(made.packages), json.dumps(made.seeds),
    )  # fmt: skip


def _lineage_rows(artifact: tuple[str | None, ...], made: Provenance) -> list[tuple]:
    read = [(InputReference.parse(name), version) for name, version in made.inputs.items()]
    return [
        (*artifact, reference.asset, *(reference.cell or artifact[1:4]), version)
        for reference, version in read
    ]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
