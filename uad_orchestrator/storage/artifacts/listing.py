"""What an object store holds, as one listing said: looked up here instead of asked for one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from pathlib import PurePosixPath

from uad_orchestrator.storage.artifacts.locations import ARTIFACTS, LEVELS
from uad_orchestrator.storage.artifacts.object_files import StoredObject
from uad_orchestrator.storage.provenance import PROVENANCE_FILE


class Listing:
    """The objects below ``artifacts``, by path, and on demand those below ``payloads``.

    Args:
        artifacts: what was listed.
        list_payloads: lists the others.
    """

    def __init__(
        self, artifacts: dict[str, StoredObject], list_payloads: Callable[[], dict[str, StoredObject]]
    ) -> None:
        self.artifacts = artifacts
        self._list_payloads = list_payloads

    @cached_property
    def payloads(self) -> dict[str, StoredObject]:
        """Listed when they are first asked for: the files of artifacts are many more than their provenances."""
        return self._list_payloads()

    @cached_property
    def versions(self) -> dict[str, list[str]]:
        """The folders that hold a provenance file, by the folder of their asset and cell."""
        found = defaultdict(list)
        for name in self.artifacts:
            folder, _, file = name.rpartition("/")
            if file == PROVENANCE_FILE and folder.count("/") == LEVELS:
                found[folder.rpartition("/")[0]].append(folder)
        return found

    def stamp(self, path: PurePosixPath) -> str | None:
        """Of an artifact's provenance file; None where there is none."""
        found = self.artifacts.get(f"{path}/{PROVENANCE_FILE}")
        return None if found is None else found.stamp

    def find(self, below: PurePosixPath) -> list[str]:
        """The artifacts below a folder."""
        if len(below.parts) == LEVELS:
            return list(self.versions.get(str(below), ()))
        return [path for found in self.versions.values() for path in found if path.startswith(f"{below}/")]

    def drop(self, path: PurePosixPath) -> None:
        """An artifact that counts no more."""
        self.artifacts.pop(f"{path}/{PROVENANCE_FILE}", None)
        self.__dict__.pop("versions", None)


def artifact_of(name: str) -> PurePosixPath | None:
    """The artifact that an object belongs to; None for one that belongs to none."""
    parts = PurePosixPath(name).parts
    return PurePosixPath(ARTIFACTS, *parts[1 : 1 + LEVELS]) if len(parts) > 1 + LEVELS else None
