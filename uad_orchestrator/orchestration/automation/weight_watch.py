"""Weight files under watch: which of them changed, and stand still by now. No file is opened.

The memory between two looks is a ``Watch``, small enough for a sensor's cursor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

FIRST_WAIT = 120.0
"""Seconds until a cell whose run never came is asked for again; four times as long each time after."""

TRIES = 4
"""How often a cell is asked for because of one change: the last time some three hours after the first."""

Stamp = tuple[int, int]
"""``(size, mtime_ns)`` of a file."""


@dataclass(frozen=True)
class Watched:
    """What is remembered of one weight file.

    Attributes:
        seen: its stamp at the last look; None: it was not there, or could not be reached.
        taken: its stamp when its cells were last asked for; None: never.
        since: when ``seen`` was first seen, in seconds since the epoch.
        changes: how often it changed.
        from_the_start: it was there when the watch began, and may be in use already.
    """

    seen: Stamp | None
    taken: Stamp | None = None
    since: float = 0.0
    changes: int = 0
    from_the_start: bool = False

    def look(self, stamp: Stamp | None, now: float) -> Watched:
        """The same file at the next look."""
        if stamp == self.seen:
            return self
        return Watched(stamp, self.taken, now, self.changes)

    def take(self) -> Watched:
        """The change is dealt with."""
        return Watched(self.seen, self.seen, self.since, self.changes + 1)


@dataclass(frozen=True)
class FileChange:
    """A weight file that changed and has stood still since, from one look to the next.

    Attributes:
        path: the file.
        stamp: what it is now.
        since: when it was first seen so.
        number: how many changes of this file came before.
        from_the_start: the first time it is looked at: it may be in use already.
    """

    path: str
    stamp: Stamp
    since: float
    number: int
    from_the_start: bool


@dataclass(frozen=True)
class Asked:
    """A cell that was asked for, and is waited for until it is materialised, or found fresh.

    Attributes:
        change: that asks for it.
        tries: how often it was asked for.
        at: when it was asked for last, in seconds since the epoch.
        order: the number of its latest checkpoint in the event log then; a later one ends the waiting.
        run: the key that Dagster knows the run by; its success ends the waiting, too.
    """

    change: FileChange
    tries: int
    at: float
    order: int
    run: str = ""

    def is_due(self, now: float) -> bool:
        """Whether so long was waited for a run that never came that the cell is asked for again."""
        return now - self.at >= FIRST_WAIT * 4 ** (self.tries - 1)


@dataclass
class Watch:
    """All weight files under watch.

    Attributes:
        files: what is remembered of each, by path.
        waiting: cells to be asked for once the run they are in has ended, with the change that asks.
        asked: cells that were asked for and are waited for.
        begun: whether there was a look before.
    """

    files: dict[str, Watched] = field(default_factory=dict)
    waiting: dict[str, FileChange] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    begun: bool = False

    @classmethod
    def from_cursor(cls, text: str | None) -> Self:
        """The memory of the last look; a fresh one where there is none, or none that can be read."""
        try:
            values = json.loads(text or "{}")
            return cls(
                {path: Watched(**_with_stamps(entry)) for path, entry in values.get("files", {}).items()},
                {
                    cell: FileChange(**_with_stamps(entry))
                    for cell, entry in values.get("waiting", {}).items()
                },
                {
                    cell: Asked(**entry | {"change": FileChange(**_with_stamps(entry["change"]))})
                    for cell, entry in values.get("asked", {}).items()
                },
                bool(values),
            )
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls()

    def to_cursor(self) -> str:
        """The memory for the next look."""
        return json.dumps(
            {
                "files": {path: asdict(entry) for path, entry in self.files.items()},
                "waiting": {cell: asdict(change) for cell, change in self.waiting.items()},
                "asked": {cell: asdict(asked) for cell, asked in self.asked.items()},
            }
        )

    def look(self, stamps: Mapping[str, Stamp | None], now: float) -> list[FileChange]:
        """Compare with the last look; files no longer named are forgotten.

        Returns:
            The files that changed before the last look and are the same now. Each change comes once.
        """
        changes = []
        looked_at: dict[str, Watched] = {}
        for path, stamp in stamps.items():
            before = self.files.get(path)
            if before is None:
                from_the_start = not self.begun and stamp is not None
                looked_at[path] = Watched(stamp, since=now, from_the_start=from_the_start)
                continue
            watched = before.look(stamp, now)
            if stamp is not None and watched.seen == before.seen and stamp != watched.taken:
                changes.append(
                    FileChange(path, stamp, watched.since, watched.changes, watched.from_the_start)
                )
                watched = watched.take()
            looked_at[path] = watched
        self.files, self.begun = looked_at, True
        return changes


def look_at_files(paths: list[str]) -> tuple[dict[str, Stamp | None], dict[str, str]]:
    """The stamps of files; None, and a reason, for each that is missing or out of reach."""
    stamps: dict[str, Stamp | None] = {}
    faults: dict[str, str] = {}
    for path in paths:
        try:
            found = Path(path).stat()
        except OSError as error:
            stamps[path] = None
            faults[path] = f"{path}: {error.strerror or error}"
        else:
            stamps[path] = (found.st_size, found.st_mtime_ns)
    return stamps, faults


def _with_stamps(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    names = {"seen", "taken", "stamp"} & values.keys()
    return values | {name: tuple(values[name]) for name in names if values[name] is not None}
