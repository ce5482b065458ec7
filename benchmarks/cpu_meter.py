"""Processor seconds of a process and all below it, those included that have ended and that nobody waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

EVERY = 0.5
"""Seconds from look to look: of a process that ends at most so much is missed."""


class CpuMeter:
    """Looks at the processes again and again; what they took at the last look counts."""

    def __init__(self) -> None:
        self._taken: dict[tuple[int, float], float] = {}
        self._turn = threading.Lock()

    def seconds(self) -> float:
        """Taken since the processes began."""
        self.look()
        return sum(self._taken.values())

    def look(self) -> None:
        """Note what each process has taken so far."""
        here = psutil.Process()
        with self._turn:
            for process in (here, *here.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._taken[process.pid, process.create_time()] = times.user + times.system


@contextmanager
def running_meter() -> Iterator[CpuMeter]:
    """A meter that looks by itself until the block ends."""
    meter, ended = CpuMeter(), threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            meter.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        ended.set()
        thread.join()
