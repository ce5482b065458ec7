"""Images as they arrive in a folder: each once it is complete."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from uad_orchestrator.images.decode import IMAGE_SUFFIXES
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.source import ImageSource, encoded_source
from uad_orchestrator.storage.regular_file import read_regular

POLL_SECONDS = 0.25


class _Stamp(NamedTuple):
    size: int
    modified: int
    inode: int


class _Seen(NamedTuple):
    stamp: _Stamp
    since: float
    taken: bool


def images_below(folder: Path) -> Iterator[Path]:
    """The image files of a folder and its subfolders, sorted; hidden ones are passed over."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            yield path


def arriving_images(
    folder: Path,
    *,
    settle_seconds: float = 1.0,
    poll_seconds: float = POLL_SECONDS,
    reading: ReadingSettings = PLAIN_READING,
) -> Iterator[ImageSource]:
    """The images of a folder, those that are there and those that come, without end.

    A file is read once its size and time stood still for a while, in one go, and taken if they still do
    afterwards; so what is being written is left alone. One that is replaced later is taken again.

    Args:
        folder: watched with its subfolders, by looking: that works on network shares, too.
        settle_seconds: for how long a file must not have changed, by this machine's clock.
        poll_seconds: how often the folder is looked at.
        reading: how the files are read.

    Raises:
        FileNotFoundError: there is no such folder, or not any more.
    """
    seen: dict[Path, _Seen] = {}
    while True:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder} to watch")
        there = list(images_below(folder))
        for path in there:
            if _settled(path, seen, settle_seconds) and (data := _read_unchanged(path, seen[path].stamp)):
                seen[path] = seen[path]._replace(taken=True)
                stamp = seen[path].stamp
                yield encoded_source(data, str(path), reading, digest=f"{path} {stamp}")
        seen = {path: seen[path] for path in there if path in seen}
        time.sleep(poll_seconds)


def _settled(path: Path, seen: dict[Path, _Seen], settle_seconds: float) -> bool:
    """Whether a file is due; notes since when it is as it is."""
    stamp, now = _stamp(path), time.monotonic()
    if stamp is None or stamp.size == 0:
        seen.pop(path, None)
        return False
    before = seen.get(path)
    if before is None or before.stamp != stamp:
        seen[path] = before = _Seen(stamp, now, taken=False)
    return not before.taken and now - before.since >= settle_seconds


def _read_unchanged(path: Path, stamp: _Stamp) -> bytes | None:
    """The file's bytes; None if it changed while they were read, or is gone: it is looked at again."""
    try:
        data = read_regular(path)
    except OSError:
        return None
    return data if len(data) == stamp.size and _stamp(path) == stamp else None


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Stamp(found.st_size, found.st_mtime_ns, found.st_ino)
