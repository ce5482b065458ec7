"""The index of everything ever materialised: who read what, when, how long it took, with which metrics.

``<local>/uad.duckdb`` answers questions in SQL. It is only an index: an open reader of another process keeps
a DuckDB file from being written, so what happened goes to ``<local>/lineage/pending/`` first and is folded in
when the file is free. Recording never raises and never waits; ``rebuild`` restores the index from the
provenance files.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.artifact_key import ArtifactKey, split_category
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.lineage.anew import computed_events, make_anew
from uad_orchestrator.storage.lineage.database import LineageDatabase, LineageError, LineageHeldError
from uad_orchestrator.storage.lineage.events import (
    ARTIFACT_COLUMNS,
    LineageEvent,
    PendingEvents,
    insert_events,
)
from uad_orchestrator.storage.lineage.schema import TABLES
from uad_orchestrator.storage.lineage.tree import LineageNode, resolve, upstream
from uad_orchestrator.storage.lineage.views import IndexViews
from uad_orchestrator.storage.provenance import Provenance, ProvenanceError

logger = logging.getLogger(__name__)


FOLD_INTERVAL = 30.0
"""Seconds between the foldings that ``record`` does; our own readers fold first, others are so late at most."""


@dataclass(frozen=True)
class SqlResult:
    """What a query gave.

    Attributes:
        columns: their names.
        rows: plain values, a tuple each.
    """

    columns: tuple[str, ...]
    rows: list[tuple]


class LineageIndex:
    """The index of one project.

    Args:
        local: the project's local folder; the index is ``uad.duckdb`` in it.
        store: the artifacts it is an index of.
        metrics: the metrics that its view ``metrics`` has a column for even where no report has them.
        records: the folder that the line is recorded to, which its view ``judgement`` reads.
        patience: how many seconds ``sql`` and ``rebuild`` wait for a file another process holds.
    """

    def __init__(
        self,
        local: Path,
        store: ArtifactStore,
        *,
        metrics: Sequence[str] = (),
        records: Path | None = None,
        patience: float = 10.0,
    ) -> None:
        self.local = Path(local).absolute()
        self.store = store
        self.metrics = tuple(metrics)
        self.records = records
        self.patience = patience
        self.path = self.local / "uad.duckdb"
        self._database = LineageDatabase(self.path, self.local / "lineage", patience)
        self._views = IndexViews(store, self.metrics, records)
        self.pending = PendingEvents(self.local / "lineage" / "pending")

    def record(self, provenance: Provenance, key: ArtifactKey | None = None, *, reused: bool = False) -> None:
        """Note that an artifact was made, or was found there and ``reused``.

        Whatever goes wrong is logged: a cell never fails or waits because of its index. Opening the file
        costs a tenth of a second, so events are folded in together, now and then; ``sql`` sees all. That it was made
        is noted with each reuse, to the same effect: its maker may have been killed before it noted that.

        Args:
            provenance: the artifact's record.
            key: its address; None: the one the record has.
            reused: it was there already.
        """
        with self._never_in_the_way(f"{provenance.asset} is stored but not noted"):
            location = self.store.path(key or ArtifactKey.of(provenance))
            made = LineageEvent.computed(provenance, location)
            self.pending.append(made)
            if reused:
                found = replace(made, event_id=uuid.uuid4().hex, recorded_at=datetime.now(UTC), reused=True)
                self.pending.append(found)
            if self._seconds_since_fold() >= FOLD_INTERVAL:
                self.fold()

    def settle(self) -> None:
        """Fold what is pending at the end of some work; like ``record`` it fails and waits for nothing."""
        with self._never_in_the_way("The last events are not folded in"):
            self.fold()

    def fold(self) -> bool:
        """Move what is pending into the index.

        Returns:
            False when another process holds the index, and nothing was moved.

        Raises:
            LineageError: the index is damaged or of another schema.
        """
        with self._database.turn(wait=0) as mine:
            return mine and self._fold()

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> SqlResult:
        """Run one query over the index, opened read-only for just this long.

        Args:
            query: SQL as DuckDB has it; tables and views as the page on lineage lists them.
            parameters: values for the query's ``?``.

        Returns:
            Columns and rows.

        Raises:
            LineageError: another process holds the index, or it is damaged, or the query is wrong.
        """
        import duckdb

        with self._database.turn(wait=self.patience) as mine:
            if not (mine and self._fold(self._news())):
                logger.warning("%s is open in another process: the newest events may be missing.", self.path)
            with self._database.open_patiently() as connection:
                self._views.renew_asked(connection, query)
                try:
                    cursor = connection.execute(query, list(parameters))
                    columns = tuple(column[0] for column in cursor.description or ())
                    return SqlResult(columns, cursor.fetchall() if columns else [])
                except duckdb.Error as error:
                    if self._database.is_damage(error):
                        raise self._database.damaged(error) from error
                    raise LineageError(f"the query failed: {error}") from error

    def hosts(self) -> list[str]:
        """The machines that made the artifacts noted so far; nothing is folded in, and no store is asked.

        Returns:
            Their host names, in order; none where there is no index yet.

        Raises:
            LineageError: another process holds the index, or it is damaged.
        """
        import duckdb

        if not self.path.exists():
            return []
        with self._database.open_patiently() as connection:
            try:
                query = "SELECT DISTINCT host FROM materialization WHERE NOT reused ORDER BY host"
                return [host for (host,) in connection.execute(query).fetchall()]
            except duckdb.Error as error:
                raise self._database.damaged(error) from error

    def history(self, asset: str, category: str | None, detector: str | None) -> SqlResult:
        """What happened to one asset of one cell.

        Args:
            asset: its name.
            category: ``dataset/category``; None where the asset has no such dimension.
            detector: its name; likewise.

        Returns:
            A row per materialisation, newest first.

        Raises:
            LineageError: as ``sql``.
        """
        return self.sql(
            "SELECT recorded_at, version, reused, seconds, bytes, host, device, code_version, run_id"
            " FROM materialization WHERE asset = ? AND dataset IS NOT DISTINCT FROM ?"
            " AND category IS NOT DISTINCT FROM ? AND detector IS NOT DISTINCT FROM ?"
            " ORDER BY recorded_at DESC, event_id DESC",
            (asset, *split_category(category), detector),
        )

    def current_version(self, asset: str, category: str | None, detector: str | None) -> str | None:
        """The version materialised last.

        Args:
            asset: its name.
            category: ``dataset/category``; None where the asset has no such dimension.
            detector: its name; likewise.

        Returns:
            The version; None if there never was one.

        Raises:
            LineageError: as ``sql``.
        """
        rows = self.history(asset, category, detector).rows
        return rows[0][1] if rows else None

    def upstream(
        self, asset: str, category: str | None, detector: str | None, version: str | None = None
    ) -> LineageNode:
        """The tree an artifact was made from.

        Args:
            asset: its name.
            category: ``dataset/category``; None where the asset has no such dimension.
            detector: its name; likewise.
            version: the version, or its first digits; None: the current one.

        Returns:
            The artifact's node; printed, it is the tree.

        Raises:
            LineageError: there is no such artifact, or no version was given and none is known.
        """
        cell = (*split_category(category), detector)
        version = version or self.current_version(asset, category, detector)
        if version is None:
            raise LineageError(f"{asset} of {category} x {detector} was never materialised: refresh the cell")
        try:
            return upstream(self.store, resolve(self.store, asset, cell, version))
        except (ArtifactError, ProvenanceError) as error:
            raise LineageError(str(error)) from error

    def rebuild(self) -> int:
        """Make the index anew from the artifacts' provenance.

        That an artifact was reused stands in no provenance: such events are carried over from the old index,
        if it can still be read.

        Returns:
            How many artifacts there were.

        Raises:
            LineageError: another process is writing the index.
        """
        with self._database.turn(wait=self.patience) as mine:
            if not mine:
                raise LineageHeldError(f"another process is writing {self.path}: try again when it is done")
            with self.store.listed():
                count = make_anew(self._database, self._views, self.store, self.store.list_all())
            self._fold()
        return count

    @contextmanager
    def _never_in_the_way(self, fault: str) -> Iterator[None]:
        """Whatever goes wrong is logged: the artifacts are the truth, and work does not stop for their index."""
        try:
            yield
        except Exception as error:
            logger.warning(
                "%s (%s; %s: %s); `uad lineage rebuild` restores the index.",
                fault, self.path, type(error).__name__, error,
            )  # fmt: skip

    def _seconds_since_fold(self) -> float:
        try:
            return time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def _news(self) -> list[LineageEvent]:
        """What other machines stored since: the provenance of each artifact is read once here."""
        if not self.store.shared:
            return []
        known: set[tuple] = set()
        if self.path.exists():
            columns = ", ".join(ARTIFACT_COLUMNS)
            with self._database.open_patiently() as connection:
                query = f"SELECT {columns} FROM materialization WHERE NOT reused"
                known = set(connection.execute(query).fetchall())
        with self.store.listed():
            stored = self.store.list_all()
            new = [key for key in stored if tuple(vars(key).values()) not in known]
            return computed_events(self.store, new)

    def _fold(self, news: Sequence[LineageEvent] = ()) -> bool:
        """The fold itself, in our turn: the files go only after their rows are safe.

        An index that is not there, because it is the first or was lost, begins with all that is stored; on an object
        store that waits for whoever reads it, who brings it as ``news``.
        """
        if not self.path.exists():
            stored = [] if self.store.shared else self.store.list_all()
            make_anew(self._database, self._views, self.store, stored)
        files = self.pending.files()
        if not files and not news:
            return True
        try:
            opened = self._database.open()
        except LineageHeldError:
            return False
        import duckdb

        events = [*news, *self.pending.read(files)]
        try:
            with opened as connection:
                connection.begin()
                connection.execute(TABLES)
                self._database.require_schema(connection)
                insert_events(connection, events)
                self._views.renew(connection)
                connection.commit()
        except duckdb.Error as error:
            raise self._database.damaged(error) from error
        for file in files:
            file.unlink(missing_ok=True)
        return True
