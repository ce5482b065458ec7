"""The views that an index has just now: the metrics that reports have, and the files beside it that they read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import iglob
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.lineage.database import reads_scores, view_text
from uad_orchestrator.storage.lineage.schema import (
    VIEWS,
    judgement_files_pattern,
    judgements_view,
    metrics_view,
    score_files_pattern,
    scores_view,
)


class IndexViews:
    """The views of one index.

    Args:
        store: the artifacts it is an index of, whose score tables are read.
        metrics: the metrics that ``metrics`` has a column for even where no report has them.
        records: the folder that the line is recorded to, which ``judgement`` reads.
    """

    def __init__(self, store: ArtifactStore, metrics: Sequence[str], records: Path | None) -> None:
        self.store = store
        self.metrics = metrics
        self.records = records

    def renew(self, connection: Any) -> None:
        """Put them into the index, as its rows and the files ask for."""
        connection.execute(VIEWS)
        names = "SELECT DISTINCT name FROM metric WHERE asset = 'metrics_report'"
        recorded = [name for (name,) in connection.execute(names).fetchall()]
        connection.execute(metrics_view(self.metrics, recorded))
        if not reads_scores(connection):
            connection.execute(scores_view(self._score_tables()))
        if self._judged():
            connection.execute(judgements_view(self._judged()))

    def renew_asked(self, connection: Any, query: str) -> None:
        """Lay those that a query reads files by over the index's own, of the files there are now, while it is open."""
        if re.search(r"\bscores\b", query, re.IGNORECASE):
            connection.execute(scores_view(self._score_tables(), temporary=True))
        asked = re.search(r"\bjudgement\b", query, re.IGNORECASE)
        if asked and (self.records is not None or not view_text(connection, "judgement")):
            connection.execute(judgements_view(self._judged(), temporary=True))

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
