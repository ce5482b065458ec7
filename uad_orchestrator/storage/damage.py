"""Whether files are still what was written: a size and a fast checksum of each, kept in their provenance.

CRC-32 finds what disks, copies and editors do to a file, at a gigabyte a second; against somebody who forges both
file and provenance it is no help, and no digest kept beside the file would be.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path

from uad_orchestrator.threads import available_threads, ordered_map

_BLOCK = 1 << 22
_SEAL = re.compile(rb',\n "checksum": "([0-9a-f]{8})"\n}\s*$')


def checksum(path: Path | str) -> str:
    """CRC-32 of a file's bytes.

    Args:
        path: of the file.

    Returns:
        Eight hexadecimal digits.
    """
    found = 0
    with open(path, "rb") as file:  # noqa: PTH123 - no pathlib: asked for every cell of a board
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return f"{found:08x}"


def checksums(directory: Path, sizes: Mapping[str, int]) -> dict[str, str]:
    """``checksum`` of files, several at once where they are large.

    Args:
        directory: where they lie.
        sizes: of each file, in bytes, by posix path below it.

    Returns:
        By name.
    """
    small = sum(sizes.values()) <= _BLOCK  # threads would take longer to start
    threads = 1 if small else available_threads()
    found = ordered_map(checksum, [f"{directory}/{name}" for name in sizes], threads=threads, ahead=threads)
    return dict(zip(sizes, found, strict=True))


def find_damage(directory: Path, sizes: Mapping[str, int], known: Mapping[str, str]) -> str | None:
    """The first file that is not what was written.

    Args:
        directory: where the files lie.
        sizes: of each file, in bytes, by posix path.
        known: the checksums of those that have one; earlier versions kept none.

    Returns:
        A sentence that names it; None where all are as they were.
    """
    for name, size in sizes.items():
        actual = _size(f"{directory}/{name}")
        if actual != size:
            state = "is missing" if actual is None else f"has {actual} bytes"
            return f"{directory / name} {state}, {size} were written"
    for name, found in checksums(directory, {n: size for n, size in sizes.items() if n in known}).items():
        if found != known[name]:
            return f"{directory / name} was changed since it was written (checksum {found}, written {known[name]})"
    return None


def _size(path: str) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - likewise
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def seal(text: str) -> str:
    """A JSON object's text with the checksum of all before it as its last key.

    Args:
        text: as ``json.dumps(..., indent=1)`` makes it, of an object with at least one key.

    Returns:
        JSON.

    >>> import json
    >>> print(seal(json.dumps({"rows": 1}, indent=1)))
    {
     "rows": 1,
     "checksum": "f3bb3c08"
    }
    """
    body = text.removesuffix("\n}")
    return f'{body},\n "checksum": "{zlib.crc32(body.encode()):08x}"\n}}'


def is_sealed(data: bytes) -> bool:
    """Whether a text is as ``seal`` gave it.

    Args:
        data: UTF-8.

    Returns:
        False where a byte of it changed, and where it never was sealed.
    """
    found = _SEAL.search(data)
    return found is not None and f"{zlib.crc32(data[: found.start()]):08x}".encode() == found[1]
