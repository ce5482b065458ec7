"""A writer's own file of records: a line of JSON each, written at once, so that a killed writer loses none of them."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from uad_orchestrator.inference.records.record import LineRecord

ROWS = 10_000
"""Records after which a journal is closed, to become Parquet."""

SECONDS = 600.0
"""Its age at which it is closed, whatever it holds."""


class Journal:
    """Appends records to a file of the day they belong to; safe with several threads.

    Nothing is buffered: when ``append`` returns, the record outlives this process. A loss of power may take the last
    seconds along, because the disk is not waited for.

    Args:
        cell: the folder of the cell's records.
        writer: what no other writer is called; the files' names begin with it.
        rows, seconds: when a file is closed.
    """

    def __init__(self, cell: Path, writer: str, *, rows: int = ROWS, seconds: float = SECONDS) -> None:
        self.cell = cell
        self.writer = writer
        self.rows = rows
        self.seconds = seconds
        self._lock = threading.Lock()
        self._file: _OpenFile | None = None
        self._number = 0
        self._closed: list[Path] = []

    def append(self, record: LineRecord) -> None:
        """Write a record.

        Raises:
            OSError: the disk is full, or cannot be written; the next record may fit again.
        """
        line = json.dumps(record.to_json(), allow_nan=False).encode() + b"\n"
        with self._lock:
            if self._file is None or self._file.day != record.day or self._file.rows >= self.rows:
                self._close()
                self._file = self._open(record.day)
            self._file.write(line)

    def closed(self, *, every: bool = False) -> list[Path]:
        """The files that are closed since this was last asked; those that are old enough are closed now.

        Args:
            every: close the open one, too.
        """
        with self._lock:
            if self._file is not None and (every or time.monotonic() - self._file.opened >= self.seconds):
                self._close()
            found, self._closed = self._closed, []
            return found

    def _open(self, day: str) -> _OpenFile:
        folder = self.cell / day
        folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        return _OpenFile(folder / f"{self.writer}-{self._number:06}.jsonl", day)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._closed.append(file.path)
            with suppress(OSError):  # what could be written is; the descriptor is gone either way
                file.close()


class _OpenFile:
    def __init__(self, path: Path, day: str) -> None:
        self.path = path
        self.day = day
        self.rows = 0
        self.opened = time.monotonic()
        self._torn = False
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)

    def write(self, line: bytes) -> None:
        """A line in one write; what a full disk left of one is ended before the next, which would else be lost, too."""
        line = b"\n" * self._torn + line
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            self._torn = True
            raise
        self._torn = written < len(line)
        if self._torn:
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes were written: is the disk full?")
        self.rows += 1

    def close(self) -> None:
        os.close(self._descriptor)
