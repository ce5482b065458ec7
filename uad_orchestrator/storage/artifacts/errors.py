"""What can be wrong with an artifact that is asked for."""

from __future__ import annotations

from uad_orchestrator.storage.artifact_key import ArtifactKey


class ArtifactError(RuntimeError):
    """An artifact that is missing, damaged or locked; the message names it and says what to do."""


class DamagedArtifact(ArtifactError):
    """An artifact whose files are not what was written. It was set aside and does not count any more.

    Attributes:
        key: its address.
    """

    def __init__(self, key: ArtifactKey, message: str) -> None:
        super().__init__(message)
        self.key = key
