"""Journals become Parquet, once, whoever wrote them; a day that is over is one file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.inference.records.test_record_files import CELL, DAY, record
from uad_orchestrator.inference.records import parquet_files
from uad_orchestrator.inference.records.journal import Journal
from uad_orchestrator.inference.records.parquet_files import merge_days, take_over, to_parquet, writing
from uad_orchestrator.inference.records.record_files import cell_folder, read_day


def journal_of(records: Path, writer: str, *numbers: int) -> Path:
    """A closed journal of a writer."""
    journal = Journal(cell_folder(records, *CELL), writer)
    for number in numbers:
        journal.append(record(number, warnings=("dark",)))
    (path,) = journal.closed(every=True)
    return path


def names(records: Path) -> set[str]:
    return {path.name for path in (cell_folder(records, *CELL) / DAY).iterdir()}


def test_a_journal_becomes_parquet_that_duckdb_reads(tmp_path: Path) -> None:
    before = [record(1, warnings=("dark",)), record(2, warnings=("dark",))]
    to_parquet(journal_of(tmp_path, "w", 1, 2))
    assert names(tmp_path) == {"w-000001.parquet"}
    assert read_day(tmp_path, *CELL, DAY) == before
    glob = f"{tmp_path}/*/*/*/*/*.parquet"
    found = duckdb.sql(f"select decision, count(*), max(score), max(warnings[1]) from '{glob}' group by 1")
    assert found.fetchall() == [("reject", 2, before[0].score, "dark")]


def test_a_conversion_that_fails_leaves_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = journal_of(tmp_path, "w", 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        to_parquet(path)
    assert names(tmp_path) == {path.name}
    assert len(read_day(tmp_path, *CELL, DAY)) == 1


def test_journals_of_those_who_are_gone_are_taken_over(tmp_path: Path) -> None:
    journal_of(tmp_path, "gone", 1)
    journal_of(tmp_path, "own", 2)
    with writing(tmp_path, "alive"):
        journal_of(tmp_path, "alive", 3)
        take_over(tmp_path, "own")
        assert names(tmp_path) == {"gone-000001.parquet", "own-000001.jsonl", "alive-000001.jsonl"}
    take_over(tmp_path, "own")
    assert names(tmp_path) == {"gone-000001.parquet", "own-000001.jsonl", "alive-000001.parquet"}
    assert len(read_day(tmp_path, *CELL, DAY)) == 3


def test_the_lock_of_one_that_is_gone_goes_once_it_is_old(tmp_path: Path) -> None:
    lock = tmp_path / ".writers" / "gone.lock"
    lock.parent.mkdir()
    lock.touch()
    take_over(tmp_path, "own")
    assert lock.exists(), "another process may be between making and locking it"
    old = time.time() - 2 * parquet_files.SETTLED_SECONDS
    os.utime(lock, (old, old))
    take_over(tmp_path, "own")
    assert not lock.exists()


def test_a_day_that_is_over_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for writer, number in (("a", 1), ("b", 2), ("c", 3)):
        to_parquet(journal_of(tmp_path, writer, number))
    pending = journal_of(tmp_path, "d", 4)
    merge_days(tmp_path)
    assert len(names(tmp_path)) == 4, "a journal is still to come"
    to_parquet(pending)
    (cell_folder(tmp_path, *CELL) / DAY / "again.parquet").write_bytes(
        (cell_folder(tmp_path, *CELL) / DAY / "a-000001.parquet").read_bytes()
    )
    merge_days(tmp_path)
    (only,) = names(tmp_path)
    assert pq.read_table(cell_folder(tmp_path, *CELL) / DAY / only).num_rows == 4
    assert [found.id for found in read_day(tmp_path, *CELL, DAY)] == [record(i).id for i in range(1, 5)]
    merge_days(tmp_path)
    assert names(tmp_path) == {only}


def test_today_is_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cell_folder(tmp_path, *CELL) / time.strftime("%Y-%m-%d", time.gmtime())
    for writer in ("a", "b"):
        path = journal_of(tmp_path, writer, 1)
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
        to_parquet(folder / path.name)
    merge_days(tmp_path)
    assert len(list(folder.iterdir())) == 2
