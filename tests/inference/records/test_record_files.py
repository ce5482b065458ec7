"""Records in Parquet and in journals are read as one, each once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from uad_orchestrator.inference.records.record import LineRecord, record_columns
from uad_orchestrator.inference.records.record_files import (
    cell_folder,
    read_day,
    recorded_cells,
    recorded_days,
)

CELL = ("line7/housing", "patchcore")
DAY = "2026-11-26"


def record(number: int, **changes: object) -> LineRecord:
    when = datetime(2026, 11, 26, 6, 0, number, tzinfo=UTC)
    return replace(LineRecord.example(), id=f"{number:032x}", time=when, **changes)


def test_records_of_parquet_and_journals_are_read_once_each(tmp_path):
    folder = cell_folder(tmp_path, *CELL) / DAY
    folder.mkdir(parents=True)
    bare = record(3, brightness=None, picture=None, label=None, decision=None)
    rows = [record(2, warnings=("dark",)), bare]
    table = pa.Table.from_pylist([vars(row) for row in rows], schema=record_columns())
    pq.write_table(table, folder / "a.parquet")
    lines = "".join(json.dumps(entry.to_json()) + "\n" for entry in (record(1), rows[0]))
    (folder / "b.jsonl").write_text(lines + '{"id": "0004", "ti')
    assert read_day(tmp_path, *CELL, DAY) == [record(1), *rows]
    assert recorded_cells(tmp_path) == [CELL]
    assert recorded_days(tmp_path, *CELL) == [DAY]
    assert pq.read_schema(folder / "a.parquet").metadata[b"uad_record_schema"] == b"1"


def test_where_nothing_is_recorded_there_is_nothing(tmp_path):
    assert recorded_cells(tmp_path / "none") == []
    assert recorded_days(tmp_path, *CELL) == []
    assert read_day(tmp_path, *CELL, DAY) == []


def test_a_day_is_one_of_utc():
    assert replace(record(0), time=datetime.fromisoformat("2026-11-26T01:00:00+02:00")).day == "2026-11-25"


def test_files_that_are_merged_while_they_are_read_cost_no_record(tmp_path, monkeypatch):
    folder = cell_folder(tmp_path, *CELL) / DAY
    folder.mkdir(parents=True)
    for number in (1, 2):
        table = pa.Table.from_pylist([vars(record(number))], schema=record_columns())
        pq.write_table(table, folder / f"{number}.parquet")
    read = pq.read_table

    def merged_meanwhile(path, **options):
        if (folder / "2.parquet").exists():
            both = pa.concat_tables([read(folder / f"{number}.parquet") for number in (1, 2)])
            pq.write_table(both, folder / "0.parquet")
            for number in (1, 2):
                (folder / f"{number}.parquet").unlink()
        return read(path, **options)

    monkeypatch.setattr(pq, "read_table", merged_meanwhile)
    assert read_day(tmp_path, *CELL, DAY) == [record(1), record(2)]
