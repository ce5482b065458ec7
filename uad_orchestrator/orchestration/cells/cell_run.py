"""One cell in one run: its settings, its artifacts' addresses, and the recipe of each computed node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uad_orchestrator import __version__
from uad_orchestrator.detectors.anomalib.settings import CheckpointScoring
from uad_orchestrator.detectors.protocol.spec import StageSettings
from uad_orchestrator.orchestration.versions.graph import NODES, Cell
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.project import DetectorEntry
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.provenance import Provenance, package_versions

EMBEDDING_COUNTS = (
    "embedded_images",
    "embedded_views",
    "fetched_embeddings",
    "fetched_seconds",
    "embedded_seconds_each",
)
"""The facts of an artifact that are about the run which made it: what it sent through the embedder, and fetched."""


class MissingUpstream(RuntimeError):
    """An artifact that a node reads is not in the store in the version it needs."""


class ChangedWhileRead(RuntimeError):
    """An input changed while a node was computed from it; nothing was stored."""


@dataclass(frozen=True)
class StageResult:
    """What a stage reports beside the files it wrote: numbers for the index, facts for the provenance."""

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    device: str = "cpu"


@dataclass(frozen=True)
class CellRun:
    """A cell of the project, in one run."""

    cell: Cell
    state: ProjectState
    store: ArtifactStore

    @property
    def entry(self) -> DetectorEntry:
        """The cell's detector as the project file describes it."""
        return self.state.entry(self.cell)

    @property
    def settings(self) -> StageSettings:
        """The detector's settings for this cell, by stage."""
        entry = self.entry
        fit, scoring = entry.fit.for_category(self.cell.category_name), entry.scoring
        folder = self.state.calibration_folder(self.cell)
        if folder is not None and isinstance(scoring, CheckpointScoring):
            scoring = scoring.calibrated_in(folder)
        return StageSettings(fit, scoring, entry.maps, entry.tiling)

    def key(self, asset: str) -> ArtifactKey:
        """The address of a node's artifact in the version it should have now."""
        return self.cell.artifact_key(asset, self.state.version(asset, self.cell))

    def directory(self, asset: str, *names: str) -> Path:
        """The files of an upstream node; ``names``: those that will be read, none for all.

        Raises:
            MissingUpstream: it was never computed in this version, or is gone.
            DamagedArtifact: its files are not what was written; it was set aside.
        """
        key = self.key(asset)
        if not self.store.holds(key):
            narrow = f"--category '{self.cell.category}' --detector '{self.cell.detector}'"
            raise MissingUpstream(
                f"{asset} of {self.cell} is not there in version "
                f"{key.version[:12]}. Materialise it first: in the UI by the job `cell`, or run "
                f"`uad refresh {narrow}`"
            )
        return self.store.open_dir(key, *names)

    def provenance(self, asset: str) -> Provenance:
        """The provenance of a node's artifact."""
        return self.store.provenance(self.key(asset))


def recipe_of(run: CellRun, asset: str, key: ArtifactKey, run_id: str) -> Provenance:
    """All that is known of an artifact before it is computed."""
    return Provenance(
        **vars(key),
        stage_version=run.state.stage_version(asset, run.cell),
        inputs=run.state.reads(asset, run.cell),
        settings=_settings(run, asset),
        packages=dict(package_versions()),
        code_version=__version__,
        run_id=run_id,
    )


def _settings(run: CellRun, asset: str) -> dict[str, Any]:
    """The contents of the settings inputs a node reads, and what people chose, in the project file's words."""
    read = [
        name
        for name in NODES[asset].reads
        if NODES[name].group == "settings" or name == "evaluation_protocol"
    ]
    of_inputs = {name: dict(run.state.input(name, run.cell).content) for name in read}
    return of_inputs | run.state.chosen(asset, run.cell)
