"""The first writer of a name wins, on object stores that can create a file only where there is none."""

from __future__ import annotations

import errno
import json
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.atomic import write_text

logger = logging.getLogger(__name__)

ATTEMPTS = 6
"""Of one creation: stores answer 409 (s3fs: errno 5) while another writer is at the same name."""


def create(filesystem: Any, path: str, data: bytes, read: Callable[[], bytes | None]) -> bool:
    """Write a file where there is none, in one request that the store decides.

    A connection cut after the store took the file makes the client try again, and that is refused: so whatever the
    error says, what lies there decides. ``data`` has to be this writer's alone.

    Args:
        filesystem: of fsspec.
        path: in its words.
        data: what to write.
        read: gives what lies at ``path``; None for nothing.

    Returns:
        Whether it lies there now, by this writer; False: another writer's does.

    Raises:
        OSError: it was refused though nothing lies there, each time it was tried.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    def attempt() -> bool:
        try:
            filesystem.pipe_file(path, data, mode="create")
        except OSError:
            there = read()
            if there is None:
                raise
            return there == data
        return True

    attempts = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, FileExistsError) or _is_conflict(error)),
        wait=wait_random_exponential(0.1, max=5),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    return attempts(attempt)


def _is_conflict(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EIO


def keeps_first(filesystem: Any, folder: str, read: Callable[[str], bytes | None]) -> bool:
    """Whether a store refuses the second of two creations of one name: both are tried, nothing is left behind.

    Args:
        filesystem: of fsspec.
        folder: where a file may be written.
        read: gives what lies at a path; None for nothing.

    Returns:
        False where the condition is refused, unknown or ignored.

    Raises:
        OSError: nothing can be written there.
    """
    path = f"{folder}/probe-{uuid.uuid4().hex}"
    try:
        if not create(filesystem, path, b"first", lambda: read(path)):
            return False
        try:
            filesystem.pipe_file(path, b"second", mode="create")
        except OSError:
            return read(path) == b"first"
        return False
    except (TypeError, NotImplementedError):  # a file system of fsspec that has no such mode
        return False
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return False
        raise
    finally:
        if read(path) is not None:
            filesystem.rm_file(path)


def remembered_keeps_first(memory: Path, url: str, probe: Callable[[], bool]) -> bool:
    """What is known of a store, from an earlier process or by asking it; said once where it overwrites.

    Args:
        memory: a local file, for one object store.
        url: of the store.
        probe: asks the store.

    Returns:
        As ``keeps_first``.
    """
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["url"] == url:
            return bool(known["keeps_first"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not asked yet
    found = probe()
    if not found:
        logger.warning("%s", OVERWRITES.format(url=url))
    write_text(memory, json.dumps({"url": url, "keeps_first": found}))
    return found


OVERWRITES = (
    "{url} overwrites where a file should be created once (it ignores or refuses If-None-Match). Where two machines "
    "compute the same artifact at once the last one stays instead of the first; both are of one recipe"
)
