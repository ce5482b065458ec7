"""The asset check ``threshold_steady``: new normal images should not move a threshold far.

A recalibration records it for each cell it refreshed; a click on the asset runs it, too.
"""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

import dagster as dg

from uad_orchestrator.orchestration.assets.partitions import Partitions
from uad_orchestrator.orchestration.assets.resources import PROJECT_INPUTS, inputs_of, resource_keys
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import (
    evaluation_of,
    partitioned_check,
)
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifacts import ArtifactError
from uad_orchestrator.storage.provenance import Provenance, ProvenanceError

NAME = "threshold_steady"


def threshold_check(project: Project, partitions: Partitions) -> dg.AssetChecksDefinition:
    """Warns where a cell's threshold moved by more than ``automation.threshold_shift`` with its normals."""

    @partitioned_check(
        partitions.cell,
        asset=asset_key(project, "score_table"),
        name=NAME,
        required_resource_keys=resource_keys(project, PROJECT_INPUTS),
        description="The threshold against that of the same detector on the normal images it had before. "
        "A recalibration evaluates it, and a click does; `uad refresh` does not.",
    )
    def threshold_steady(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        inputs = inputs_of(project, context)
        return compare_thresholds(CellRun(Cell.from_key(context.partition_key), inputs.state, inputs.store))

    return threshold_steady


def judge_threshold(run: CellRun) -> dg.AssetCheckEvaluation:
    """The check's result for a cell, to be recorded by whoever refreshed it."""
    found = compare_thresholds(run)
    return evaluation_of(asset_key(run.state.project, "score_table"), NAME, run.cell.key, found)


def compare_thresholds(run: CellRun) -> dg.AssetCheckResult:
    """The threshold of a cell's score table against the one before its normal images changed."""
    allowed = run.state.project.automation.threshold_shift
    now = run.provenance("score_table")
    before = earlier_normals(run, now)
    if before is None:
        return dg.AssetCheckResult(
            passed=True, description="there is no earlier version on other normal images"
        )
    old, new = before.metrics.get("threshold"), now.metrics.get("threshold")
    metadata: dict[str, float | str] = {"allowed_shift": allowed, "earlier_version": before.version}
    if old is None or new is None:
        return dg.AssetCheckResult(
            passed=old is None,
            severity=dg.AssetCheckSeverity.WARN,
            description="one of the two versions has no threshold",
            metadata=metadata,
        )
    shift = relative_shift(old, new)
    return dg.AssetCheckResult(
        passed=shift <= allowed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"moved by {shift:.0%} ({old:.4g} -> {new:.4g}); up to {allowed:.0%} is expected",
        metadata={**metadata, "threshold": new, "earlier_threshold": old, "shift": shift},
    )


def relative_shift(before: float, after: float) -> float:
    """By which share of ``before`` a threshold moved.

    >>> relative_shift(2.0, 2.5)
    0.25
    """
    return abs(after - before) / max(abs(before), 1e-12)


def earlier_normals(run: CellRun, now: Provenance) -> Provenance | None:
    """The newest older score table of the same cell whose normal images differ and whose settings do not."""
    cell = run.cell
    history = run.store.history("score_table", cell.dataset, cell.category_name, cell.detector)
    settings = _settings(run, now)
    if settings is None:
        return None
    others = [
        earlier
        for earlier in history
        if earlier.started_at < now.started_at
        and earlier.inputs.get("normal_images") != now.inputs.get("normal_images")
    ]
    return next((earlier for earlier in others if _settings(run, earlier) == settings), None)


def _settings(run: CellRun, scores: Provenance) -> dict[str, str] | None:
    """The versions of everything but images that a score table comes from; None where its bank is gone."""
    cell = run.cell
    version = scores.inputs.get("memory_bank", "")
    key = cell.artifact_key("memory_bank", version)
    try:
        bank = run.store.provenance(key)
    except (ArtifactError, ProvenanceError):
        return None
    read = {name: version for name, version in bank.inputs.items() if name != "normal_images"}
    return read | {"scoring_settings": scores.inputs.get("scoring_settings", "")}
