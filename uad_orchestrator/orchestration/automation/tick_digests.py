"""Digests for a sensor's tick: what is remembered, and as much hashing as its time allows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from uad_orchestrator.project import Project
from uad_orchestrator.storage.digests import AnyPath, DigestCache

LEFT_TO_THE_RUN = "is fingerprinted by the run"
"""Stands in the error of a weight file that changed and is too large for a tick: the cell's run reads it."""

LARGEST = 64 * 2**20
"""Bytes of a single file that a tick reads."""

FILES_AT_ONCE = 32


@dataclass(frozen=True)
class TickDigests:
    """Takes the place of a digest cache where time is short; what it hashes is remembered for the next tick.

    Args:
        cache: the project's.
        until: hash until then (``time.monotonic``).
        largest: bytes of the largest single file that is read.
    """

    cache: DigestCache
    until: float
    largest: int

    def __call__(self, path: Path) -> str:
        """The digest of one file.

        Raises:
            OSError: it cannot be reached; or it is not remembered, and too large or too late to be read.
        """
        path = Path(path)
        known = self.cache.remembered([path])
        if path in known:
            return known[path]
        if path.stat().st_size > self.largest or time.monotonic() > self.until:
            raise OSError(f"{path} {LEFT_TO_THE_RUN}")
        return self.cache(path)

    def many(self, paths: Iterable[AnyPath]) -> dict[AnyPath, str]:
        """The digests of many files.

        Raises:
            OSError: a file cannot be reached; or time ran out: the next call goes on where this one stopped.
        """
        paths = list(paths)
        if time.monotonic() > self.until:
            raise OSError(f"{len(paths)} files are fingerprinted in a later tick: this one's time is up")
        known = self.cache.remembered(paths)
        missing = [path for path in paths if path not in known]
        for start in range(0, len(missing), FILES_AT_ONCE):
            if time.monotonic() > self.until:
                left = len(missing) - start
                raise OSError(f"{left} files are fingerprinted in a later tick: this one's time is up")
            known |= self.cache.many(missing[start : start + FILES_AT_ONCE])
        return known


def digests_within(project: Project, seconds: float) -> TickDigests:
    """The project's digest cache, hashing for at most about so long; 0: only what is remembered."""
    cache = DigestCache(Path(project.storage.local) / "digests.sqlite")
    return TickDigests(cache, time.monotonic() + seconds if seconds else 0.0, LARGEST)
