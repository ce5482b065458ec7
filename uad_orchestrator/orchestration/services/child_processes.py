"""Processes that a command starts beside it and that end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

GRACE_SECONDS = 20.0


def start_module(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    """Start ``python -m module`` with this Python, in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        cwd=folder,
        preexec_fn=_before_start() if os.name == "posix" else None,  # noqa: PLW1509 - calls that take no lock
    )


def _before_start() -> Callable[[], None]:
    """As ``stopped_with_parent``, and able to be told at all.

    What a script starts by ``&`` ignores interrupts, and so would its children.
    """
    with_parent = stopped_with_parent()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if with_parent:
            with_parent()

    return prepare


def stopped_with_parent() -> Callable[[], None] | None:
    """What a child does before it starts, so that it is told to stop when this process is killed; Linux only.

    Its own children, code servers and runs, are ended by it, or miss its heartbeat.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl, set_parent_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_parent_death_signal, int(signal.SIGINT))


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the processes: politely, then for good."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
