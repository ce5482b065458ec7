"""Journals become Parquet, those of writers that are gone, too; the files of a day that is over become one."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

from uad_orchestrator.inference.records.record import record_columns
from uad_orchestrator.inference.records.record_files import (
    cell_folder,
    read_journal,
    recorded_cells,
    recorded_days,
    today,
)
from uad_orchestrator.storage.atomic import new_file, write_text

WRITERS = ".writers"
"""In the folder of records: a file per writer, locked as long as it lives, whatever ends it."""

SETTLED_SECONDS = 60.0
"""The age from which on the lock of a writer may be removed: none is between making and locking it by then."""


def new_writer() -> str:
    """A name that no other writer has."""
    return uuid.uuid4().hex[:16]


@contextmanager
def writing(records: Path, writer: str) -> Iterator[None]:
    """The time in which a writer lives: nobody else touches its journals.

    Raises:
        OSError: the folder cannot be written.
    """
    from filelock import FileLock

    path = records / WRITERS / f"{writer}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(f"{records}: its file system has no locks: record to a local disk") from error
    try:
        yield
    finally:
        lock.release()
    path.unlink(missing_ok=True)


def to_parquet(journal: Path) -> None:
    """Turn a closed journal into a Parquet file of its name; at every moment its records are in one of them, or both.

    Raises:
        OSError: the disk is full, or cannot be written; the journal stays.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    records, others = read_journal(journal)
    if records:
        table = pa.Table.from_pylist([vars(record) for record in records], schema=record_columns())
        with new_file(journal.with_suffix(".parquet"), durable=True) as aside:
            pq.write_table(table, aside)
    if others:  # somebody else's, or of a later version: kept for a look
        write_text(journal.with_suffix(".unread"), b"\n".join([*others, b""]).decode(errors="replace"))
    journal.unlink(missing_ok=True)


def take_over(records: Path, own: str) -> None:
    """Turn the journals of writers that are gone into Parquet.

    Args:
        records: the folder of records.
        own: the writer that asks, whose journals stay.

    Raises:
        OSError: the disk is full, or cannot be written; journals stay.
    """
    from filelock import FileLock, Timeout

    journals: dict[str, list[Path]] = {path.stem: [] for path in (records / WRITERS).glob("*.lock")}
    for path in records.glob("*/*/*/*/*.jsonl"):
        journals.setdefault(path.stem.partition("-")[0], []).append(path)
    for writer in journals.keys() - {own}:
        lock = records / WRITERS / f"{writer}.lock"
        settled = _age(lock) > SETTLED_SECONDS
        with suppress(Timeout), FileLock(lock, timeout=0):
            for path in journals[writer]:
                to_parquet(path)
            if settled:
                lock.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Seconds since a file was last opened for writing; infinite where it is not there."""
    try:
        return time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def merge_days(records: Path) -> None:
    """Make one file of those of each day that is over and has no journal any more.

    Between the new file and the removal of the last old one a record may be in both: ``id`` tells.

    Raises:
        OSError: the disk is full, or cannot be written; the files stay as they are.
    """
    from filelock import FileLock, Timeout

    this_day = today()
    with suppress(Timeout), FileLock(records / WRITERS / "merging", timeout=0):
        for category, detector in recorded_cells(records):
            for day in recorded_days(records, category, detector):
                if day < this_day:
                    _merge(cell_folder(records, category, detector) / day)


def _merge(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.glob("*.parquet"))
    if len(files) < 2 or any(folder.glob("*.jsonl")):
        return
    seen: set[str] = set()
    with (
        new_file(folder / f"{new_writer()}.parquet", durable=True) as aside,
        pq.ParquetWriter(aside, record_columns()) as merged,
    ):
        for path in files:
            table = pq.read_table(path, schema=record_columns(), partitioning=None)
            ids = table.column("id").to_pylist()
            merged.write_table(table.filter(pa.array([name not in seen for name in ids])))
            seen.update(ids)
    for path in files:
        path.unlink()
