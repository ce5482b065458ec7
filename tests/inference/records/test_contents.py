"""The digest is of what records say; the stamp of the files they lie in."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tests.inference.records.made_up import made_records, write_journal, write_parquet
from uad_orchestrator.inference.records.contents import content_digest, day_stamp
from uad_orchestrator.inference.records.record_files import cell_folder, read_day

CELL, DAY = ("line7/housing", "patchcore"), "2026-11-26"


def test_the_same_records_in_other_files_and_orders_have_one_digest(tmp_path: Path) -> None:
    records = list(made_records(DAY, [0.1, 0.2, 0.3]))
    write_journal(tmp_path / "a", records)
    write_parquet(tmp_path / "b", records[::-1])
    read = [read_day(tmp_path / name, *CELL, DAY) for name in "ab"]
    digest = content_digest(records)
    assert [content_digest(found) for found in read] == [digest, digest]
    assert content_digest(records[::-1]) == digest
    assert content_digest(records[:2]) != digest
    assert content_digest([*records[:2], replace(records[2], score=0.4)]) != digest


def test_a_stamp_changes_with_the_files_and_with_nothing_else(tmp_path: Path) -> None:
    assert day_stamp(tmp_path, *CELL, DAY) == ""
    write_journal(tmp_path, made_records(DAY, [0.1]))
    first = day_stamp(tmp_path, *CELL, DAY)
    folder = cell_folder(tmp_path, *CELL) / DAY
    (folder / "pictures").mkdir()
    (folder / "pictures/a.png").write_bytes(b"")
    assert day_stamp(tmp_path, *CELL, DAY) == first != ""
    write_journal(tmp_path, made_records(DAY, [0.2]))
    second = day_stamp(tmp_path, *CELL, DAY)
    assert second != first
    os.utime(folder / "a.jsonl", ns=(1, 1))
    assert day_stamp(tmp_path, *CELL, DAY) != second
