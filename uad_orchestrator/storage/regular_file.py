"""Files that users name are opened only where they are files: a pipe, a socket or a device may never end."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegularFile(OSError):
    """What lies at a path is neither a file nor a folder: it could hand out bytes without end, or none, ever."""


def check_regular(path: Path | str) -> None:
    """Look at what lies at a path, links followed, without opening it.

    Raises:
        NotRegularFile: a named pipe, a socket or a device.
        IsADirectoryError: a folder.
        OSError: nothing is there, or it cannot be reached.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - of a string, too
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder")
    kind = next((word for is_kind, word in _KINDS if is_kind(mode)), "no file")
    raise NotRegularFile(f"{path} is {kind}; only regular files are read")


def open_regular(path: Path | str) -> BufferedReader:
    """Open a file for reading bytes.

    Raises:
        OSError: as ``check_regular``, or the file cannot be opened.
    """
    check_regular(path)
    return open(path, "rb")  # noqa: PTH123 - of a string, too; the caller closes it


def read_regular(path: Path | str) -> bytes:
    """A file's bytes.

    Raises:
        OSError: as ``open_regular``, or it cannot be read.
    """
    check_regular(path)
    return Path(path).read_bytes()
