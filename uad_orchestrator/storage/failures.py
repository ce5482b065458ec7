"""The last failure of each cell's asset: what the leaderboard shows in a failed cell's row."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.artifacts.locations import ARTIFACTS

logger = logging.getLogger(__name__)


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
    """A small file for each asset and cell, in the store: the board of every machine shows what failed on another."""

    store: ArtifactStore

    def record(self, failure: RecordedFailure) -> None:
        """Remember a failure; it replaces the one before. A store that is out of reach must not hide what failed."""
        path = self._path(failure.asset, failure.dataset, failure.category, failure.detector)
        try:
            self.store.location.write(path, failure.model_dump_json(indent=1).encode())
        except Exception as error:
            logger.warning("That %s failed is not noted in %s: %s", failure.asset, self.store, error)

    def clear(self, asset: str, dataset: str, category: str, detector: str) -> None:
        """Forget the failure of an asset that was computed since.

        In an object store it stays, to save a request for each success: it is void once its version is there.
        """
        if not self.store.shared:
            self.store.location.unlink(self._path(asset, dataset, category, detector))

    def find(self, asset: str, dataset: str, category: str, detector: str) -> RecordedFailure | None:
        """The last failure, if there is one; an unreadable record counts as none, and one that is void."""
        data = self.store.location.read(self._path(asset, dataset, category, detector))
        try:
            found = None if data is None else RecordedFailure.model_validate_json(data)
        except ValidationError:
            return None
        return None if found is None or self._is_void(found) else found

    def _is_void(self, failure: RecordedFailure) -> bool:
        if failure.version is None or not self.store.shared:
            return False
        cell = (failure.dataset, failure.category, failure.detector)
        return self.store.holds(ArtifactKey(failure.asset, *cell, failure.version))

    def _path(self, asset: str, dataset: str, category: str, detector: str) -> PurePosixPath:
        # The key checks that no part leaves the folder.
        cell = PurePosixPath(*ArtifactKey(asset, dataset, category, detector, "failure").parts[:-1])
        if self.store.shared:  # beside the cell's versions, so that one listing has both
            return ARTIFACTS / cell / "failure.json"
        return "failures" / cell.with_suffix(cell.suffix + ".json")
