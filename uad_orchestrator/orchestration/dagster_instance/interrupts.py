"""Noticing Ctrl-C and SIGTERM although Dagster takes the signals while it runs a job in this process."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def noticed_interrupts() -> Iterator[Callable[[], bool]]:
    """Within the block, the function yielded says whether SIGINT or SIGTERM came since it was last asked.

    Dagster replaces the handlers during a run, and a signal that comes between two of its steps is forgotten when
    the run ends. Python's wake-up file descriptor gets every signal, whoever handles it. Signals reach the main
    thread only; elsewhere the answer is always no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def came() -> bool:
        try:
            return bool({signal.SIGINT, signal.SIGTERM}.intersection(reader.recv(4096)))
        except BlockingIOError:
            return False

    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield came
    finally:
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()
