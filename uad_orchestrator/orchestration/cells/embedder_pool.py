"""Embedders that stay loaded from one cell to the next, and the devices they may be on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator.detectors.embedding.handed_on import HandedOn
from uad_orchestrator.storage.digests import FileState, digest_of

if TYPE_CHECKING:
    from uad_orchestrator.embedders.protocol import PatchEmbedder
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.project.settings import RuntimeSettings


@dataclass
class EmbedderPool:
    """Keeps the last embedder loaded: a worker that goes through cells in order loads each backbone once.

    Attributes:
        devices: a worker's own device, instead of what the project file says; ``device_turns`` narrows several to one.
        handed_on: what a cell's fit leaves for its calibration, where that comes next.
    """

    devices: tuple[str, ...] = ()
    handed_on: HandedOn = field(default_factory=HandedOn, repr=False)
    _recipe: str | None = None
    _embedder: Any = field(default=None, repr=False)

    def device(self, runtime: RuntimeSettings) -> str:
        """Where embedders and networks run."""
        return next(iter(self.devices or runtime.devices), runtime.device)

    def get(self, settings: EmbedderSettings, weights: Path | None, device: str) -> PatchEmbedder:
        """The embedder for these settings, loaded if it is not the one in hand."""
        from uad_orchestrator.embedders.create import create_embedder

        stamp: Mapping[str, Any] = {
            "settings": settings.model_dump(mode="json"),
            "weights": None if weights is None else [str(weights), *FileState.of(str(weights))],
            "device": device,
        }
        recipe = digest_of(stamp)
        if recipe != self._recipe:
            self._embedder, self._recipe = create_embedder(settings, weights, device), recipe
        return self._embedder
