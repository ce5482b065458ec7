"""Which process left something behind, and whether it still lives: a number alone is soon another process's."""

from __future__ import annotations

import os
from functools import cache

_CLOCK_SECONDS = 3.0
"""By how much the start of a process may seem to differ from one look to the next: the clock is set meanwhile."""


@cache
def this_process() -> str:
    """This process, in words that no later one has: ``<pid>.<start>``, seconds since the epoch."""
    import psutil

    return f"{os.getpid()}.{round(psutil.Process().create_time())}"


def is_alive(process: str) -> bool:
    """Whether a process of this host lives.

    Args:
        process: from ``this_process``; earlier versions noted the number alone, which then decides.

    Returns:
        False where it ended (one that ended and is not waited for, too), and where its number is another one's now.
    """
    import psutil

    pid, _, started = process.partition(".")
    if not pid.isdigit():
        return False
    try:
        found = psutil.Process(int(pid))
        same = not started.isdigit() or abs(found.create_time() - int(started)) <= _CLOCK_SECONDS
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
