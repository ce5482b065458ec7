"""The last failure of each cell's asset, as a small file: what the leaderboard shows in a failed cell's row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.atomic import write_text


class RecordedFailure(BaseModel):
    """What went wrong, when, and in which version; ``version`` is None where an input could not be read."""

    model_config = ConfigDict(frozen=True)

    asset: str
    dataset: str
    category: str
    detector: str
    version: str | None = None
    error: str
    run_id: str | None = None
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class FailureLog:
    """Files below ``<local>/failures``; one per asset and cell, written aside and renamed."""

    local: Path

    def record(self, failure: RecordedFailure) -> None:
        """Remember a failure; it replaces the one before."""
        path = self._path(failure.asset, failure.dataset, failure.category, failure.detector)
        write_text(path, failure.model_dump_json(indent=1))

    def clear(self, asset: str, dataset: str, category: str, detector: str) -> None:
        """Forget the failure of an asset that was computed since."""
        self._path(asset, dataset, category, detector).unlink(missing_ok=True)

    def find(self, asset: str, dataset: str, category: str, detector: str) -> RecordedFailure | None:
        """The last failure, if there is one; an unreadable record counts as none."""
        path = self._path(asset, dataset, category, detector)
        try:
            return RecordedFailure.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _path(self, asset: str, dataset: str, category: str, detector: str) -> Path:
        # The key checks that no part leaves the folder.
        folder = Path(*ArtifactKey(asset, dataset, category, detector, "failure").parts[:-1])
        return self.local / "failures" / folder.with_suffix(folder.suffix + ".json")
