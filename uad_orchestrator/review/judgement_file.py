"""The judgements of a category: ``<records>/<dataset>/<category>/judgements.jsonl``, an event a line.

Lines are only ever added, each by one write that the disk has before the next step is taken: what was said is never
lost, and what was half done can be seen and completed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uad_orchestrator.review.judgement import Judged, Judgement, now

FILE_NAME = "judgements.jsonl"
LOCK_SECONDS = 10.0


class JudgementFile:
    """The file of one category.

    Args:
        records: the folder that the line is recorded to.
        category: ``dataset/category``.
    """

    def __init__(self, records: Path, category: str) -> None:
        self.path = records / Path(category) / FILE_NAME

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One at a time: between looking at what was judged and judging, nobody else judges.

        Raises:
            TimeoutError: another one has it for longer than ten seconds.
        """
        with self._locked(f".{FILE_NAME}.lock"):
            yield

    def read(self) -> list[Judged]:
        """All judgements in the order in which they were made, with what became of each."""
        return self.read_all()[0]

    def read_all(self) -> tuple[list[Judged], list[str]]:
        """The same, and the lines that cannot be read, in words: a loss of power may have cut one off."""
        found: dict[str, Judged] = {}
        faults = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                event = json.loads(line)
                if event["event"] == "judged":
                    found[event["id"]] = Judged(Judgement.from_json(event))
                elif event["id"] in found:
                    found[event["id"]] = found[event["id"]].after(event)
            except (ValueError, TypeError, KeyError) as error:
                faults.append(f"{self.path}, line {number} is no event of a judgement: {error!r}")
        return list(found.values()), faults

    def add_judgement(self, judgement: Judgement) -> None:
        """Note a judgement."""
        self._append({"event": "judged"} | judgement.to_json())

    def add(self, event: str, judgement_id: str, **values: Any) -> None:
        """Note what became of one: ``filed``, ``taken``, ``held``, ``undone`` or ``removed``."""
        self._append({"event": event, "id": judgement_id, "time": now(), **values})

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path.with_name(name), timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise TimeoutError(f"{self.path} is in use by another process: try again") from error

    def _lines(self) -> list[bytes]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [line for line in lines if line.strip()]

    def _append(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        # Alone, as the end of a file that another writer is just adding to may look like a line that was cut off.
        with self._locked(f".{FILE_NAME}.end.lock"), self.path.open("ab+", buffering=0) as file:
            # Behind a line that a loss of power cut off, it begins a new one.
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                line = b"\n" + line
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "the line was not written whole", str(self.path))
            os.fsync(file.fileno())
