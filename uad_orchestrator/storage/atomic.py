"""Files and folders that are there as a whole or not at all: written aside, then renamed to their place.

What is written aside has a hidden name, so that no layout, bundle or index takes it for the real thing; a writer
killed at any moment leaves no more than that behind. With several writers of one target each writes aside on its
own, and one of them stays, whole.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OCCUPIED = (errno.EEXIST, errno.ENOTEMPTY)
"""What renaming a folder says where another, not empty, stands."""


@contextmanager
def new_file(path: Path, *, durable: bool = False, alone: bool = False) -> Iterator[Path]:
    """A path to write to; when the block ends the file takes the place of ``path``, when it raises it is removed.

    Args:
        path: the file; its folder is made.
        durable: return only when the disk has the file and its name, so that it outlives a loss of power.
        alone: no other process writes this file meanwhile. What a killed one left is then removed.

    Raises:
        OSError: the file cannot be written; it names ``path``.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with new_file(path) as aside:
    ...     _ = aside.write_text("0.5")
    ...     path.exists()
    False
    >>> path.read_text()
    '0.5'
    """
    _make_folder_of(path)
    aside = _hidden(path, "part" if alone else _unique())
    with _errors_name(path, aside):
        if alone:
            aside.unlink(missing_ok=True)
        try:
            yield aside
            if durable:
                sync(aside)
            aside.replace(path)
            if durable:
                sync(path.parent)
        finally:
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a whole text file in UTF-8 (see ``new_file``)."""
    with new_file(path, durable=durable) as aside:
        aside.write_text(text, encoding="utf-8")


def _make_folder_of(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        there = next(above for above in path.parents if above.exists() or above.is_symlink())
        said = "a file where a folder is expected; move it away, or name another place"
        raise NotADirectoryError(errno.ENOTDIR, said, str(there)) from error


@contextmanager
def new_folder(
    path: Path, keep: Callable[[], bool] | None = None, *, scratch: Path | None = None
) -> Iterator[Path]:
    """An empty folder to fill; when the block ends it takes the place of ``path``, when it raises it is removed.

    Args:
        path: the folder; its parents are made.
        keep: whether what stands at ``path`` by then stays, and the new folder is dropped; None: never.
        scratch: where it is filled, on the same file system; None: under a hidden name beside ``path``.

    Raises:
        OSError: the folder cannot be written; it names ``path``.
    """
    aside = _hidden(path if scratch is None else scratch / path.name, _unique())
    with _errors_name(path, aside), scratch_folder(aside):
        yield aside
        place_folder(aside, path, keep, scratch=scratch)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A new folder that is gone when the block ends, unless it was renamed by then."""
    _make_folder_of(path)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def place_folder(
    made: Path, path: Path, keep: Callable[[], bool] | None = None, *, scratch: Path | None = None
) -> bool:
    """Rename a folder to its place; False where another one is there and ``keep()`` says that it stays.

    A folder that has to give way is first renamed, too: a reader finds the one or the other whole, or, for the moment
    between two renames, none.

    Raises:
        OSError: it cannot be renamed; what was there before is there again.
    """
    _make_folder_of(path)
    replaced: list[Path] = []
    try:
        while not _renamed(made, path):
            if keep is not None and keep():
                return False
            with suppress(FileNotFoundError):  # another writer was faster
                replaced.append(_moved_out(path, scratch))
    except BaseException:
        if replaced and not path.exists():
            replaced.pop().rename(path)
        raise
    finally:
        for folder in replaced:
            shutil.rmtree(folder, ignore_errors=True)
    return True


def remove_folder(path: Path, scratch: Path | None = None) -> None:
    """Remove a folder, if there is one, at once for every reader: it is renamed before its files go."""
    with suppress(FileNotFoundError):
        shutil.rmtree(_moved_out(path, scratch), ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until the disk has what was written to a file, or the names in a folder; Windows knows it of files only."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _renamed(made: Path, path: Path) -> bool:
    try:
        made.rename(path)
    except OSError as error:
        if error.errno in _OCCUPIED:
            return False
        raise
    return True


def _moved_out(path: Path, scratch: Path | None) -> Path:
    """Where a folder lies after it was renamed out of the way."""
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    out = _hidden(path, _unique()) if scratch is None else scratch / f"removed-{_unique()}"
    return path.rename(out)


def _hidden(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name[:60]}.{suffix}")  # cut: a long name with more behind it may be none


def _unique() -> str:
    return uuid.uuid4().hex[:12]


@contextmanager
def _errors_name(path: Path, aside: Path) -> Iterator[None]:
    """Let errors speak of the place that was asked for, not of the hidden one."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and error.filename.startswith(str(aside)):
            error.filename = str(path) + error.filename[len(str(aside)) :]
        raise
