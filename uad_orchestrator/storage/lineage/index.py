"""The index of everything ever materialised: who read what, when, how long it took, with which metrics.

``<local>/uad.duckdb`` answers questions in SQL. It is only an index: an open reader of another process keeps
a DuckDB file from being written, so what happened goes to ``<local>/lineage/pending/`` first and is folded in
when the file is free. Recording never raises and never waits; ``rebuild`` restores the index from the
provenance files.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from glob import iglob
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.artifact_key import ArtifactKey, split_category
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.atomic import new_file
from uad_orchestrator.storage.lineage.database import (
    LineageDatabase,
    LineageError,
    LineageHeldError,
    reads_scores,
    view_text,
)
from uad_orchestrator.storage.lineage.events import (
    ARTIFACT_COLUMNS,
    LineageEvent,
    PendingEvents,
    insert_events,
)
from uad_orchestrator.storage.lineage.schema import (
    SCHEMA_VERSION,
    TABLES,
    VIEWS,
    judgement_files_pattern,
    judgements_view,
    metrics_view,
    score_files_pattern,
    scores_view,
)
from uad_orchestrator.storage.lineage.tree import LineageNode, resolve, upstream
from uad_orchestrator.storage.provenance import Provenance, ProvenanceError

logger = logging.getLogger(__name__)


FOLD_INTERVAL = 30.0
"""Seconds between the foldings that ``record`` does; our own readers fold first, others are so late at most."""

AT_A_TIME = 1_000
"""So many artifacts are read and put into a new index at a time, each lot a transaction: what bounds the memory."""


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
                if re.search(r"\bscores\b", query, re.IGNORECASE):
                    connection.execute(scores_view(self._score_tables(), temporary=True))
                asked = re.search(r"\bjudgement\b", query, re.IGNORECASE)
                if asked and (self.records is not None or not view_text(connection, "judgement")):
                    connection.execute(judgements_view(self._judged(), temporary=True))
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
                count = self._make_anew(self.store.list_all())
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

    def _make_anew(self, keys: Sequence[ArtifactKey]) -> int:
        """Replace the index, whole or not at all, by one of these artifacts; returns how many of them count."""
        count = 0
        with new_file(self.path) as aside:
            with self._database.open(aside=aside) as connection:
                connection.execute(TABLES)
                for start in range(0, len(keys), AT_A_TIME):
                    events = self._computed(keys[start : start + AT_A_TIME])
                    connection.begin()
                    insert_events(connection, events)
                    connection.commit()
                    count += len(events)
                self._carry_over_reuse(connection)
                self._renew_views(connection)
            self.path.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)
        return count

    def _computed(self, keys: Sequence[ArtifactKey]) -> list[LineageEvent]:
        """What the provenance of stored artifacts says."""
        made = self.store.provenances(keys)
        for key in keys:
            if key not in made:
                logger.warning("Left out of the index: %s", key)
        return [LineageEvent.computed(found, self.store.path(key)) for key, found in made.items()]

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
            keys = self.store.list_all()
            return self._computed([key for key in keys if tuple(vars(key).values()) not in known])

    def _fold(self, news: Sequence[LineageEvent] = ()) -> bool:
        """The fold itself, in our turn: the files go only after their rows are safe.

        An index that is not there, because it is the first or was lost, begins with all that is stored; on an object
        store that waits for whoever reads it, who brings it as ``news``.
        """
        if not self.path.exists():
            self._make_anew([] if self.store.shared else self.store.list_all())
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
                self._require_schema(connection)
                insert_events(connection, events)
                self._renew_views(connection)
                connection.commit()
        except duckdb.Error as error:
            raise self._database.damaged(error) from error
        for file in files:
            file.unlink(missing_ok=True)
        return True

    def _require_schema(self, connection: Any) -> None:
        ((version,),) = connection.execute("SELECT version FROM schema_version").fetchall()
        if version != SCHEMA_VERSION:
            raise LineageError(
                f"{self.path} has schema {version}, this program {SCHEMA_VERSION}: run `uad lineage rebuild`"
            )

    def _renew_views(self, connection: Any) -> None:
        connection.execute(VIEWS)
        names = "SELECT DISTINCT name FROM metric WHERE asset = 'metrics_report'"
        recorded = [name for (name,) in connection.execute(names).fetchall()]
        connection.execute(metrics_view(self.metrics, recorded))
        if not reads_scores(connection):
            connection.execute(scores_view(self._score_tables()))
        if self._judged():
            connection.execute(judgements_view(self._judged()))

    def _judged(self) -> Path | None:
        """The folder with files of judgements; None while it holds none."""
        if self.records is None:
            return None
        found = iglob(judgement_files_pattern(self.records))  # noqa: PTH207 - DuckDB globs text, too
        return self.records if any(found) else None

    def _score_tables(self) -> Path | None:
        """The folder of the score tables on this machine; None while it holds no Parquet file."""
        folder = self.store.location.artifact_files / "score_table"
        found = iglob(score_files_pattern(folder), recursive=True)  # noqa: PTH207 - DuckDB globs text, too
        return folder if any(found) else None

    def _carry_over_reuse(self, connection: Any) -> None:
        import duckdb

        if not self.path.exists():
            return
        path = str(self.path).replace("'", "''")
        try:
            connection.execute(f"ATTACH '{path}' AS old (READ_ONLY)")
            connection.execute(
                "INSERT INTO materialization BY NAME SELECT * FROM old.materialization WHERE reused"
            )
            connection.execute("DETACH old")
        except duckdb.Error as error:
            logger.warning("When artifacts were reused is lost, the old index cannot be read: %s", error)
