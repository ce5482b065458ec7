"""Where artifacts are kept: a local folder, or an object store behind an fsspec URL."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from uad_orchestrator.storage.artifacts.object_files import StoredObject
from uad_orchestrator.storage.atomic import new_file, place_folder, remove_folder, sync
from uad_orchestrator.storage.provenance import PROVENANCE_FILE, Provenance

ARTIFACTS = PurePosixPath("artifacts")

LEVELS = 5
"""Folders from ``artifacts`` or ``payloads`` down to the version."""


@dataclass(frozen=True)
class Stray:
    """Files that no provenance names.

    Attributes:
        artifact: the folder of the artifact beside which they lie.
        place: their folder, or the one file, below the root.
        files: relative to the root.
        bytes: of all.
        changed: when the last of them was written, in seconds since the epoch; infinite where the store does not say.
    """

    artifact: PurePosixPath
    place: PurePosixPath
    files: tuple[str, ...]
    bytes: int
    changed: float


class Location(Protocol):
    """What the store needs of a place; paths are relative to its root."""

    scratch: Path
    """A local folder for drafts, on the same file system where that matters."""

    artifact_files: Path
    """The local folder with artifacts by ``<asset>/<dataset>/...``: all, or those fetched."""

    def describe(self, path: PurePosixPath | str) -> str:
        """The full path or URL."""
        ...

    shared: bool
    """Whether other machines write here, and each request takes a while: an object store."""

    def read(self, path: PurePosixPath) -> bytes | None:
        """A file's bytes; None if there is none. Other errors (no network, no right) are raised."""
        ...

    def write(self, path: PurePosixPath, data: bytes) -> None:
        """Write a small file, whole or not at all, in place of the one before."""
        ...

    def unlink(self, path: PurePosixPath) -> None:
        """Take a small file away, if it is there."""
        ...

    def provenances(self, folders: Collection[str], *, anew: bool = False) -> dict[str, bytes | None]:
        """The provenance files of folders, several at once; None where there is none.

        One that was read or written here may be remembered, for it never changes; ``anew``: it is read again.
        """
        ...

    def listed(self) -> AbstractContextManager[None]:
        """Until the block ends, what is stored is looked up in one listing, where that saves requests."""
        ...

    def has_object(self, path: PurePosixPath | str) -> bool:
        """Whether there is a file of that name that ends as a JSON object does."""
        ...

    def holding(self, folders: Collection[str]) -> set[str]:
        """Of these folders those with a whole provenance file: a look at each, or a listing for each asset."""
        ...

    def find(self, below: PurePosixPath = ARTIFACTS) -> list[str]:
        """The folders with a provenance file, below a folder."""
        ...

    def folders(self) -> list[str]:
        """All folders where an artifact may lie, with a provenance file or without."""
        ...

    def usage(self, path: PurePosixPath) -> tuple[int, float]:
        """Bytes below ``path``, and when anything in it changed last (seconds since the epoch)."""
        ...

    def files(self, below: PurePosixPath) -> dict[str, StoredObject]:
        """All files below a folder, by path, asked of the store now; of an object store a request a thousand."""
        ...

    def remove_files(self, paths: Collection[str]) -> None:
        """Take files away, and the folders that are empty then."""
        ...

    def open_dir(self, folder: str, provenance: Provenance, names: Collection[str] = ()) -> Path:
        """A local folder with the artifact's files, those of ``names`` at least; none: all."""
        ...

    def as_stored(self, path: PurePosixPath, provenance: Provenance) -> AbstractContextManager[Path]:
        """All files of an artifact as the store has them, whatever copies there are, until the block ends."""
        ...

    def publish(
        self, draft: Path, path: PurePosixPath, provenance: Provenance, exists: Callable[[], bool]
    ) -> bool:
        """Make the draft the artifact at ``path``, provenance last; False where another ``exists`` by then."""
        ...

    def remove(self, path: PurePosixPath) -> None:
        """Take the artifact away: first it does not count any more, then its files go."""
        ...

    def forget(self, path: PurePosixPath) -> None:
        """Take away what was fetched of an artifact, if anything was."""
        ...

    def set_aside(self, path: PurePosixPath) -> str:
        """Make that an artifact does not count any more, its files kept for a look; returns where they are."""
        ...

    def strays(self, known: Mapping[PurePosixPath, Provenance]) -> list[Stray]:
        """What lies beside the files of artifacts and belongs to none: of writers that were killed or came second."""
        ...


class LocalLocation:
    """A folder on a disk: an artifact appears by one rename."""

    shared = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = root / "scratch"
        self.artifact_files = root / ARTIFACTS

    def __str__(self) -> str:
        return str(self.root)

    def describe(self, path: PurePosixPath | str) -> str:
        return f"{self.root}/{path}"

    def read(self, path: PurePosixPath | str) -> bytes | None:
        try:
            with open(f"{self.root}/{path}", "rb") as file:  # noqa: PTH123 - no pathlib, as in ``has_object``
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # a folder in its place is no file
            return None

    def write(self, path: PurePosixPath, data: bytes) -> None:
        with new_file(self.root / path) as aside:
            aside.write_bytes(data)

    def unlink(self, path: PurePosixPath) -> None:
        (self.root / path).unlink(missing_ok=True)

    def provenances(self, folders: Collection[str], *, anew: bool = False) -> dict[str, bytes | None]:
        return {folder: self.read(f"{folder}/{PROVENANCE_FILE}") for folder in folders}

    def listed(self) -> AbstractContextManager[None]:
        return nullcontext()

    def has_object(self, path: PurePosixPath | str) -> bool:
        try:
            file = os.open(f"{self.root}/{path}", os.O_RDONLY)  # no pathlib: asked for every node of a grid
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            end = os.pread(file, 8, max(0, os.fstat(file).st_size - 8))
        except IsADirectoryError:
            return False
        finally:
            os.close(file)
        return end.rstrip().endswith(b"\n}")  # those of inner objects are indented

    def holding(self, folders: Collection[str]) -> set[str]:
        return {folder for folder in folders if self.has_object(f"{folder}/{PROVENANCE_FILE}")}

    def find(self, below: PurePosixPath = ARTIFACTS) -> list[str]:
        return list(self._folders(below, holding=PROVENANCE_FILE))

    def folders(self) -> list[str]:
        return list(self._folders(ARTIFACTS))

    def _folders(self, below: PurePosixPath, holding: str | None = None) -> Iterator[str]:
        """The folders at the level of the versions, from the root: all, or those with a file; no pathlib, as above."""
        for path in _folders_down(f"{self.root}/{below}", LEVELS + 1 - len(below.parts)):
            if holding is None or os.path.exists(f"{path}/{holding}"):  # noqa: PTH110
                yield path[len(f"{self.root}/") :]

    def usage(self, path: PurePosixPath) -> tuple[int, float]:
        return folder_usage(self.root / path)

    def files(self, below: PurePosixPath) -> dict[str, StoredObject]:
        found = {}
        for path in (self.root / below).rglob("[!.]*"):  # hidden is what is being written
            with suppress(FileNotFoundError):
                facts = path.stat()
                if stat.S_ISREG(facts.st_mode):
                    stamp = f"{facts.st_mtime_ns} {facts.st_size}"
                    name = path.relative_to(self.root).as_posix()
                    found[name] = StoredObject(facts.st_size, facts.st_mtime, stamp)
        return found

    def remove_files(self, paths: Collection[str]) -> None:
        for path in paths:
            self.unlink(PurePosixPath(path))
        folders = {folder for path in paths for folder in PurePosixPath(path).parents[:-1]}
        for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):  # something else is in it
                (self.root / folder).rmdir()

    def open_dir(self, folder: str, provenance: Provenance, names: Collection[str] = ()) -> Path:
        return Path(f"{self.root}/{folder}")

    def as_stored(self, path: PurePosixPath, provenance: Provenance) -> AbstractContextManager[Path]:
        return nullcontext(self.root / path)

    def publish(
        self, draft: Path, path: PurePosixPath, provenance: Provenance, exists: Callable[[], bool]
    ) -> bool:
        if exists():
            return False
        (draft / PROVENANCE_FILE).write_bytes(provenance.to_file())
        sync(draft / PROVENANCE_FILE)
        # What gives way is a folder that never counted, or counts no more: damaged, half copied.
        return place_folder(draft, self.root / path, keep=exists, scratch=self.scratch)

    def remove(self, path: PurePosixPath) -> None:
        remove_folder(self.root / path, self.scratch)

    def forget(self, path: PurePosixPath) -> None:
        pass

    def set_aside(self, path: PurePosixPath) -> str:
        self.scratch.mkdir(parents=True, exist_ok=True)
        place = self.scratch / f"damaged-{path.parts[1]}-{path.name[:12]}-{uuid.uuid4().hex[:12]}"
        (self.root / path).rename(place)
        return str(place)

    def strays(self, known: Mapping[PurePosixPath, Provenance]) -> list[Stray]:
        return []  # a folder appears whole or not at all


def folder_usage(folder: Path) -> tuple[int, float]:
    """Bytes of a folder's files, and when anything in it changed last; what vanishes meanwhile is skipped."""
    size, changed = 0, 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            found = path.lstat()
            changed = max(changed, found.st_mtime)
            size += found.st_size if path.is_file() else 0
    return size, changed


def _folders_down(folder: str, levels: int) -> list[str]:
    """The folders so many levels below a folder."""
    found = [folder]
    for _ in range(levels):
        found = [f"{above}/{name}" for above in found for name in _subfolders(above)]
    return found


def _subfolders(folder: str) -> list[str]:
    """The names of the folders in a folder; none where it cannot be looked into."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
