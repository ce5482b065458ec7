"""Where artifacts are kept: a local folder, or an object store behind an fsspec URL."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from uad_orchestrator.storage.atomic import new_folder, place_folder, remove_folder, sync
from uad_orchestrator.storage.provenance import PROVENANCE_FILE, Provenance

ARTIFACTS = PurePosixPath("artifacts")


class Location(Protocol):
    """What the store needs of a place; paths are relative to its root."""

    scratch: Path
    """A local folder for drafts, on the same file system where that matters."""

    artifact_files: Path
    """The local folder with artifacts by ``<asset>/<dataset>/...``: all, or those fetched."""

    def describe(self, path: PurePosixPath) -> str:
        """The full path or URL."""
        ...

    def read(self, path: PurePosixPath) -> bytes | None:
        """A file's bytes; None if there is none. Other errors (no network, no right) are raised."""
        ...

    def has_object(self, path: PurePosixPath | str) -> bool:
        """Whether there is a file of that name that ends as a JSON object does."""
        ...

    def holding(self, paths: Collection[PurePosixPath]) -> set[PurePosixPath]:
        """Of these folders those with a whole provenance file: a look at each, or a listing for each asset."""
        ...

    def find(self, below: PurePosixPath = ARTIFACTS) -> list[PurePosixPath]:
        """The folders with a provenance file, below a folder."""
        ...

    def folders(self) -> list[PurePosixPath]:
        """All folders where an artifact may lie, with a provenance file or without."""
        ...

    def usage(self, path: PurePosixPath) -> tuple[int, float]:
        """Bytes below ``path``, and when anything in it changed last (seconds since the epoch)."""
        ...

    def open_dir(self, path: PurePosixPath, provenance: Provenance) -> Path:
        """A local folder with the artifact's files."""
        ...

    def publish(
        self, draft: Path, path: PurePosixPath, provenance: Provenance, exists: Callable[[], bool]
    ) -> None:
        """Make the draft the artifact at ``path``, provenance last, unless another ``exists`` by then."""
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


class LocalLocation:
    """A folder on a disk: an artifact appears by one rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = root / "scratch"
        self.artifact_files = root / ARTIFACTS

    def __str__(self) -> str:
        return str(self.root)

    def describe(self, path: PurePosixPath) -> str:
        return str(self.root / path)

    def read(self, path: PurePosixPath) -> bytes | None:
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # a folder in its place is no file
            return None

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

    def holding(self, paths: Collection[PurePosixPath]) -> set[PurePosixPath]:
        return {path for path in paths if self.has_object(f"{path}/{PROVENANCE_FILE}")}

    def find(self, below: PurePosixPath = ARTIFACTS) -> list[PurePosixPath]:
        found = (self.root / below).glob(_levels(below, PROVENANCE_FILE))
        return [PurePosixPath(file.parent.relative_to(self.root).as_posix()) for file in found]

    def folders(self) -> list[PurePosixPath]:
        found = (self.root / ARTIFACTS).glob(_levels(ARTIFACTS))
        return [PurePosixPath(path.relative_to(self.root).as_posix()) for path in found if path.is_dir()]

    def usage(self, path: PurePosixPath) -> tuple[int, float]:
        return folder_usage(self.root / path)

    def open_dir(self, path: PurePosixPath, provenance: Provenance) -> Path:
        return self.root / path

    def publish(
        self, draft: Path, path: PurePosixPath, provenance: Provenance, exists: Callable[[], bool]
    ) -> None:
        (draft / PROVENANCE_FILE).write_bytes(provenance.to_file())
        sync(draft / PROVENANCE_FILE)
        # What gives way is a folder that never counted, or counts no more: damaged, half copied.
        place_folder(draft, self.root / path, keep=exists, scratch=self.scratch)

    def remove(self, path: PurePosixPath) -> None:
        remove_folder(self.root / path, self.scratch)

    def forget(self, path: PurePosixPath) -> None:
        pass

    def set_aside(self, path: PurePosixPath) -> str:
        self.scratch.mkdir(parents=True, exist_ok=True)
        place = self.scratch / f"damaged-{path.parts[1]}-{path.name[:12]}-{uuid.uuid4().hex[:12]}"
        (self.root / path).rename(place)
        return str(place)


class RemoteLocation:
    """An object store: files go up below a name of their own, then the provenance that names it.

    So two hosts that write one artifact at once never mix their files: the last provenance wins, whole.
    """

    def __init__(self, filesystem: Any, root: str, url: str, cache: Path) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.url = url.rstrip("/")
        self.cache = cache
        self.scratch = cache.parent / "scratch"
        self.artifact_files = cache

    @staticmethod
    def is_remote(root: Any) -> bool:
        """Whether ``root`` is a URL (or a UPath over something else than the local disk)."""
        return "://" in str(root)

    @classmethod
    def of(cls, root: Any, cache: Path) -> RemoteLocation:
        """The place behind a URL or UPath; credentials are found as fsspec finds them."""
        import fsspec

        if hasattr(root, "fs") and hasattr(root, "path"):
            return cls(root.fs, root.path, str(root), cache)
        filesystem, path = fsspec.url_to_fs(str(root))
        return cls(filesystem, path, str(root), cache)

    def __str__(self) -> str:
        return self.url

    def describe(self, path: PurePosixPath) -> str:
        return f"{self.url}/{path}"

    def read(self, path: PurePosixPath) -> bytes | None:
        try:
            return self.filesystem.cat_file(f"{self.root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def has_object(self, path: PurePosixPath | str) -> bool:
        return bool(self.filesystem.isfile(f"{self.root}/{path}"))  # objects are written whole or not at all

    def holding(self, paths: Collection[PurePosixPath]) -> set[PurePosixPath]:
        assets = {PurePosixPath(*path.parts[:2]) for path in paths}
        return {path for asset in assets for path in self.find(asset)} & set(paths)

    def find(self, below: PurePosixPath = ARTIFACTS) -> list[PurePosixPath]:
        self.filesystem.invalidate_cache()
        found = self.filesystem.glob(f"{self.root}/{below}/{_levels(below, PROVENANCE_FILE)}")
        paths = [PurePosixPath(*PurePosixPath(file).parts[-7:-1]) for file in found]
        return [path for path in paths if path.is_relative_to(below)]  # a name may hold a glob sign

    def folders(self) -> list[PurePosixPath]:
        self.filesystem.invalidate_cache()
        found = self.filesystem.glob(f"{self.root}/{ARTIFACTS}/{_levels(ARTIFACTS)}")
        return [PurePosixPath(*PurePosixPath(path).parts[-6:]) for path in found]

    def usage(self, path: PurePosixPath) -> tuple[int, float]:
        files = self.filesystem.find(f"{self.root}/{path}", detail=True)
        changed = [self.filesystem.modified(file).timestamp() for file in files]
        return sum(facts["size"] for facts in files.values()), max(changed, default=0.0)

    def open_dir(self, path: PurePosixPath, provenance: Provenance) -> Path:
        target = self.cache / path.relative_to("artifacts") / (provenance.payload or "files")
        if not target.is_dir():
            self._fetch(path / (provenance.payload or "."), sorted(provenance.files or {}), target)
        return target

    def publish(
        self, draft: Path, path: PurePosixPath, provenance: Provenance, exists: Callable[[], bool]
    ) -> None:
        payload = f"files-{uuid.uuid4().hex[:12]}"
        remote = f"{self.root}/{path}"
        for name in sorted(provenance.files or {}):
            target = f"{remote}/{payload}/{name}"
            self.filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            self.filesystem.put_file(str(draft / name), target)
        if exists():
            self.filesystem.rm(f"{remote}/{payload}", recursive=True)
            return
        complete = provenance.model_copy(update={"payload": payload})
        self.filesystem.makedirs(remote, exist_ok=True)
        self.filesystem.pipe_file(f"{remote}/{PROVENANCE_FILE}", complete.to_file())

    def remove(self, path: PurePosixPath) -> None:
        remote = f"{self.root}/{path}"
        self.filesystem.invalidate_cache()
        if self.filesystem.exists(f"{remote}/{PROVENANCE_FILE}"):
            self.filesystem.rm(f"{remote}/{PROVENANCE_FILE}")
        if self.filesystem.exists(remote):
            self.filesystem.rm(remote, recursive=True)
        self.forget(path)

    def forget(self, path: PurePosixPath) -> None:
        shutil.rmtree(self.cache / path.relative_to("artifacts"), ignore_errors=True)

    def set_aside(self, path: PurePosixPath) -> str:
        place = f"{self.root}/{path}/damaged-{PROVENANCE_FILE}"
        self.filesystem.mv(f"{self.root}/{path}/{PROVENANCE_FILE}", place)
        self.filesystem.invalidate_cache()
        return f"{self.describe(path)}/damaged-{PROVENANCE_FILE}"

    def _fetch(self, remote: PurePosixPath, names: list[str], target: Path) -> None:
        """Fetch files aside, then rename; whoever fetches the same meanwhile may win. A lost object is left out."""
        with new_folder(target, keep=target.is_dir, scratch=self.scratch) as aside:
            for name in names:
                local = aside / name
                local.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # whoever reads the files holds them to what was written
                    self.filesystem.get_file(f"{self.root}/{remote}/{name}", str(local))


def folder_usage(folder: Path) -> tuple[int, float]:
    """Bytes of a folder's files, and when anything in it changed last; what vanishes meanwhile is skipped."""
    size, changed = 0, 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            found = path.lstat()
            changed = max(changed, found.st_mtime)
            size += found.st_size if path.is_file() else 0
    return size, changed


def _levels(below: PurePosixPath, *last: str) -> str:
    """The glob pattern from a folder down to the level of the versions, and ``last`` below it."""
    return "/".join(["*"] * (6 - len(below.parts)) + list(last))
