"""Records results: at once to a journal; pictures, maps and Parquet by a thread, which no result waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from uad_orchestrator.images.source import ImageFile
from uad_orchestrator.inference.records.dropped import Dropped
from uad_orchestrator.inference.records.journal import Journal
from uad_orchestrator.inference.records.kept_images import KeptImages, map_name, picture_name
from uad_orchestrator.inference.records.parquet_files import (
    merge_days,
    new_writer,
    take_over,
    to_parquet,
    writing,
)
from uad_orchestrator.inference.records.record import STOPPED, LineRecord
from uad_orchestrator.inference.records.record_files import cell_folder, today
from uad_orchestrator.inference.results import InferenceResult

logger = logging.getLogger(__name__)

WAITING = 64
"""Pictures, with their maps, that wait at most to be written; more are dropped. A kill loses no more than these."""

WAITING_BYTES = 256 * 2**20
"""Their bytes, unless one alone has more."""

TICK_SECONDS = 10.0
"""How often the thread looks whether a journal is old enough to become Parquet."""


@dataclass(frozen=True)
class _Waiting:
    day: Path
    record: LineRecord
    file: ImageFile | None
    anomaly_map: np.ndarray | None

    @property
    def size(self) -> int:
        content = b"" if self.file is None else self.file.content
        of_map = 0 if self.anomaly_map is None else self.anomaly_map.nbytes
        return of_map + (len(content) if isinstance(content, bytes) else 0)


class Recorder:
    """Records the results of one cell; several processes may have one for the same folder.

    Nothing that goes wrong reaches a result: it is counted. Call ``close`` at the end.

    Args:
        records: the folder of records.
        cell: ``dataset/category`` and detector.
        kept_bytes: of all pictures and maps in the folder; 0: none are kept.
        dropped: where is counted what could not be recorded.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, records: Path, cell: tuple[str, str], kept_bytes: int, dropped: Dropped) -> None:
        self.records = records
        self.cell = cell_folder(records, *cell)
        self.dropped = dropped
        self.keeps = kept_bytes > 0
        writer = new_writer()
        self._alive = ExitStack()
        self._alive.enter_context(writing(records, writer))
        self._writer = writer
        self._journal = Journal(self.cell, writer)
        self._kept = KeptImages(records, kept_bytes)
        self._waiting: deque[_Waiting] = deque()
        self._held = 0
        self._changed = threading.Condition()
        self._closing = False
        self._closed: list[Path] = []
        self._said = False
        self._thread = threading.Thread(target=self._work, name="uad-records", daemon=True)
        self._thread.start()

    def add(self, record: LineRecord, result: InferenceResult) -> LineRecord:
        """Record a result; when this returns, its line outlives the process.

        Args:
            record: what was made of it.
            result: with its file, and its map where there is one.

        Returns:
            The record, with the names of what is kept of it.
        """
        if self.keeps and record.decision in STOPPED:
            record = self._hand_over(record, result)
        try:
            self._journal.append(record)
        except OSError as error:
            self.dropped.add("record", error)
        return record

    def close(self, seconds: float) -> None:
        """Write what waits, and turn the journal into Parquet, as far as there is time.

        What does not fit into it stays as it is: a journal becomes Parquet when the next process records.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._alive.close()
        elif self._waiting:
            self.dropped.add("picture", f"not written within {seconds:.0f} s", len(self._waiting))

    def _hand_over(self, record: LineRecord, result: InferenceResult) -> LineRecord:
        """Queue picture and map; the record with their names, or without where the queue is full."""
        file, made = result.file, result.anomaly_map
        named = replace(
            record,
            picture=None if file is None else picture_name(record.id, record.image, file),
            anomaly_map=None if made is None else map_name(record.id),
        )
        waiting = _Waiting(self.cell / record.day, named, file, made)
        with self._changed:
            full = len(self._waiting) >= WAITING or (self._held and self._held + waiting.size > WAITING_BYTES)
            if not full and not self._closing:
                self._waiting.append(waiting)
                self._held += waiting.size
                self._changed.notify()
                return named
        self.dropped.add("picture", "they come faster than they can be written")
        return record

    def _work(self) -> None:
        self._tried(take_over, self.records, self._writer)
        self._tried(merge_days, self.records)
        last_look = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, TICK_SECONDS)
                waiting = self._waiting[0] if self._waiting else None
                ending = self._closing and waiting is None
            if waiting is not None:
                self._keep(waiting)
                with self._changed:
                    self._waiting.popleft()
                    self._held -= waiting.size
            if ending or time.monotonic() - last_look >= TICK_SECONDS:
                self._close_journals(every=ending)
                last_look = time.monotonic()
            if ending:
                return

    def _keep(self, waiting: _Waiting) -> None:
        record = waiting.record
        try:
            if record.picture is not None and waiting.file is not None:
                self._kept.keep_picture(waiting.day / record.picture, waiting.file)
            if record.anomaly_map is not None and waiting.anomaly_map is not None:
                self._kept.keep_map(waiting.day / record.anomaly_map, waiting.anomaly_map)
        except Exception as error:  # whatever it is, the next picture has its turn
            self.dropped.add("picture", error)

    def _close_journals(self, *, every: bool) -> None:
        """Turn the journals that are closed into Parquet; those of which that fails are tried again later."""
        closed, self._closed = self._closed + self._journal.closed(every=every), []
        for journal in closed:
            if not self._tried(to_parquet, journal):
                self._closed.append(journal)
        this_day = today()
        if any(journal.parent.name < this_day for journal in closed):
            self._tried(merge_days, self.records)

    def _tried(self, work: Callable[..., None], *arguments: object) -> bool:
        """Whether work on files came to its end; what keeps it from that loses no record, and is said once."""
        try:
            work(*arguments)
        except Exception as error:  # a full disk, a damaged file; journals and small files can be read, too
            if not self._said:
                logger.warning("records stay in journals or small files for now: %s", error)
            self._said = True
            return False
        return True
