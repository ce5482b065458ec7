"""The index's tables and views in SQL: history is in the tables, the views show what is current.

Times are UTC. NULL stands for a dimension an asset does not have.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

SCHEMA_VERSION = 1

CELL = "dataset VARCHAR, category VARCHAR, detector VARCHAR"

TABLES = f"""
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER);
INSERT INTO schema_version SELECT {SCHEMA_VERSION} WHERE NOT EXISTS (FROM schema_version);
CREATE TABLE IF NOT EXISTS materialization (
    event_id VARCHAR, recorded_at TIMESTAMP, reused BOOLEAN, asset VARCHAR, {CELL}, version VARCHAR,
    stage_version VARCHAR, started_at TIMESTAMP, seconds DOUBLE, bytes BIGINT, host VARCHAR, device VARCHAR,
    code_version VARCHAR, run_id VARCHAR, location VARCHAR, settings JSON, facts JSON, packages JSON,
    seeds JSON
);
CREATE TABLE IF NOT EXISTS lineage (
    asset VARCHAR, {CELL}, version VARCHAR, upstream_asset VARCHAR, upstream_dataset VARCHAR,
    upstream_category VARCHAR, upstream_detector VARCHAR, upstream_version VARCHAR
);
CREATE TABLE IF NOT EXISTS metric (asset VARCHAR, {CELL}, version VARCHAR, name VARCHAR, value DOUBLE);
"""

VIEWS = """
CREATE OR REPLACE VIEW current_materialization AS
    SELECT * FROM materialization
    QUALIFY row_number() OVER (
        PARTITION BY asset, dataset, category, detector ORDER BY recorded_at DESC, event_id DESC
    ) = 1;

CREATE OR REPLACE VIEW current_lineage AS
    SELECT lineage.* FROM lineage SEMI JOIN current_materialization AS c ON lineage.asset = c.asset
        AND lineage.version = c.version AND lineage.dataset IS NOT DISTINCT FROM c.dataset
        AND lineage.category IS NOT DISTINCT FROM c.category
        AND lineage.detector IS NOT DISTINCT FROM c.detector;

CREATE OR REPLACE VIEW current_metric AS
    SELECT metric.* FROM metric SEMI JOIN current_materialization AS c ON metric.asset = c.asset
        AND metric.version = c.version AND metric.dataset IS NOT DISTINCT FROM c.dataset
        AND metric.category IS NOT DISTINCT FROM c.category
        AND metric.detector IS NOT DISTINCT FROM c.detector;

CREATE OR REPLACE VIEW metric_history AS
    SELECT m.recorded_at, m.asset, m.dataset, m.category, m.detector, m.version, metric.name, metric.value,
        metric.value - lag(metric.value) OVER (
            PARTITION BY m.asset, m.dataset, m.category, m.detector, metric.name ORDER BY m.recorded_at
        ) AS change
    FROM materialization AS m JOIN metric ON metric.asset = m.asset AND metric.version = m.version
        AND metric.dataset IS NOT DISTINCT FROM m.dataset
        AND metric.category IS NOT DISTINCT FROM m.category
        AND metric.detector IS NOT DISTINCT FROM m.detector;

CREATE OR REPLACE VIEW cell_cost AS
    SELECT dataset, category, detector, sum(seconds) AS seconds, sum(bytes) AS bytes,
        coalesce(sum(seconds) FILTER (asset = 'memory_bank'), 0) AS memory_bank_seconds,
        coalesce(sum(seconds) FILTER (asset = 'score_table'), 0) AS score_table_seconds,
        coalesce(sum(seconds) FILTER (asset = 'anomaly_maps'), 0) AS anomaly_maps_seconds,
        coalesce(sum(seconds) FILTER (asset = 'metrics_report'), 0) AS metrics_report_seconds
    FROM current_materialization
    WHERE category IS NOT NULL AND detector IS NOT NULL
    GROUP BY ALL;
"""


def metrics_view(always: Sequence[str], recorded: Sequence[str]) -> str:
    """SQL of the view ``metrics``: one row per cell, a column per metric of its current metrics report.

    Args:
        always: the columns it always has, in their order.
        recorded: the names of all metrics that any report has; those not among ``always`` come after them.
    """
    columns = dict.fromkeys([*always, *sorted(recorded)])
    picked = ",\n        ".join(
        f"max(value) FILTER (name = {_text(name)}) AS {_identifier(name)}" for name in columns
    )
    return f"""
    CREATE OR REPLACE VIEW metrics AS SELECT dataset, category, detector, version,
        {picked}
    FROM current_metric WHERE asset = 'metrics_report' GROUP BY dataset, category, detector, version"""


def scores_view(root: Path | None, *, temporary: bool = False) -> str:
    """SQL of the view ``scores``: the current score tables' rows, read from their Parquet files when asked.

    Args:
        root: the folder of the score tables, ``<...>/score_table/<dataset>/<category>/<detector>/<version>``;
            None where no such file exists yet: the view is then empty.
        temporary: for one connection only.
    """
    create = f"CREATE OR REPLACE {'TEMPORARY ' if temporary else ''}VIEW scores AS"
    if root is None:
        columns = (
            "dataset", "category", "detector", "version", "image", "role", "defect_type",
        )  # fmt: skip
        empty = ", ".join(f"NULL::VARCHAR AS {column}" for column in columns)
        return f"{create} SELECT {empty}, NULL::INTEGER AS label, NULL::DOUBLE AS score WHERE false"
    files = _text(score_files_pattern(root))
    place = _text(".*/score_table/([^/]+)/([^/]+)/([^/]+)/([^/]+)/")
    return f"""{create}
    WITH stored AS (
        SELECT * EXCLUDE (filename),
            regexp_extract(replace(filename, '\\', '/'), {place},
                ['dataset', 'category', 'detector', 'version']) AS artifact
        FROM read_parquet({files}, filename = true, union_by_name = true, hive_partitioning = false)
    )
    SELECT c.dataset, c.category, c.detector, c.version, stored.* EXCLUDE (artifact)
    FROM stored JOIN current_materialization AS c ON c.asset = 'score_table'
        AND c.dataset = artifact.dataset AND c.category = artifact.category
        AND c.detector = artifact.detector AND c.version = artifact.version"""


def score_files_pattern(root: Path) -> str:
    """The glob pattern of the score tables' Parquet files below ``root``, without the patch grids."""
    return f"{glob.escape(root.as_posix())}/*/*/*/**/scores.parquet"


_EVENT_COLUMNS = {
    "event": "VARCHAR", "id": "VARCHAR", "time": "TIMESTAMP", "by": "VARCHAR", "category": "VARCHAR",
    "image": "VARCHAR", "digest": "VARCHAR", "content": "VARCHAR", "verdict": "VARCHAR", "defect_type": "VARCHAR",
    "stopped": "JSON", "path": "VARCHAR", "reason": "VARCHAR",
}  # fmt: skip


def judgements_view(records: Path | None, *, temporary: bool = False) -> str:
    """SQL of the view ``judgement``: what people said of images that the line stopped, read from its files when asked.

    Args:
        records: the folder that the line is recorded to, with ``<dataset>/<category>/judgements.jsonl``; None where
            there is no such file: the view is then empty.
        temporary: for one connection only.
    """
    columns = ", ".join(f"{_identifier(name)}: {_text(kind)}" for name, kind in _EVENT_COLUMNS.items())
    empty = ", ".join(f"NULL::{kind} AS {_identifier(name)}" for name, kind in _EVENT_COLUMNS.items())
    events = f"SELECT {empty} WHERE false"
    if records is not None:
        # A line that a loss of power cut off is passed over.
        events = f"""SELECT * FROM read_json({_text(judgement_files_pattern(records))},
            format = 'newline_delimited', ignore_errors = true, columns = {{{columns}}})"""

    def of(event: str, column: str) -> str:
        return f"max({column}) FILTER (event = '{event}')"

    return f"""CREATE OR REPLACE {"TEMPORARY " if temporary else ""}VIEW judgement AS
    WITH happened AS ({events})
    SELECT max(split_part(category, '/', 1)) AS dataset, max(split_part(category, '/', 2)) AS category, id,
        {of("judged", "time")} AS judged_at, {of("judged", '"by"')} AS judged_by, max(image) AS image,
        max(verdict) AS verdict, max(defect_type) AS defect_type, max(digest) AS digest, max(content) AS content,
        {of("filed", "path")} AS filed_as, {of("taken", "path")} AS taken_as, {of("taken", "time")} AS taken_at,
        {of("held", "reason")} AS held_for, {of("undone", "time")} AS undone_at, {of("undone", '"by"')} AS undone_by,
        any_value(stopped) AS stopped
    FROM happened GROUP BY id HAVING count(*) FILTER (event = 'judged') > 0"""


def judgement_files_pattern(records: Path) -> str:
    """The glob pattern of the files of judgements in the folder that the line is recorded to."""
    return f"{glob.escape(records.as_posix())}/*/*/judgements.jsonl"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
