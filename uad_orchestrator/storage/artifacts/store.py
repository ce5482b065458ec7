"""The store of artifacts: written aside, renamed into place, never changed afterwards.

An artifact is a folder of files with ``provenance.json``, at ``ArtifactKey.path`` below the storage root. It
counts once its provenance, written last, is there and readable: a writer killed at any moment leaves nothing
that counts.
"""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts.draft import ArtifactDraft
from uad_orchestrator.storage.artifacts.errors import ArtifactError
from uad_orchestrator.storage.artifacts.locations import LocalLocation, Location
from uad_orchestrator.storage.artifacts.object_files import AT_ONCE
from uad_orchestrator.storage.artifacts.provenances import StoredProvenances
from uad_orchestrator.storage.artifacts.remote_location import RemoteLocation
from uad_orchestrator.storage.artifacts.sound_files import SoundFiles
from uad_orchestrator.storage.atomic import scratch_folder
from uad_orchestrator.storage.damage import find_damage
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.storage.processes import this_process
from uad_orchestrator.storage.provenance import PROVENANCE_FILE, Provenance, ProvenanceError
from uad_orchestrator.threads import ordered_map

logger = logging.getLogger(__name__)

_PARTS = attrgetter("parts")
"""Sorts keys as their own order does, with one look at each: two keys to compare are made tuples first."""


class ArtifactStore:
    """Artifacts below a folder or an fsspec URL.

    Args:
        root: a local folder, or a URL such as ``s3://bucket/benchmarks``, or a UPath.
        local: a folder on a local disk: locks, and what was fetched from a remote root.

    >>> import tempfile
    >>> home = Path(tempfile.mkdtemp())
    >>> store = ArtifactStore(home, local=home)
    >>> key = ArtifactKey("memory_bank", "mvtec_ad", "bottle", "patchcore", "3f2a")
    >>> with store.lock(key), store.write(key, Provenance(**vars(key))) as draft:
    ...     _ = (draft.directory / "bank.txt").write_text("rows")
    ...     draft.record(facts={"rows": 1})
    >>> store.exists(key), (store.open_dir(key) / "bank.txt").read_text(), store.provenance(key).facts
    (True, 'rows', {'rows': 1})
    """

    def __init__(self, root: Any, local: Path) -> None:
        self.local = Path(local).absolute()
        self.location: Location = (
            RemoteLocation.of(root, cache=self.local / "fetched")
            if RemoteLocation.is_remote(root)
            else LocalLocation(Path(root).absolute())
        )
        self._provenances = StoredProvenances(self.location)
        self._sound_files = SoundFiles(self.location, self._provenances)

    def __str__(self) -> str:
        return str(self.location)

    def exists(self, key: ArtifactKey) -> bool:
        """Whether the artifact counts: its provenance is there, readable, and says it is this one.

        Args:
            key: its address.

        Returns:
            True where it does; a damaged provenance is logged.
        """
        return self.find_provenance(key) is not None

    def find_provenance(self, key: ArtifactKey) -> Provenance | None:
        """What made the artifact, read from the store now.

        Args:
            key: its address.

        Returns:
            Its record; None where there is no artifact that counts: a damaged provenance is logged.
        """
        return self._provenances.find(key)

    def provenances(self, keys: Iterable[ArtifactKey]) -> dict[ArtifactKey, Provenance]:
        """What made several artifacts, with several requests at a time.

        Args:
            keys: their addresses.

        Returns:
            The records of those that count; a damaged one is logged.
        """
        return self._provenances.of_all(keys)

    @property
    def shared(self) -> bool:
        """Whether it is an object store, where other machines write, too, and each request takes a while."""
        return self.location.shared

    def listed(self) -> AbstractContextManager[None]:
        """Until the block ends, what an object store holds is looked up in one listing: for work over a grid.

        Returns:
            A context; on a local disk it does nothing.
        """
        return self.location.listed()

    def holds(self, key: ArtifactKey) -> bool:
        """Whether a whole provenance file lies there: the quick look at a grid; ``exists`` reads it.

        Args:
            key: the artifact's address.

        Returns:
            True where one does; one that was cut short counts for none.
        """
        return self.location.has_object(f"{key.folder}/{PROVENANCE_FILE}")

    def missing(self, keys: Iterable[ArtifactKey]) -> list[ArtifactKey]:
        """Those that ``holds`` denies, found in few requests.

        Args:
            keys: addresses.

        Returns:
            In their order.
        """
        folders = {key: key.folder for key in keys}
        held = self.location.holding(folders.values())
        return [key for key, folder in folders.items() if folder not in held]

    def provenance(self, key: ArtifactKey) -> Provenance:
        """What made the artifact.

        Args:
            key: its address.

        Returns:
            Its record.

        Raises:
            ArtifactError: there is no such artifact.
            ProvenanceError: its provenance file is damaged.
        """
        return self._provenances.of(key)

    def path(self, key: ArtifactKey) -> str:
        """Where the artifact lies or would lie, for people and tables.

        Args:
            key: its address.

        Returns:
            A local path or a URL.
        """
        return self.location.describe(key.folder)

    def open_dir(self, key: ArtifactKey, *names: str) -> Path:
        """The artifact's files, to read only; fetched first from a remote root.

        Files are held to their checksums when they are first opened by this store. A damaged artifact is set aside, so
        that it does not count any more and the next refresh computes it again.

        Args:
            key: its address.
            names: the files that will be read, as posix paths; none: all.

        Returns:
            A local folder.

        Raises:
            ArtifactError: there is no such artifact.
            DamagedArtifact: files are missing, cut short or changed.
        """
        if (directory := self._sound_files.open_dir(key, names)) is not None:
            return directory
        with self.lock(key):
            return self._sound_files.open_again_or_set_aside(key, names)

    def fetch(self, keys: Iterable[ArtifactKey], *names: str) -> None:
        """Fetch files from an object store ahead of ``open_dir``, several artifacts at a time.

        Nothing is said of what is not there or damaged: ``open_dir`` does.

        Args:
            keys: addresses.
            names: the files that will be read, as posix paths.
        """
        if not self.shared:
            return
        found = self.provenances(keys).items()
        fetched = ordered_map(
            lambda item: self.location.open_dir(item[0].folder, item[1], names),
            found,
            threads=AT_ONCE,
            ahead=AT_ONCE,
        )
        for _ in fetched:
            pass

    def find_damage(self, key: ArtifactKey) -> str | None:
        """What is wrong with an artifact, all its files read, from an object store anew; nothing is set aside.

        Args:
            key: its address.

        Returns:
            A sentence that names the file; None where all is as it was written.

        Raises:
            ArtifactError: there is no such artifact.
        """
        try:
            provenance = self.provenance(key)
        except ProvenanceError as error:
            return str(error).removesuffix(".")
        with self.location.as_stored(key.path, provenance) as directory:
            return find_damage(directory, provenance.files or {}, provenance.checksums)

    @contextmanager
    def lock(self, key: ArtifactKey, timeout: float = -1) -> Iterator[None]:
        """Hold the one lock of this artifact among all processes of this ``local``; released when killed.

        Take it, look whether the artifact exists by now, and only then compute.

        Args:
            key: the artifact's address; it need not exist.
            timeout: seconds to wait; negative: for ever.

        Yields:
            Nothing; the lock is held until the block ends.

        Raises:
            ArtifactError: not free within ``timeout`` seconds (negative: wait for ever).
        """
        from filelock import FileLock, Timeout

        folder = self.local / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{digest_of(key.parts)[:32]}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("Another process is making %s: waiting for it.", key)
            try:
                lock.acquire(timeout=timeout)
            except Timeout as error:
                raise ArtifactError(
                    f"another process has been making {key} for more than {timeout:g} s: "
                    "wait for it or end it"
                ) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def write(self, key: ArtifactKey, provenance: Provenance) -> Iterator[ArtifactDraft]:
        """A draft that becomes the artifact when the block ends, and vanishes when it raises.

        If the artifact exists by then, the one that was first stays and this draft is dropped.

        Args:
            key: the artifact's address.
            provenance: its record, as far as it is known; ``ArtifactDraft.record`` adds to it.

        Yields:
            The draft, with an empty folder for the files.

        Raises:
            ValueError: the provenance is that of another artifact.
        """
        if ArtifactKey.of(provenance) != key:
            raise ValueError(f"the provenance describes {ArtifactKey.of(provenance)}, the artifact is {key}")
        name = (
            f"{socket.gethostname()}-{this_process()}-{uuid.uuid4().hex[:12]}"  # garbage collection reads it
        )
        with scratch_folder(self.location.scratch / name) as directory:
            draft = ArtifactDraft(directory, provenance)
            yield draft
            self._publish(key, draft)

    def history(
        self, asset: str, dataset: str | None, category: str | None, detector: str | None
    ) -> list[Provenance]:
        """The provenance of all versions of one asset in one cell.

        Args:
            asset: its name.
            dataset: of the cell; None where the asset has no such dimension.
            category: of the cell, within its dataset; likewise.
            detector: of the cell; likewise.

        Returns:
            The records, newest first; damaged ones are left out.
        """
        parent = ArtifactKey(asset, dataset, category, detector, "version").path.parent
        found = self.provenances(_keys(self.location.find(parent))).values()
        return sorted(found, key=lambda made: (made.started_at, made.version), reverse=True)

    def versions(
        self, asset: str, dataset: str | None, category: str | None, detector: str | None
    ) -> list[str]:
        """The versions of one asset in one cell.

        Args:
            asset: its name.
            dataset: of the cell; None where the asset has no such dimension.
            category: of the cell, within its dataset; likewise.
            detector: of the cell; likewise.

        Returns:
            The versions, newest first.
        """
        return [provenance.version for provenance in self.history(asset, dataset, category, detector)]

    def list_all(self) -> list[ArtifactKey]:
        """All artifacts; folders that are none are passed over.

        Returns:
            Their keys, sorted.
        """
        return sorted(_keys(self.location.find()), key=_PARTS)

    def list_folders(self) -> list[ArtifactKey]:
        """All folders where an artifact may lie, also those that do not count.

        Returns:
            Their keys, sorted.
        """
        return sorted(_keys(self.location.folders()), key=_PARTS)

    def delete(self, key: ArtifactKey) -> None:
        """Remove the artifact, at once for every reader; nothing happens if there is none.

        Args:
            key: its address.
        """
        self.location.remove(key.path)

    def _publish(self, key: ArtifactKey, draft: ArtifactDraft) -> None:
        if not self.location.publish(draft.directory, key.path, draft.finished(), lambda: self.exists(key)):
            logger.info("%s exists already: this copy is dropped.", key)


def _keys(paths: Iterable[str]) -> Iterator[ArtifactKey]:
    """The keys of those folders that have an artifact's address."""
    for path in paths:
        try:
            yield ArtifactKey.from_path(path)
        except ValueError:
            logger.debug("%s is not the address of an artifact", path)
