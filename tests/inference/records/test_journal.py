"""A journal: what is appended is on the disk at once, and a line that was cut short costs no other one."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.inference.records.test_record_files import DAY, record
from uad_orchestrator.inference.records.journal import Journal
from uad_orchestrator.inference.records.parquet_files import to_parquet
from uad_orchestrator.inference.records.record_files import read_journal


def test_a_record_is_there_when_append_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.append(record(1))
    assert read_journal(tmp_path / DAY / "w-000001.jsonl")[0] == [record(1)]


def test_it_is_closed_by_rows_by_age_and_with_the_day(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w", rows=2)
    for number in range(3):
        journal.append(record(number))
    assert [path.name for path in journal.closed()] == ["w-000001.jsonl"]
    tomorrow = record(4, warnings=("late",))
    tomorrow = type(tomorrow)(**vars(tomorrow) | {"time": datetime(2026, 11, 27, tzinfo=UTC)})
    journal.append(tomorrow)
    assert [path.name for path in journal.closed()] == ["w-000002.jsonl"]
    assert [path.parent.name for path in journal.closed(every=True)] == ["2026-11-27"]
    aged = Journal(tmp_path, "old", seconds=0)
    aged.append(record(5))
    assert len(aged.closed()) == 1 and aged.closed() == []


def test_a_day_is_that_of_the_record_not_of_the_moment(tmp_path: Path) -> None:
    late = record(0)
    before = type(late)(**vars(late) | {"time": late.time - timedelta(days=1)})
    journal = Journal(tmp_path, "w")
    journal.append(before)
    assert [path.parent.name for path in journal.closed(every=True)] == ["2026-11-25"]


def test_a_full_disk_costs_the_records_that_did_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = Journal(tmp_path, "w"), os.write
    journal.append(record(1))
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:40]))
    with pytest.raises(OSError, match="only 40 of"):
        journal.append(record(2))

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append(record(3))
    monkeypatch.setattr(os, "write", write)
    journal.append(record(4))
    (path,) = journal.closed(every=True)
    assert [found.id for found in read_journal(path)[0]] == [record(1).id, record(4).id]


def test_threads_write_whole_lines_to_an_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_at_once = os.write

    def write_late(file: int, data: bytes) -> int:
        time.sleep(0.0005)  # in which another thread may close the file
        return write_at_once(file, data)

    monkeypatch.setattr(os, "write", write_late)
    journal = Journal(tmp_path, "w", rows=7)

    def write(first: int) -> None:
        for number in range(first, first + 50):
            journal.append(record(number % 60, image=str(number)))

    threads = [threading.Thread(target=write, args=(50 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [entry.image for path in journal.closed(every=True) for entry in read_journal(path)[0]]
    assert sorted(map(int, found)) == list(range(200))


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2026-11-26T06:00:00"},
        {"seconds": float("nan")},
        {"score": "high"},
        {"height": 10**12},
        {"id": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_line_that_is_no_record_costs_itself_alone_and_is_kept_for_a_look(
    change: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = tmp_path / "w-000001.jsonl"
    wrong = json.dumps(record(2).to_json() | change)
    journal.write_text(f"{json.dumps(record(1).to_json())}\n{wrong}\n[]\n")
    assert read_journal(journal)[0] == [record(1)]
    assert "a line is no record" in caplog.text
    to_parquet(journal)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w-000001.parquet", "w-000001.unread"]
    assert (tmp_path / "w-000001.unread").read_text() == f"{wrong}\n[]\n"
