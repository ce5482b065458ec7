"""Processes that a command starts beside it and that end with it."""

from __future__ import annotations

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
        preexec_fn=stopped_with_parent(),  # noqa: PLW1509 - one call that takes no lock
    )


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
