"""Garbage collection: which artifacts no one needs any more, and what killed writers left behind."""

from __future__ import annotations

import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.artifacts.locations import ARTIFACTS, Stray, folder_usage
from uad_orchestrator.storage.processes import FOREIGN_SECONDS, is_alive, is_visible
from uad_orchestrator.storage.provenance import Provenance

logger = logging.getLogger(__name__)

AT_A_TIME = 200
"""So many provenances are read at a time: they are gone before Python's garbage collector takes them for long-lived."""


@dataclass(frozen=True)
class Removed:
    """Something that was, or in a dry run would be, removed.

    Attributes:
        what: the artifact, or the path of what was left over.
        bytes: its size.
    """

    what: ArtifactKey | str
    bytes: int


@dataclass(frozen=True)
class GarbageReport:
    """What a collection did, or in a dry run would do.

    Attributes:
        artifacts: versions no one needs.
        leftovers: drafts of writers that died, folders that never counted.
        kept: how many artifacts remain.
        busy: artifacts left alone because another process holds their lock.
        dry_run: whether nothing was really removed.
    """

    artifacts: tuple[Removed, ...]
    leftovers: tuple[Removed, ...]
    kept: int
    busy: tuple[ArtifactKey, ...]
    dry_run: bool

    @property
    def bytes(self) -> int:
        """Bytes given back by all of it."""
        return sum(removed.bytes for removed in (*self.artifacts, *self.leftovers))


def collect_garbage(
    store: ArtifactStore,
    current: Collection[ArtifactKey],
    *,
    keep: int = 3,
    pinned: Collection[ArtifactKey] = (),
    min_age_seconds: float = 3600,
    active: Collection[str] = (),
    dry_run: bool = False,
) -> GarbageReport:
    """Remove the artifacts that are not needed, and what dead writers left.

    Kept are: current and pinned ones, the newest ``keep`` of each asset and cell, those younger than
    ``min_age_seconds``, those of active runs, and those another process is working on.

    Args:
        store: the artifacts.
        current: the artifacts the project has, or should have, as it stands.
        keep: versions kept of each asset and cell, the current one among them.
        pinned: further ones to keep.
        min_age_seconds: nothing that changed within this time is touched.
        active: ids of the runs under way.
        dry_run: only say what would go.

    Returns:
        What went, what stayed, what was busy.

    Raises:
        ValueError: ``keep`` below 1.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}: at least the newest version of each cell has to stay")
    with store.listed():
        found, broken, strays = _read_all(store)
    strays = [stray for stray in strays if time.time() - stray.changed >= min_age_seconds]
    needed = {*current, *pinned, *_newest(found, keep)}
    young = datetime.now(UTC) - timedelta(seconds=min_age_seconds)
    unneeded = {
        key: made
        for key, made in found.items()
        if key not in needed and made.run_id not in active and made.finished < young
    }
    removed, busy = _remove(store, unneeded, dry_run)
    leftovers = [
        *_remove_broken(store, broken, min_age_seconds, dry_run),
        *_remove_strays(store, strays, {key.path for key in unneeded}, dry_run),
        *_remove_drafts(store.location.scratch, min_age_seconds, dry_run),
        *_remove_copies(store, found.keys() - unneeded.keys(), min_age_seconds, dry_run),
    ]
    return GarbageReport(tuple(removed), tuple(leftovers), len(found) - len(removed), tuple(busy), dry_run)


def remove_dead_drafts(store: ArtifactStore) -> list[Path]:
    """Remove what killed writers of this host left half written, however young; others' drafts stay.

    Returns:
        The drafts that were removed.
    """
    scratch = store.location.scratch
    removed = []
    for draft in sorted(scratch.iterdir()) if scratch.is_dir() else ():
        writer = _writer_of(draft.name)
        if writer is not None and is_visible(*writer) and not is_alive(writer[1]):
            shutil.rmtree(draft, ignore_errors=True)
            removed.append(draft)
    return removed


class _Made(NamedTuple):
    """What is decided by, of a provenance: a store may have more of them than should be in memory at once."""

    finished: datetime
    bytes: int
    run_id: str | None

    @classmethod
    def of(cls, provenance: Provenance) -> _Made:
        finished = provenance.started_at + timedelta(seconds=provenance.seconds)
        return cls(finished, provenance.bytes, provenance.run_id)


def _read_all(
    store: ArtifactStore,
) -> tuple[dict[ArtifactKey, _Made], list[ArtifactKey], list[Stray]]:
    """The artifacts, the folders that look like one but do not count, and what lies astray beside them."""
    keys = store.list_folders()
    found: dict[ArtifactKey, _Made] = {}
    places: dict[PurePosixPath, Provenance] = {}
    for start in range(0, len(keys), AT_A_TIME):
        read = store.provenances(keys[start : start + AT_A_TIME])
        found |= {key: _Made.of(provenance) for key, provenance in read.items()}
        if store.shared:  # elsewhere nothing lies astray
            places |= {key.path: provenance for key, provenance in read.items()}
    return found, [key for key in keys if key not in found], store.location.strays(places)


def _newest(found: dict[ArtifactKey, _Made], keep: int) -> Iterator[ArtifactKey]:
    """The ``keep`` newest versions of each asset and cell."""
    versions = defaultdict(list)
    for key in found:
        versions[key.asset, key.cell].append(key)
    for keys in versions.values():
        yield from sorted(keys, key=lambda key: (found[key].finished, key.version), reverse=True)[:keep]


def _remove(
    store: ArtifactStore, unneeded: dict[ArtifactKey, _Made], dry_run: bool
) -> tuple[list[Removed], list[ArtifactKey]]:
    removed, busy = [], []
    for key, made in sorted(unneeded.items()):
        try:
            with store.lock(key, timeout=0):
                if not dry_run:
                    store.delete(key)
        except ArtifactError:
            busy.append(key)
            continue
        removed.append(Removed(key, made.bytes))
    return removed, busy


def _remove_broken(
    store: ArtifactStore, broken: list[ArtifactKey], min_age_seconds: float, dry_run: bool
) -> Iterator[Removed]:
    """Folders without a readable provenance, when nobody has touched them for a while."""
    for key in broken:
        size, changed = store.location.usage(key.path)
        if time.time() - changed < min_age_seconds:
            continue
        if not dry_run:
            store.delete(key)
        yield Removed(store.path(key), size)


def _remove_strays(
    store: ArtifactStore, strays: list[Stray], removed: Collection[PurePosixPath], dry_run: bool
) -> Iterator[Removed]:
    """What no provenance names beside the files of artifacts; where those go, it went with them."""
    for stray in strays:
        if stray.artifact in removed:
            continue
        if not dry_run:
            store.location.remove_files(stray.files)
        yield Removed(store.location.describe(stray.place), stray.bytes)


def _remove_copies(
    store: ArtifactStore, kept: Collection[ArtifactKey], min_age_seconds: float, dry_run: bool
) -> Iterator[Removed]:
    """What was fetched to this machine of artifacts that went from the object store, on whichever machine."""
    if not store.shared:
        return
    copies = store.location.artifact_files
    paths = {copies / key.path.relative_to(ARTIFACTS) for key in kept}
    for copy in sorted(copies.glob("*/*/*/*/*")):
        size, changed = folder_usage(copy)
        if copy in paths or time.time() - changed < min_age_seconds:
            continue
        if not dry_run:
            shutil.rmtree(copy, ignore_errors=True)
        yield Removed(str(copy), size)


def _remove_drafts(scratch: Path, min_age_seconds: float, dry_run: bool) -> Iterator[Removed]:
    """Drafts of writers that are gone."""
    for draft in sorted(scratch.iterdir()) if scratch.is_dir() else ():
        size, changed = folder_usage(draft)
        if time.time() - changed < min_age_seconds or _may_be_alive(draft.name, changed):
            continue
        if not dry_run:
            shutil.rmtree(draft)
        yield Removed(str(draft), size)


def _may_be_alive(draft: str, changed: float) -> bool:
    """Whether the writer of a draft may still be at it."""
    writer = _writer_of(draft)
    if writer is None:
        return False  # something set aside
    if is_visible(*writer):
        return is_alive(writer[1])
    return time.time() - changed < FOREIGN_SECONDS


def _writer_of(draft: str) -> tuple[str, str] | None:
    """Host and process (``this_process``) of a draft called ``<host>-<process>-<random>``."""
    host, _, process = draft.rpartition("-")[0].rpartition("-")
    return (host, process) if host and process.partition(".")[0].isdigit() else None
