"""Patch embeddings on disk, so that no image is embedded twice.

``<root>/<space>/<view>/<digest[:2]>/<digest>.npz``: the space says which numbers (preset, embedder, weights),
the view which rotation, the digest which image. An entry is a handful of named arrays; it is written aside
and renamed, and one that cannot be read back is removed and counts as missing.
"""

from __future__ import annotations

import re
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from uad_orchestrator.storage.array_file import read_arrays, write_arrays
from uad_orchestrator.storage.atomic import new_file

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")


class KeptEmbeddings(Protocol):
    """Arrays under (space, view, digest): which numbers, which rotation or augmentation, which image."""

    def get(self, space: str, view: str, digest: str) -> Mapping[str, np.ndarray] | None:
        """The arrays by name; None if there are none."""

    def put(self, space: str, view: str, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays in place of what was there."""


class HeldEmbeddings:
    """``KeptEmbeddings`` in memory, up to a bound; those beyond it go on to another.

    Args:
        beyond: takes what there is no room for.
        most_bytes: the bound.
    """

    def __init__(self, beyond: KeptEmbeddings, most_bytes: int) -> None:
        self._beyond = beyond
        self._left = most_bytes
        self._held: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}
        self._lock = threading.Lock()  # several threads read and store

    def get(self, space: str, view: str, digest: str) -> Mapping[str, np.ndarray] | None:
        """The arrays stored under a key, not to be written to; None if there are none."""
        with self._lock:
            held = self._held.get((space, view, digest))
        return self._beyond.get(space, view, digest) if held is None else held

    def put(self, space: str, view: str, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Hold copies of arrays under a key, in place of what was there."""
        key, size = (space, view, digest), sum(array.nbytes for array in arrays.values())
        with self._lock:
            before = self._held.pop(key, {})
            self._left += sum(array.nbytes for array in before.values())
            if size <= self._left:
                self._left -= size
                self._held[key] = {name: _read_only(array) for name, array in arrays.items()}
                return
        self._beyond.put(space, view, digest, arrays)


class EmbeddingCache:
    """A folder of array entries under (space, view, digest); safe with several processes.

    Args:
        root: the folder; made when the first entry is stored.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, space: str, view: str, digest: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under a key.

        Args:
            space: which numbers: preset, embedder and weights.
            view: which rotation or augmentation.
            digest: which image.

        Returns:
            The arrays by name; None if there are none, or if they are damaged (then removed).

        Raises:
            ValueError: a part of the key is not made of letters, digits and ``_.+-``.
        """
        path = self._path(space, view, digest)
        try:
            return read_arrays(path)
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, ValueError, EOFError, KeyError, NotImplementedError):
            path.unlink(missing_ok=True)
            return None

    def put(self, space: str, view: str, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under a key, in place of what was there.

        Args:
            space: which numbers: preset, embedder and weights.
            view: which rotation or augmentation.
            digest: which image.
            arrays: what is stored, by name.

        Raises:
            ValueError: a part of the key is not made of letters, digits and ``_.+-``.
        """
        path = self._path(space, view, digest)
        with new_file(path) as aside, aside.open("wb") as file:
            write_arrays(file, arrays)

    def holds(self, space: str, view: str, digest: str) -> bool:
        """Whether there is an entry under a key, whole or damaged.

        Args:
            space: which numbers: preset, embedder and weights.
            view: which rotation or augmentation.
            digest: which image.

        Returns:
            True where its file is there; it is not read.

        Raises:
            ValueError: a part of the key is not made of letters, digits and ``_.+-``.
        """
        return self._path(space, view, digest).is_file()

    def read(self, space: str, view: str, digest: str) -> bytes | None:
        """An entry's file, to be stored elsewhere.

        Args:
            space: which numbers: preset, embedder and weights.
            view: which rotation or augmentation.
            digest: which image.

        Returns:
            Its bytes; None if there is none.

        Raises:
            ValueError: a part of the key is not made of letters, digits and ``_.+-``.
        """
        try:
            return self._path(space, view, digest).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, space: str, view: str, digest: str, data: bytes) -> None:
        """Store an entry's file under a key, in place of what was there.

        Args:
            space: which numbers: preset, embedder and weights.
            view: which rotation or augmentation.
            digest: which image.
            data: what ``read`` gave, of this cache or another.

        Raises:
            ValueError: a part of the key is not made of letters, digits and ``_.+-``.
        """
        with new_file(self._path(space, view, digest)) as aside:
            aside.write_bytes(data)

    def _path(self, space: str, view: str, digest: str) -> Path:
        for part in (space, view, digest):
            if not _WORD.fullmatch(part):
                raise ValueError(
                    f"embedding cache: {part!r} cannot be part of a key: letters, digits and _.+- only"
                )
        return self.root / space / view / digest[:2] / f"{digest}.npz"


def _read_only(array: np.ndarray) -> np.ndarray:
    """A copy of its own: what it is copied from may be a part of a whole batch, or be written over."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy
