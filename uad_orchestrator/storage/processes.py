"""Which process left something behind, and whether it still lives: a number alone is soon another process's."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

_CLOCK_SECONDS = 3.0
"""By how much the start of a process may seem to differ from one look to the next: the clock is set meanwhile."""


FOREIGN_SECONDS = 86400.0
"""How long something stays that a process left which cannot be seen from here, and may live."""

_FIRST_NAMESPACE = 0xEFFFFFFC
"""The number of the process namespace that a Linux machine starts with; containers have others."""


@cache
def this_process() -> str:
    """This process, in words that no later one has: ``<pid>.<start>.<place>``, the start in seconds since the epoch.

    The place is left out where the system has no word for it.
    """
    import psutil

    words = [str(os.getpid()), str(round(psutil.Process().create_time())), this_place()]
    return ".".join(filter(None, words))


@cache
def this_place() -> str:
    """Among which processes this one's number counts: two containers may share a host name and a folder, but not these.

    Returns:
        Eight hexadecimal digits: of a machine the same after it starts anew; "" where the system does not say.
    """
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        machine = "/etc/machine-id" if namespace == _FIRST_NAMESPACE else "/proc/sys/kernel/random/boot_id"
        return hashlib.sha256(f"{Path(machine).read_text().strip()} {namespace}".encode()).hexdigest()[:8]
    except OSError:
        return ""


def is_visible(host: str, process: str) -> bool:
    """Whether ``is_alive`` can tell of a process: it was started among those that this one sees.

    Args:
        host: where it ran, by name.
        process: from ``this_process``; of earlier versions, which noted no place, the host's name decides.
    """
    return host == socket.gethostname() and _parts(process)[2] in ("", this_place())


def is_alive(process: str) -> bool:
    """Whether a process that can be seen from here lives.

    Args:
        process: from ``this_process``; earlier versions noted the number alone, which then decides.

    Returns:
        False where it ended (one that ended and is not waited for, too), and where its number is another one's now.
    """
    import psutil

    pid, started, _ = _parts(process)
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


def _parts(process: str) -> list[str]:
    """Number, start and place; "" for what was not noted."""
    return [*process.split("."), "", ""][:3]
