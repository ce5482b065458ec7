"""Artifacts: addressed by their version, written aside and renamed, never changed afterwards."""

from uad_orchestrator.storage.artifacts.draft import ArtifactDraft
from uad_orchestrator.storage.artifacts.errors import ArtifactError, DamagedArtifact
from uad_orchestrator.storage.artifacts.store import ArtifactStore

__all__ = ["ArtifactDraft", "ArtifactError", "ArtifactStore", "DamagedArtifact"]
