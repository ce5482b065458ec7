"""Artifacts' files, held to their checksums when they are first opened; a damaged artifact is set aside."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts.errors import DamagedArtifact
from uad_orchestrator.storage.artifacts.locations import Location
from uad_orchestrator.storage.artifacts.provenances import StoredProvenances
from uad_orchestrator.storage.damage import find_damage
from uad_orchestrator.storage.provenance import Provenance, ProvenanceError

logger = logging.getLogger(__name__)


class SoundFiles:
    """The files of artifacts at one location; each one's checksum is taken once."""

    def __init__(self, location: Location, provenances: StoredProvenances) -> None:
        self.location = location
        self.provenances = provenances
        self._sound: set[tuple[ArtifactKey, str]] = set()
        self._sound_lock = threading.Lock()  # stages read in threads

    def open_dir(self, key: ArtifactKey, names: tuple[str, ...]) -> Path | None:
        """A local folder with an artifact's files; None where those of ``names`` are not what was written.

        Raises:
            ArtifactError: there is no such artifact.
        """
        with suppress(ProvenanceError):
            provenance = self.provenances.of(key)
            directory = self.location.open_dir(key.folder, provenance, names)
            if self._damage(key, directory, provenance, names) is None:
                return directory
        return None

    def open_again_or_set_aside(self, key: ArtifactKey, names: tuple[str, ...]) -> Path:
        """Look again alone: another process may have put it right, or a copy was damaged on its way here.

        Raises:
            ArtifactError: there is no such artifact any more.
            DamagedArtifact: it is damaged indeed.
        """
        self.location.forget(key.path)
        try:
            provenance = self.provenances.of(key)
            directory = self.location.open_dir(key.folder, provenance, names)
            fault = self._damage(key, directory, provenance, names)
        except ProvenanceError as error:
            fault = str(error).removesuffix(".")
        if fault is None:
            return directory
        try:
            place = self.location.set_aside(key.path)
        except OSError as error:
            raise DamagedArtifact(key, f"{fault}. Delete its folder and refresh the cell ({error})") from None
        with self._sound_lock:
            self._sound = {sound for sound in self._sound if sound[0] != key}
        logger.warning("%s; set aside as %s.", fault, place)
        said = f"{fault}. It was set aside as {place}: refresh the cell to compute it again"
        raise DamagedArtifact(key, said)

    def _damage(
        self, key: ArtifactKey, directory: Path, provenance: Provenance, names: tuple[str, ...]
    ) -> str | None:
        """What is wrong with the files that will be read."""
        sizes = provenance.files or {}
        asked = {name: sizes[name] for name in names if name in sizes} if names else sizes
        known = provenance.checksums
        new = {name: known[name] for name in asked if name in known and (key, name) not in self._sound}
        fault = find_damage(directory, asked, new)
        if fault is None:
            with self._sound_lock:
                self._sound.update((key, name) for name in asked)
        return fault
