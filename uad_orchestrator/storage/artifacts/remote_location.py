"""Artifacts in an object store: their files first, below a name of their own, then the provenance that names it.

So machines that write one artifact at once never mix their files. The first provenance stays, where the store can
create a file only where there is none; who comes second takes his files away.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from uad_orchestrator.extras import require_extra
from uad_orchestrator.storage.artifacts.first_writer import create, keeps_first, remembered_keeps_first
from uad_orchestrator.storage.artifacts.listing import Listing, artifact_of
from uad_orchestrator.storage.artifacts.locations import ARTIFACTS, LEVELS, Stray
from uad_orchestrator.storage.artifacts.object_files import ObjectFiles, StoredObject, stamp_of
from uad_orchestrator.storage.artifacts.payload import ARCHIVE, PAYLOADS, by_object, pack, unpack
from uad_orchestrator.storage.atomic import new_file, place_folder, scratch_folder
from uad_orchestrator.storage.damage import is_sealed
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.storage.provenance import PROVENANCE_FILE, Provenance

FEW = 16
"""So many artifacts are looked up one by one; for more, all that is stored is listed."""


class RemoteLocation:
    """A place behind an fsspec URL.

    What was seen of an artifact is remembered, for it never changes: where it does go away, its files are missed.

    Args:
        filesystem: of fsspec.
        root: in the file system's words.
        url: for people.
        cache: a local folder for what was fetched.
    """

    shared = True

    def __init__(self, filesystem: Any, root: str, url: str, cache: Path) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.url = url.rstrip("/")
        self.cache = cache
        self.scratch = cache.parent / "scratch"
        self.artifact_files = cache
        self._memory = cache.parent / "object_store.json"
        self._objects = ObjectFiles(filesystem, self.root)
        self._read: dict[PurePosixPath, bytes] = {}
        self._listing: Listing | None = None
        self._last = Listing({}, dict)
        self._keeps_first: bool | None = None
        self._asking = Lock()  # artifacts are written in threads

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
        if str(root).startswith(("s3://", "s3a://")):
            require_extra("s3fs", extra="s3", what=f"storage on {root}")
        filesystem, path = fsspec.url_to_fs(str(root))
        return cls(filesystem, path, str(root), cache)

    def __str__(self) -> str:
        return self.url

    def describe(self, path: PurePosixPath | str) -> str:
        return f"{self.url}/{path}"

    def keeps_first(self) -> bool:
        """Whether of two that write one artifact at once the first one stays; the store is asked once.

        Raises:
            OSError: nothing can be written there.
        """
        with self._asking:
            if self._keeps_first is None:
                self._keeps_first = remembered_keeps_first(self._memory, self.url, self._probe)
            return self._keeps_first

    def ask_anew(self) -> bool:
        """As ``keeps_first``, whatever is remembered; nothing is left behind, neither here nor there."""
        self._memory.unlink(missing_ok=True)
        self._keeps_first = self._probe()
        return self._keeps_first

    def read(self, path: PurePosixPath) -> bytes | None:
        if self._listing is not None and path.is_relative_to(ARTIFACTS):  # no more was listed
            return self._objects.read(path) if str(path) in self._listing.artifacts else None
        return self._objects.read(path)

    def write(self, path: PurePosixPath, data: bytes) -> None:
        self._objects.write(path, data)

    def unlink(self, path: PurePosixPath) -> None:
        self._objects.unlink(path)

    @contextmanager
    def listed(self) -> Iterator[None]:
        if self._listing is not None:
            yield
            return
        self._listing = self._last = self._list()
        try:
            yield
        finally:
            self._listing = None

    def provenances(self, folders: Collection[str], *, anew: bool = False) -> dict[str, bytes | None]:
        found = self._objects.each(lambda folder: self._provenance(PurePosixPath(folder), anew), folders)
        return dict(zip(folders, found, strict=True))

    def has_object(self, path: PurePosixPath | str) -> bool:
        path = PurePosixPath(path)
        if path.name != PROVENANCE_FILE:
            return self.read(path) is not None
        return self._has_seen(path.parent) or (
            self._listing is None and self._provenance(path.parent, anew=False) is not None
        )

    def holding(self, folders: Collection[str]) -> set[str]:
        unseen = [folder for folder in folders if not self._has_seen(PurePosixPath(folder))]
        if self._listing is None and len(unseen) > FEW:
            with self.listed():
                return {folder for folder in folders if self._has_seen(PurePosixPath(folder))}
        found = {} if self._listing is not None else self.provenances(unseen)
        return set(folders) - {folder for folder in unseen if found.get(folder) is None}

    def find(self, below: PurePosixPath = ARTIFACTS) -> list[str]:
        listing = self._listing or Listing(self._objects.listing(below), dict)
        return listing.find(below)

    def folders(self) -> list[str]:
        listing = self._listing or self._list()
        found = {artifact_of(name) for name in (*listing.artifacts, *listing.payloads)}
        return [str(path) for path in found if path is not None]

    def usage(self, path: PurePosixPath) -> tuple[int, float]:
        files = [*self._objects.listing(path).values(), *self._objects.listing(_payloads(path)).values()]
        return sum(file.bytes for file in files), max((file.changed for file in files), default=0.0)

    def files(self, below: PurePosixPath) -> dict[str, StoredObject]:
        return self._objects.listing(below)

    def remove_files(self, paths: Collection[str]) -> None:
        self._objects.each(self._objects.unlink, paths)

    def open_dir(self, folder: str, provenance: Provenance, names: Collection[str] = ()) -> Path:
        path, files = PurePosixPath(folder), provenance.files or {}
        target = self._copy(path, provenance.payload)
        missing = [name for name in names or files if name in files and not (target / name).exists()]
        if missing:
            self._fetch(path, provenance.payload or ".", missing, target)
        target.mkdir(parents=True, exist_ok=True)
        return target

    @contextmanager
    def as_stored(self, path: PurePosixPath, provenance: Provenance) -> Iterator[Path]:
        with self._fetched(path, provenance.payload or ".", list(provenance.files or {})) as directory:
            yield directory

    def publish(
        self, draft: Path, path: PurePosixPath, provenance: Provenance, exists: Callable[[], bool]
    ) -> bool:
        payload = f"{_payloads(path)}/files-{uuid.uuid4().hex[:12]}"  # this writer's alone
        with scratch_folder(draft.with_name(f"{draft.name}.packed")) as aside:
            objects = pack(draft, provenance.files or {}, payload, aside)
            self._objects.put({f"{payload}/{name}": file for name, file in objects.items()})
        data = provenance.model_copy(update={"payload": payload}).to_file()
        if not self._claim(path, data, exists):
            self._objects.remove(payload)
            return False
        self._remember(path, data)
        copy = self._copy(path, payload)
        place_folder(draft, copy, keep=copy.is_dir, scratch=self.scratch)  # it need not be fetched here
        return True

    def remove(self, path: PurePosixPath) -> None:
        self._objects.unlink(path / PROVENANCE_FILE)
        for folder in (path, _payloads(path)):
            self._objects.remove(folder)
        self.forget(path)

    def forget(self, path: PurePosixPath) -> None:
        self._drop(path)
        shutil.rmtree(self.cache / path.relative_to(ARTIFACTS), ignore_errors=True)

    def set_aside(self, path: PurePosixPath) -> str:
        place = path / f"damaged-{PROVENANCE_FILE}"
        self._objects.write(place, self._objects.read(path / PROVENANCE_FILE) or b"")
        self._objects.unlink(path / PROVENANCE_FILE)
        self._drop(path)
        return self.describe(place)

    def strays(self, known: Mapping[PurePosixPath, Provenance]) -> list[Stray]:
        listing = self._listing or self._list()
        objects = listing.artifacts | listing.payloads
        groups: dict[tuple[PurePosixPath, PurePosixPath], list[str]] = {}
        for name in objects:
            version, place = artifact_of(name), PurePosixPath(*PurePosixPath(name).parts[: 2 + LEVELS])
            if version is not None and version in known and place not in _places(version, known[version]):
                groups.setdefault((version, place), []).append(name)
        return [
            Stray(
                version,
                place,
                tuple(names),
                bytes=sum(objects[name].bytes for name in names),
                changed=max(objects[name].changed for name in names),
            )
            for (version, place), names in groups.items()
        ]

    def _probe(self) -> bool:
        self._objects.make_folder("probe")
        return keeps_first(
            self.filesystem, self.root, lambda path: self._objects.read(path[len(self.root) + 1 :])
        )

    def _claim(self, path: PurePosixPath, data: bytes, exists: Callable[[], bool]) -> bool:
        """Write the provenance that makes an artifact count; False where another writer's does already."""
        place = path / PROVENANCE_FILE
        if not self.keeps_first():
            if exists():
                return False
            self._objects.write(place, data)
            return True
        self._objects.make_folder(place)
        while not create(self.filesystem, self._objects.full(place), data, lambda: self._objects.read(place)):
            if exists():
                return False
            self.set_aside(path)  # what lies there is damaged: it counts for none
        return True

    def _list(self) -> Listing:
        return Listing(self._objects.listing(ARTIFACTS), lambda: self._objects.listing(PAYLOADS))

    def _has_seen(self, path: PurePosixPath) -> bool:
        return path in self._read or self._last.stamp(path) is not None

    def _provenance(self, path: PurePosixPath, anew: bool) -> bytes | None:
        """A provenance file: what is kept of it here, else read from the store, unless a listing has it not."""
        stamp = self._last.stamp(path)
        kept = self._read.get(path) if stamp is None else self._kept(path, stamp)
        if not anew and (kept is not None or (stamp is None and self._listing is not None)):
            return kept
        data = self._objects.read(path / PROVENANCE_FILE)
        if data is None:
            self._drop(path)
        else:
            self._remember(path, data, stamp)
        return data

    def _kept(self, path: PurePosixPath, stamp: str) -> bytes | None:
        """A provenance file that this machine has read or written, if the store's is still the same."""
        file = self._kept_file(path, stamp)
        data = file.read_bytes() if file.is_file() else b""
        return data if is_sealed(data) else None  # a damaged copy says nothing of the store's

    def _remember(self, path: PurePosixPath, data: bytes, stamp: str | None = None) -> None:
        """Keep a provenance file for as long as listings give it this stamp; None: the one that they will give."""
        self._read[path] = data
        with new_file(self._kept_file(path, stamp or stamp_of(data))) as aside:
            aside.write_bytes(data)

    def _kept_file(self, path: PurePosixPath, stamp: str) -> Path:
        name = f"provenance-{digest_of(stamp)[:16]}.json"
        return self.cache / path.relative_to(ARTIFACTS) / name

    def _drop(self, path: PurePosixPath) -> None:
        self._read.pop(path, None)
        self._last.drop(path)

    def _copy(self, path: PurePosixPath, payload: str | None) -> Path:
        """The local folder for a payload's files."""
        return self.cache / path.relative_to(ARTIFACTS) / PurePosixPath(payload or "files").name

    def _fetch(self, path: PurePosixPath, payload: str, names: list[str], target: Path) -> None:
        """Fetch files aside, then rename each; whoever fetches the same meanwhile does no harm."""
        with self._fetched(path, payload, names) as aside:
            for name in names:
                if (aside / name).is_file():
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    (aside / name).replace(target / name)

    @contextmanager
    def _fetched(self, path: PurePosixPath, payload: str, names: list[str]) -> Iterator[Path]:
        """A folder with files of an artifact, gone when the block ends.

        A lost object is left out: whoever reads the files holds them to what was written.
        """
        base = payload if payload.startswith(f"{PAYLOADS}/") else path / payload
        objects = by_object(names, payload)
        with scratch_folder(self.scratch / f"fetched-{uuid.uuid4().hex[:12]}") as aside:
            self._objects.get({f"{base}/{place}": aside / place for place in objects})
            for place, inside in objects.items():
                if place.endswith(ARCHIVE) and (aside / place).is_file():
                    unpack(aside / place, inside, aside)
            yield aside


def _payloads(path: PurePosixPath) -> PurePosixPath:
    """Where the files of an artifact's writers lie, each in a folder of its own."""
    return PAYLOADS / path.relative_to(ARTIFACTS)


def _places(path: PurePosixPath, provenance: Provenance) -> set[PurePosixPath]:
    """What belongs to an artifact: its provenance file, and its payload or, of the first layout, its files."""
    payload = provenance.payload
    if payload is None:
        return {path / PROVENANCE_FILE, *(path / name.partition("/")[0] for name in provenance.files or {})}
    named = PurePosixPath(payload)
    return {path / PROVENANCE_FILE, named if named.is_relative_to(PAYLOADS) else path / named}
