"""The provenances of stored artifacts: an artifact counts once its own is there, readable, and says it is this one."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts.errors import ArtifactError
from uad_orchestrator.storage.artifacts.locations import ARTIFACTS, Location
from uad_orchestrator.storage.provenance import PROVENANCE_FILE, Provenance, ProvenanceError

logger = logging.getLogger(__name__)


class StoredProvenances:
    """Those at one location; they may be remembered, for they never change."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def find(self, key: ArtifactKey) -> Provenance | None:
        """An artifact's, read from the store now; None where it does not count: a damaged one is logged."""
        (data,) = self.location.provenances([key.folder], anew=True).values()
        return self._parsed_or_none(key, data)

    def of_all(self, keys: Iterable[ArtifactKey]) -> dict[ArtifactKey, Provenance]:
        """Those of the artifacts that count, with several requests at a time."""
        folders = {key: key.folder for key in keys}
        found = self.location.provenances(folders.values())
        parsed = {key: self._parsed_or_none(key, found[folder]) for key, folder in folders.items()}
        return {key: provenance for key, provenance in parsed.items() if provenance is not None}

    def of(self, key: ArtifactKey) -> Provenance:
        """An artifact's.

        Raises:
            ArtifactError: there is no such artifact.
            ProvenanceError: its provenance file is damaged.
        """
        (data,) = self.location.provenances([key.folder]).values()
        if data is None:
            raise ArtifactError(f"there is no artifact {key} in {self.location}: refresh the cell to make it")
        return self._parsed(key, data)

    def _parsed(self, key: ArtifactKey, data: bytes) -> Provenance:
        place = f"{self.location}/{ARTIFACTS}/{key}/{PROVENANCE_FILE}"
        provenance = Provenance.from_file(data, place)
        if not key.is_of(provenance):
            described = ArtifactKey.of(provenance)
            raise ProvenanceError(f"{place} describes {described}: the folder was moved or copied by hand")
        return provenance

    def _parsed_or_none(self, key: ArtifactKey, data: bytes | None) -> Provenance | None:
        try:
            return None if data is None else self._parsed(key, data)
        except ProvenanceError as error:
            logger.warning("%s", error)
            return None
