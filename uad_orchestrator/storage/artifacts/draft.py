"""An artifact while it is being written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.damage import checksums
from uad_orchestrator.storage.provenance import PROVENANCE_FILE, Provenance


@dataclass
class ArtifactDraft:
    """An artifact being written: put files into ``directory``, note what they mean with ``record``.

    Attributes:
        directory: an empty folder of this draft's own.
        provenance: what will be written last; seconds, bytes and files are filled in at the end.
    """

    directory: Path
    provenance: Provenance
    _started: float = field(default_factory=time.monotonic)

    def record(
        self,
        *,
        metrics: Mapping[str, float | None] | None = None,
        facts: Mapping[str, Any] | None = None,
        seeds: Mapping[str, int] | None = None,
        device: str | None = None,
    ) -> None:
        """Add what became known only while computing; what is left out stays as it is.

        Args:
            metrics: figures by their published names; None where undefined.
            facts: anything worth knowing, as JSON values.
            seeds: the seeds used.
            device: where it was computed.
        """
        known = self.provenance
        changed = known.model_dump()
        changed["metrics"] = {**known.metrics, **(metrics or {})}
        changed["facts"] = {**known.facts, **(facts or {})}
        changed["seeds"] = {**known.seeds, **(seeds or {})}
        changed["device"] = device or known.device
        self.provenance = Provenance.model_validate(changed)

    def finished(self) -> Provenance:
        """The provenance with the time taken and the files as they are now.

        Returns:
            A copy.
        """
        files = file_sizes(self.directory)
        return self.provenance.model_copy(
            update={
                "seconds": time.monotonic() - self._started,
                "files": files,
                "checksums": checksums(self.directory, files),
                "bytes": sum(files.values()),
            }
        )


def file_sizes(directory: Path) -> dict[str, int]:
    """Size in bytes of each file below ``directory``, by posix path, but for the provenance itself."""
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    sizes = {path.relative_to(directory).as_posix(): path.stat().st_size for path in found}
    sizes.pop(PROVENANCE_FILE, None)
    return sizes
