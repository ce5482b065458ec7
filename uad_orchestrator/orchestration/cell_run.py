"""One computed node of one cell, in one run: check what it reads, compute or reuse, store, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from uad_orchestrator import __version__
from uad_orchestrator.detectors.anomalib_settings import CheckpointScoring
from uad_orchestrator.detectors.spec import StageSettings
from uad_orchestrator.orchestration.graph import NODES, STAGES, Cell
from uad_orchestrator.orchestration.state import InputUnavailable, ProjectState
from uad_orchestrator.project import DetectorEntry
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.failures import FailureLog, RecordedFailure
from uad_orchestrator.storage.lineage import LineageIndex
from uad_orchestrator.storage.provenance import Provenance, package_versions

MAX_RETRIES = 2
"""Of a node whose input changed while it was read."""

FILE_INPUTS = frozenset({"normal_images", "test_images", "ground_truth", "checkpoint"})
"""The inputs that are files, read while a node is computed."""


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

    def directory(self, asset: str) -> Path:
        """The files of an upstream node.

        Raises:
            MissingUpstream: it was never computed in this version, or is gone.
        """
        key = self.key(asset)
        if not self.store.exists(key):
            narrow = f"--category '{self.cell.category}' --detector '{self.cell.detector}'"
            raise MissingUpstream(
                f"{asset} of {self.cell.category} x {self.cell.detector} is not there in version "
                f"{key.version[:12]}. Materialise it first: in the UI select the whole cell, or run "
                f"`uad refresh {narrow}`"
            )
        return self.store.open_dir(key)

    def provenance(self, asset: str) -> Provenance:
        """The provenance of a node's artifact."""
        return self.store.provenance(self.key(asset))


Compute = Callable[[Path], StageResult]
Describe = Callable[[Path, Provenance], Mapping[str, Any]]


def materialize_stage(
    context: dg.AssetExecutionContext, run: CellRun, asset: str, compute: Compute, describe: Describe
) -> dg.MaterializeResult:
    """Compute a node into the store, or find it there; the result carries its version and metadata.

    A failure is recorded beside the artifacts, for the leaderboard, and raised again. What can not get better by
    trying again (bad input, a missing upstream) is not retried.
    """
    failures = FailureLog(Path(run.state.project.storage.local))
    place = {
        "asset": asset,
        "dataset": run.cell.dataset,
        "category": run.cell.category_name,
        "detector": run.cell.detector,
    }
    try:
        key = run.key(asset)
        provenance, reused = _compute_once(run, asset, key, context.run.run_id, compute)
        metadata = describe(run.store.open_dir(key), provenance)
    except Exception as error:
        version = _version_or_none(run, asset)
        failures.record(
            RecordedFailure(**place, version=version, error=str(error), run_id=context.run.run_id)
        )
        if isinstance(error, ChangedWhileRead):
            raise dg.RetryRequested(
                max_retries=MAX_RETRIES, seconds_to_wait=2**context.retry_number
            ) from error
        if isinstance(error, InputUnavailable | MissingUpstream | ValueError | FileNotFoundError):
            raise dg.Failure(description=str(error), allow_retries=False) from error
        raise
    failures.clear(**place)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(key.version),
        metadata={**metadata, **_run_metadata(run, asset, provenance, reused)},
    )


def _compute_once(
    run: CellRun, asset: str, key: ArtifactKey, run_id: str, compute: Compute
) -> tuple[Provenance, bool]:
    """The artifact's provenance, and whether it was there already."""
    index = LineageIndex(Path(run.state.project.storage.local), run.store)
    with run.store.lock(key):
        reused = run.store.exists(key)
        if not reused:
            with run.store.write(key, recipe_of(run, asset, key, run_id)) as draft:
                result = compute(draft.directory)
                _check_unchanged(run, asset, key)
                draft.record(
                    metrics=result.metrics, facts=result.facts, seeds=result.seeds, device=result.device
                )
    provenance = run.store.provenance(key)
    index.record(provenance, key, reused=reused)
    return provenance, reused


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


def _check_unchanged(run: CellRun, asset: str, key: ArtifactKey) -> None:
    """Fingerprint what was read once more: an image or weight file replaced meanwhile must not leave a mark.

    What reads artifacts and settings alone can not have met one.
    """
    if not FILE_INPUTS & set(NODES[asset].reads):
        return
    fresh = ProjectState(run.state.project, run.state.digests)
    try:
        now = fresh.version(asset, run.cell)
    except InputUnavailable as error:
        raise ChangedWhileRead(f"while {asset} was computed an input went away: {error}") from error
    if now != key.version:
        changed = [n for n, v in run.state.reads(asset, run.cell).items() if fresh.version(n, run.cell) != v]
        raise ChangedWhileRead(
            f"{', '.join(changed)} changed while {asset} of {run.cell.key} was computed; nothing was stored. "
            "It is tried again with the new input"
        )


def _settings(run: CellRun, asset: str) -> dict[str, Any]:
    """The contents of the settings inputs a node reads, in the project file's words."""
    read = [
        name
        for name in NODES[asset].reads
        if NODES[name].group == "settings" or name == "evaluation_protocol"
    ]
    return {name: dict(run.state.input(name, run.cell).content) for name in read}


def _version_or_none(run: CellRun, asset: str) -> str | None:
    with suppress(InputUnavailable):
        return run.state.version(asset, run.cell)
    return None


def _run_metadata(run: CellRun, asset: str, provenance: Provenance, reused: bool) -> dict[str, Any]:
    """What every computed node shows: where it lies, how long it took, whether it was there already."""
    embedded = {} if reused else {k: v for k, v in provenance.facts.items() if k.startswith("embedded_")}
    return {
        **embedded,
        "reused": reused,
        "seconds": provenance.seconds,
        "bytes": provenance.bytes,
        "dagster/uri": run.store.path(run.key(asset)),
        "computed_at": dg.MetadataValue.timestamp(provenance.started_at),
        "device": provenance.device,
        "stage": f"{STAGES.index(asset) + 1} of {len(STAGES)}",
    }
