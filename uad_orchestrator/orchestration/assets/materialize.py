"""One computed node of one cell, in one run of Dagster's: compute it or find it, store, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import dagster as dg

from uad_orchestrator.images.source import ImageChanged
from uad_orchestrator.orchestration.assets.metadata import shown_files
from uad_orchestrator.orchestration.cells.cell_run import (
    EMBEDDING_COUNTS,
    CellRun,
    ChangedWhileRead,
    MissingUpstream,
    StageResult,
    recipe_of,
)
from uad_orchestrator.orchestration.cells.findings.dataset_findings import refuse_faulty
from uad_orchestrator.orchestration.dagster_instance.event_log import URI
from uad_orchestrator.orchestration.dagster_instance.names import name_in_dagster
from uad_orchestrator.orchestration.versions.graph import NODES, STAGES
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import open_index
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import DamagedArtifact
from uad_orchestrator.storage.failures import FailureLog, RecordedFailure
from uad_orchestrator.storage.provenance import Provenance

MAX_RETRIES = 2
"""Of a node whose input changed while it was read."""

DAMAGED = "damaged artifact"
"""In a failure's metadata: the asset whose artifact was found damaged, and set aside."""

FILE_INPUTS = frozenset({"normal_images", "test_images", "ground_truth", "checkpoint"})
"""The inputs that are files, read while a node is computed."""

Compute = Callable[[Path], StageResult]
Describe = Callable[[Path, Provenance], Mapping[str, Any]]
Turn = Callable[[], AbstractContextManager[None]]
"""Waits until it is the cell's turn to compute; the time is no part of what the provenance says it took."""


def materialize_stage(
    context: dg.AssetExecutionContext,
    run: CellRun,
    asset: str,
    compute: Compute,
    describe: Describe,
    turn: Turn,
) -> dg.MaterializeResult:
    """Compute a node into the store, or find it there; the result carries its version and metadata.

    A failure is recorded beside the artifacts, for the leaderboard, and raised again. What cannot get better by
    trying again (bad input, a missing upstream) is not retried.
    """
    failures = FailureLog(run.store)
    place = {
        "asset": asset,
        "dataset": run.cell.dataset,
        "category": run.cell.category_name,
        "detector": run.cell.detector,
    }
    try:
        key = run.key(asset)
        provenance, reused = _compute_once(run, asset, key, context.run.run_id, compute, turn)
        shown = shown_files(asset) if reused and run.store.shared else ()  # a disk is looked through
        metadata = describe(run.store.open_dir(key, *shown), provenance)
    except Exception as error:
        version = _version_or_none(run, asset)
        failures.record(
            RecordedFailure(**place, version=version, error=str(error), run_id=context.run.run_id)
        )
        if isinstance(error, ChangedWhileRead | ImageChanged):
            raise dg.RetryRequested(
                max_retries=MAX_RETRIES, seconds_to_wait=2**context.retry_number
            ) from error
        if isinstance(error, DamagedArtifact):
            damaged = {DAMAGED: error.key.asset}
            raise dg.Failure(description=str(error), metadata=damaged, allow_retries=False) from error
        if isinstance(error, InputUnavailable | MissingUpstream | ValueError | FileNotFoundError):
            link = _link_to_cell(run.state.project) if isinstance(error, MissingUpstream) else {}
            raise dg.Failure(description=str(error), metadata=link, allow_retries=False) from error
        raise
    failures.clear(**place)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(key.version),
        metadata={**metadata, **_run_metadata(run, asset, provenance, reused)},
    )


def _link_to_cell(project: Project) -> dict[str, dg.MetadataValue]:
    """The job that computes what is missing, as a link beside the failure."""
    job = name_in_dagster(project, "cell")
    return {"materialise the whole cell": dg.MetadataValue.job(job, project.dagster.location_name)}


def _compute_once(
    run: CellRun, asset: str, key: ArtifactKey, run_id: str, compute: Compute, turn: Turn
) -> tuple[Provenance, bool]:
    """The artifact's provenance, and whether it was there already."""
    index = open_index(run.store)
    with run.store.lock(key):
        reused = run.store.exists(key)
        if not reused:
            refuse_faulty(run.state, run.cell.category)
            with turn(), run.store.write(key, recipe_of(run, asset, key, run_id)) as draft:
                result = compute(draft.directory)
                _check_unchanged(run, asset, key)
                draft.record(
                    metrics=result.metrics, facts=result.facts, seeds=result.seeds, device=result.device
                )
    provenance = run.store.provenance(key)
    index.record(provenance, key, reused=reused)
    return provenance, reused


def _check_unchanged(run: CellRun, asset: str, key: ArtifactKey) -> None:
    """Fingerprint what was read once more: an image or weight file replaced meanwhile must not leave a mark.

    What reads artifacts and settings alone cannot have met one.
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


def _version_or_none(run: CellRun, asset: str) -> str | None:
    with suppress(InputUnavailable):
        return run.state.version(asset, run.cell)
    return None


def _run_metadata(run: CellRun, asset: str, provenance: Provenance, reused: bool) -> dict[str, Any]:
    """What every computed node shows: where it lies, how long it took, whether it was there already."""
    facts = {} if reused else provenance.facts
    embedded = {name: fact for name, fact in facts.items() if name in EMBEDDING_COUNTS}
    return {
        **embedded,
        "reused": reused,
        "seconds": provenance.seconds,
        "bytes": provenance.bytes,
        URI: run.store.path(run.key(asset)),
        "computed_at": dg.MetadataValue.timestamp(provenance.started_at),
        "device": provenance.device,
        "stage": f"{STAGES.index(asset) + 1} of {len(STAGES)}",
    }
