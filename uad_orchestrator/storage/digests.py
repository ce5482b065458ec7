"""Digests that name things: of JSON values (settings, recipes) and of files, the latter cached."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from uad_orchestrator.storage.file_names import printable
from uad_orchestrator.storage.regular_file import open_regular

logger = logging.getLogger(__name__)

AnyPath = TypeVar("AnyPath", str, Path)

_Row = tuple[str, int, int, int, str, str]
"""As SQLite gives it: file, the four of its state, digest. There may be 100,000 of them, and more objects cost more."""

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

SETTLED_NS = 2_000_000_000
"""A file hashed sooner than this after its last change may change again within the clock's resolution."""


def plain_json(value: Any, place: str = "value") -> Any:
    """``value`` as nothing but dicts, lists, strings, numbers, booleans and None.

    Models are dumped, tuples become lists.

    Raises:
        TypeError: a value, or a key, that JSON has no word for; the message gives its place.
        ValueError: NaN or an infinity, which JSON lacks too.
    """
    if isinstance(value, BaseModel):
        return plain_json(value.model_dump(mode="json"), place)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(
                    f"{place}: the key {key!r} is a {type(key).__name__}; only strings can be keys"
                )
        return {key: plain_json(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item, f"{place}[{position}]") for position, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}: only finite numbers can be part of a digest")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(
        f"{place} is a {type(value).__name__}: give strings, numbers, booleans, None, lists, mappings"
    )


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a JSON-able value or pydantic model in canonical JSON: key order does not matter.

    >>> digest_of({"ratio": 0.1, "method": "random"}) == digest_of({"method": "random", "ratio": 0.1})
    True
    >>> digest_of((1, 2)) == digest_of([1, 2])
    True
    """
    plain = value if _is_plain(value) else plain_json(value)
    return hashlib.sha256(_CANONICAL.encode(plain).encode("utf-8", "surrogatepass")).hexdigest()


def file_digest(path: Path | str) -> str:
    """SHA-256 (hex) of a file's bytes; it is read in parts, however large it is.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_plain(value: Any) -> bool:
    """Whether ``plain_json`` would change nothing; says it of a manifest of 100,000 images in no time."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    return kind is float and math.isfinite(value)


class FileState(NamedTuple):
    """What ``stat`` says of a file's content: it changes whenever the bytes may have."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: str
    """As text: on some file systems it is a larger number than SQLite has."""

    @classmethod
    def of(cls, path: str) -> FileState:
        """The state now; OSError if the file cannot be reached."""
        found = os.stat(path)  # noqa: PTH116 - three times faster than Path.stat, over 100,000 files
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, str(found.st_ino))

    @property
    def changed_ns(self) -> int:
        """When the content last changed: ctime, which no one can set back, except where it means creation."""
        return self.mtime_ns if os.name == "nt" else self.ctime_ns


class DigestCache:
    """SHA-256 of files' bytes, remembered as long as size, mtime, ctime and inode stay what they were.

    A digest taken within two seconds of the file's last change is taken again next time, because a second
    change could bear the same time stamp. Safe with several threads and processes; losing the file only costs
    hashing.

    Args:
        path: the SQLite file; created when missing, started anew when damaged. On a local disk.
        rehash: read every file again, whatever is remembered.
        threads: files hashed at once by ``many``; default: the machine's cores, at most 16.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_bytes(b"abc")
    >>> DigestCache(folder / "digests.sqlite")(folder / "a.txt")[:8]
    'ba7816bf'
    """

    def __init__(self, path: Path, *, rehash: bool = False, threads: int | None = None) -> None:
        self.path = Path(path)
        self.rehash = rehash
        self.threads = threads or min(16, os.cpu_count() or 1)
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._folders: dict[str, dict[str, _Row]] = {}
        self._said: set[str] = set()

    def __call__(self, path: Path) -> str:
        """The digest of one file's bytes, hex.

        Raises:
            OSError: the file cannot be read, or changed each time it was read.
        """
        return self.many([path])[path]

    def many(self, paths: Iterable[AnyPath]) -> dict[AnyPath, str]:
        """The digests of many files by the paths given; those not remembered are hashed in parallel.

        Raises:
            OSError: the first file, in the order given, that cannot be read or changed each time it was read.
        """
        wanted = _absolute(paths)
        known = {} if self.rehash else self._recall(wanted.values())
        missing = [name for name in dict.fromkeys(wanted.values()) if name not in known]
        if missing:
            fresh = self._hash(missing)
            self._remember(fresh)
            known.update((name, digest) for name, (_, digest) in fresh.items())
        return {path: known[name] for path, name in wanted.items()}

    def remembered(self, paths: Iterable[AnyPath]) -> dict[AnyPath, str]:
        """The digests that are known without reading a file; the others are left out.

        Raises:
            OSError: a file cannot be reached.
        """
        names = _absolute(paths)
        known = self._recall(names.values())
        return {path: known[name] for path, name in names.items() if name in known}

    def close(self) -> None:
        """Close the SQLite file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._folders.clear()

    def _hash(self, names: Sequence[str]) -> dict[str, tuple[FileState, str]]:
        if len(names) == 1:
            return {names[0]: _hash_unchanged(names[0])}
        with ThreadPoolExecutor(self.threads) as pool:
            return dict(zip(names, pool.map(_hash_unchanged, names), strict=True))

    def _recall(self, names: Iterable[str]) -> dict[str, str]:
        """The digests of the files that are in the state in which they were hashed."""
        known = {}
        for name in names:
            state = FileState.of(name)
            folder, _, file = name.rpartition(os.sep)
            row = self._folder(folder).get(file)
            if row is not None and row[1:5] == state:
                known[name] = row[5]
        return known

    def _folder(self, folder: str) -> dict[str, _Row]:
        """What is remembered of one folder's files; read from SQLite once."""
        remembered = self._folders.get(folder)
        if remembered is None:
            with self._lock:
                rows = self._run(
                    "SELECT file, size, mtime_ns, ctime_ns, inode, digest FROM file_digest WHERE folder = ?",
                    printable(folder),
                )
                remembered = self._folders.setdefault(folder, {row[0]: row for row in rows})
        return remembered

    def _remember(self, hashed: Mapping[str, tuple[FileState, str]]) -> None:
        now = time.time_ns()
        rows = []
        with self._lock:
            for name, (state, digest) in hashed.items():
                if now - state.changed_ns < SETTLED_NS or not _is_text(name):
                    continue
                folder, _, file = name.rpartition(os.sep)
                row = (file, *state, digest)
                self._folders.setdefault(folder, {})[file] = row
                rows.append((folder, *row))
            if rows:
                self._run_many("INSERT OR REPLACE INTO file_digest VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _run(self, statement: str, *values: str) -> list[tuple]:
        try:
            return self._open().execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._recover(error)
            return []

    def _run_many(self, statement: str, rows: Sequence[tuple]) -> None:
        try:
            with self._open() as connection:
                connection.executemany(statement, rows)
        except sqlite3.DatabaseError as error:
            self._recover(error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS file_digest (folder TEXT, file TEXT, size INTEGER,"
                " mtime_ns INTEGER, ctime_ns INTEGER, inode TEXT, digest TEXT,"
                " PRIMARY KEY (folder, file)) WITHOUT ROWID"
            )
            self._connection = connection
        return self._connection

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        """A cache that cannot be used costs hashing, never a result; a damaged one is started anew."""
        if str(error) not in self._said:
            self._said.add(str(error))
            logger.warning(
                "The digest cache %s could not be used (%s); files are hashed instead.", self.path, error
            )
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if not isinstance(error, sqlite3.OperationalError):  # damaged, not merely locked or out of space
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)


def _absolute(paths: Iterable[AnyPath]) -> dict[AnyPath, str]:
    """Each path's absolute name, lexically; a folder is looked at once, which is ten times faster over many files."""
    folders: dict[str, str] = {}
    names: dict[AnyPath, str] = {}
    for path in paths:
        folder, slash, file = str(path).rpartition(os.sep)
        if not slash or file in ("", os.curdir, os.pardir):
            names[path] = os.path.abspath(path)  # noqa: PTH100 - lexical
            continue
        if folder not in folders:
            folders[folder] = os.path.join(os.path.abspath(folder + slash), "")  # noqa: PTH100, PTH118
        names[path] = folders[folder] + file
    return names


def _is_text(name: str) -> bool:
    """Whether SQLite can hold a file's name; others, with bytes that are not UTF-8, are hashed each time."""
    return name.isascii() or printable(name) == name


def _hash_unchanged(name: str, attempts: int = 3) -> tuple[FileState, str]:
    """State and digest of a file that did not change while it was read."""
    for _ in range(attempts):
        before = FileState.of(name)
        digest = file_digest(name)
        if FileState.of(name) == before:
            return before, digest
    raise OSError(f"{name} changed while it was read, {attempts} times: is it still being written?")
