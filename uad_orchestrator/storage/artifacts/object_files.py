"""Files below an fsspec URL, as few requests as there can be, many at a time."""

from __future__ import annotations

import errno
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

AT_ONCE = 16
"""Requests under way at a time: each waits for the network, not for a core."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class StoredObject:
    """What a listing says of an object.

    Attributes:
        bytes: its size.
        changed: when it was written, in seconds since the epoch; infinite where the store does not say, so that what
            another machine may be writing just now never counts as old.
        stamp: changes with its content.
    """

    bytes: int
    changed: float
    stamp: str


class ObjectFiles:
    """The objects below a root; paths are relative to it.

    Args:
        filesystem: of fsspec.
        root: in the file system's words.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self._has_folders = not getattr(filesystem, "async_impl", False)

    def full(self, path: PurePosixPath | str) -> str:
        """The path in the file system's words."""
        return f"{self.root}/{path}"

    def read(self, path: PurePosixPath | str) -> bytes | None:
        """An object's bytes; None if there is none."""
        try:
            return self._read(self.full(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _read(self, path: str) -> bytes:
        try:
            # a range: without one s3fs asks for the size first
            return self.filesystem.cat_file(path, start=0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return self.filesystem.cat_file(path)  # of an empty object there is no range

    def write(self, path: PurePosixPath | str, data: bytes) -> None:
        """Write an object whole, whatever lies there."""
        self.make_folder(path)
        self.filesystem.pipe_file(self.full(path), data)

    def unlink(self, path: PurePosixPath | str) -> None:
        """Take an object away, if it is there."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(self.full(path))

    def put(self, files: Mapping[str, Path]) -> None:
        """Upload local files, by their paths here."""
        for folder in {str(PurePosixPath(path).parent): path for path in files}.values():
            self.make_folder(folder)
        self.each(lambda path: self.filesystem.put_file(str(files[path]), self.full(path)), files)

    def get(self, files: Mapping[str, Path]) -> None:
        """Download to local files, by their paths here; an object that is not there is left out."""

        def fetch(path: str) -> None:
            files[path].parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                self.filesystem.get_file(self.full(path), str(files[path]))

        self.each(fetch, files)

    def listing(self, below: PurePosixPath | str) -> dict[str, StoredObject]:
        """All objects below a folder, by path, asked of the store anew."""
        self.filesystem.invalidate_cache()
        found = self.filesystem.find(self.full(below), detail=True)
        start = len(self.root.lstrip("/")) + 1
        return {name.lstrip("/")[start:]: _described(facts) for name, facts in found.items()}

    def remove(self, below: PurePosixPath | str) -> None:
        """Take away all objects below a folder."""
        if self._has_folders:
            with suppress(FileNotFoundError):
                self.filesystem.rm(self.full(below), recursive=True)
            return
        self.each(self.unlink, self.listing(below))

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """``map``, several requests at a time where the file system waits for a network."""
        items = list(items)
        if self._has_folders or len(items) < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
            return list(pool.map(function, items))

    def make_folder(self, path: PurePosixPath | str) -> None:
        """Make the folder of a file to be written, on file systems that have folders."""
        if self._has_folders:
            self.filesystem.makedirs(self.full(path).rpartition("/")[0], exist_ok=True)


def stamp_of(data: bytes) -> str:
    """The stamp that a listing of S3 gives an object with these bytes, unless a key of its own encrypts it there."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}" {len(data)}'


def _described(facts: Mapping[str, Any]) -> StoredObject:
    """What fsspec's file systems say of a file, each in its own words."""
    size = int(facts.get("size") or 0)
    said = next(
        (
            facts[word]
            for word in ("LastModified", "last_modified", "updated", "mtime", "created")
            if facts.get(word)
        ),
        0,
    )
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    changed = said.timestamp() if isinstance(said, datetime) else float(said)
    tag = next((facts[word] for word in ("ETag", "etag", "md5Hash") if facts.get(word)), changed)
    return StoredObject(size, changed or math.inf, f"{tag} {size}")
