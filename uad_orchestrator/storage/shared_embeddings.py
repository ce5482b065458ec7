"""Patch embeddings that machines share through the artifact store: a second level behind each machine's own cache.

``<root>/embeddings/<space>/<dataset>/<category>/<view>/<digest>.embedding``: an object per image and view, some 0.2 to
3 MB, of which many are under way at a time; which there are one listing per category says, so that an image nobody
has embedded costs no request. An object begins with the SHA-256 of its key and content: one that was cut, damaged or
moved counts as missing and is replaced.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import PurePosixPath
from threading import Lock
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from uad_orchestrator.storage.artifacts.locations import Location
from uad_orchestrator.storage.artifacts.object_files import AT_ONCE, StoredObject
from uad_orchestrator.storage.embedding_cache import EmbeddingCache
from uad_orchestrator.threads import ordered_map

logger = logging.getLogger(__name__)

SHARED = PurePosixPath("embeddings")
"""Below the store's root: a folder per space of the embedding cache."""

ENDING = ".embedding"

UPLOADS = 4
"""At a time, behind the embedder: what waits lies in the machine's cache, not in memory."""

PATIENCE = 3
"""Failed requests after which the store is left alone, until the next stage of a cell asks it again."""

_SEAL_BYTES = hashlib.sha256().digest_size

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class EntryKey(NamedTuple):
    """Where the embeddings of an image lie: which numbers, which rotation or augmentation, which image."""

    space: str
    view: str
    digest: str


class SharedEmbeddings:
    """``KeptEmbeddings`` of a machine's own cache, and behind it those of all machines.

    A store that fails is a warning: what it does not give is computed. Several threads may read and store.

    Args:
        cache: this machine's.
        location: the artifact store's place, an object store or a folder.
        category: ``<dataset>/<category>``, under which the embeddings of its images are shared.

    Attributes:
        fetched: entries that came from the store so far.
        fetch_seconds: how long they were waited for.
    """

    def __init__(self, cache: EmbeddingCache, location: Location, category: str) -> None:
        self.cache = cache
        self.location = location
        self.category = category
        self.fetched = 0
        self.fetch_seconds = 0.0
        self._there: dict[str, set[str]] = {}
        self._failures = {"read": 0, "written": 0}
        self._counting, self._listing = Lock(), Lock()
        self._uploading = ThreadPoolExecutor(UPLOADS, thread_name_prefix="embedding-upload")
        self._uploads: list[Future[None]] = []

    def get(self, space: str, view: str, digest: str) -> Mapping[str, np.ndarray] | None:
        """The arrays under a key, fetched where this machine has none; None if nobody has."""
        found = self.cache.get(space, view, digest)
        if found is not None:
            return found
        started = time.perf_counter()
        if not self._fetch(EntryKey(space, view, digest)):
            return None
        with self._counting:
            self.fetch_seconds += time.perf_counter() - started
        return self.cache.get(space, view, digest)

    def put(self, space: str, view: str, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays here in place of what was there, and behind that in the store (see ``settled``)."""
        self.cache.put(space, view, digest, arrays)
        self._uploads.append(self._uploading.submit(self._upload, EntryKey(space, view, digest)))

    def ahead(self, items: Iterable[Item], keys: Callable[[Item], Iterable[EntryKey]]) -> Iterator[Item]:
        """The items in order, what the store has of each fetched before it comes, several at a time.

        Args:
            items: taken somewhat ahead.
            keys: the entries that will be asked for with an item.
        """

        def bring(item: Item) -> tuple[Item, bool]:
            found = [self._fetch(key) for key in keys(item) if not self.cache.holds(*key)]
            return item, any(found)

        brought = ordered_map(bring, items, threads=AT_ONCE, ahead=2 * AT_ONCE)
        started = time.perf_counter()
        for item, fetched in brought:
            with self._counting:
                self.fetch_seconds += (time.perf_counter() - started) * fetched
            yield item
            started = time.perf_counter()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """At the end of the block what was stored is with the store; where it is cut off, what was under way."""
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            for upload in self._uploads:
                upload.cancel()
            raise
        finally:
            uploads, self._uploads = self._uploads, []
            for upload in wait(uploads).done:
                if not upload.cancelled():
                    upload.result()

    def _fetch(self, key: EntryKey) -> bool:
        """Put an entry of the store into the machine's cache; False where there is none that is whole."""
        there = self._listed(key.space)
        name = self._name(key)
        if name not in there:
            return False
        there.discard(name)  # what does not come now is computed
        sealed = self._ask("read", lambda: self.location.read(PurePosixPath(name)))
        if sealed is None:
            return False
        data = _opened(key, sealed)
        if data is None:
            logger.warning(
                "%s is damaged: it is not used, but computed here and replaced",
                self.location.describe(PurePosixPath(name)),
            )
            return False
        self.cache.write(*key, data)
        with self._counting:
            self.fetched += 1
        return True

    def _upload(self, key: EntryKey) -> None:
        data = self.cache.read(*key)
        if data is not None:
            self._ask(
                "written", lambda: self.location.write(PurePosixPath(self._name(key)), _sealed(key, data))
            )

    def _listed(self, space: str) -> set[str]:
        """The names that the store had when they were first asked for; asked again while it does not answer."""
        with self._listing:
            if space not in self._there:
                found = self._ask("read", lambda: self.location.files(SHARED / space / self.category))
                if found is None:
                    return set()
                self._there[space] = set(found)
            return self._there[space]

    def _name(self, key: EntryKey) -> str:
        return str(SHARED / key.space / self.category / key.view / f"{key.digest}{ENDING}")

    def _ask(self, what: Literal["read", "written"], request: Callable[[], Answer]) -> Answer | None:
        """A request's answer; None where it fails, and where enough have failed."""
        if self._failures[what] >= PATIENCE:
            return None
        try:
            return request()
        except Exception as error:  # whatever a store's client raises: embeddings can be computed without it
            with self._counting:
                self._failures[what] += 1
                first = self._failures[what] == 1
            if first:
                logger.warning(
                    "shared embeddings cannot be %s at %s (%s: %s): what is missing is computed here. After %d failed "
                    "requests no more are made for this stage of %s",
                    what,
                    self.location.describe(SHARED),
                    type(error).__name__,
                    error,
                    PATIENCE,
                    self.category,
                )
            return None


def shared_spaces(location: Location) -> dict[str, dict[str, StoredObject]]:
    """What is shared: the objects of each space, by name."""
    spaces: dict[str, dict[str, StoredObject]] = defaultdict(dict)
    for name, found in location.files(SHARED).items():
        if name.endswith(ENDING):
            spaces[PurePosixPath(name).parts[1]][name] = found
    return dict(spaces)


def _seal(key: EntryKey, data: bytes) -> bytes:
    digest = hashlib.sha256("/".join(key).encode() + b"\n")
    digest.update(data)
    return digest.digest()


def _sealed(key: EntryKey, data: bytes) -> bytes:
    return _seal(key, data) + data


def _opened(key: EntryKey, sealed: bytes) -> bytes | None:
    """The content; None where it is not what was stored under this key."""
    seal, data = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
    return data if seal == _seal(key, data) else None
