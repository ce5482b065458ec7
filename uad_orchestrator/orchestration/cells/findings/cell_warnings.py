"""What speaks against a cell's figures, from its artifacts alone: no Dagster, nothing is computed anew.

The rules are those of the asset checks. What they find is kept until the cell's report, or how the
project sets the checks, is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.detectors.protocol.scoring import SCORES, read_scores
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.artifact_files import METRICS_FILE, OPERATING_POINT
from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
from uad_orchestrator.orchestration.cells.findings import figure_rules, threshold_rules
from uad_orchestrator.orchestration.cells.findings.dataset_findings import (
    category_warnings,
    dataset_findings,
    faults_among,
)
from uad_orchestrator.orchestration.cells.findings.verdict import Verdict
from uad_orchestrator.orchestration.cells.kept_findings import KeptFindings
from uad_orchestrator.orchestration.cells.points_in_use import image_point, pixel_point
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.storage.provenance import Provenance, ProvenanceError

RULES_VERSION = 3
"""Raised when the rules find something else in the same artifacts."""


class ProjectFindings(NamedTuple):
    """What speaks against current figures.

    Attributes:
        warnings: of the cells that have them, and of their categories.
        faults: the categories whose files are errors by now, since a setting became stricter.
    """

    warnings: list[CellWarning]
    faults: dict[str, DatasetError]


def project_findings(state: ProjectState, store: ArtifactStore, selection: Selection) -> ProjectFindings:
    """All that speaks against the current figures of the selected cells."""
    result = ProjectFindings([], {})
    for category, runs in _fresh(state, store, selection).items():
        of_files = dataset_findings(state, category)
        for warnings in (category_warnings(of_files, category), *map(cell_warnings, runs)):
            result.warnings.extend(warnings)
        if error := faults_among(of_files, category):
            result.faults[category] = error
    return result


def _fresh(state: ProjectState, store: ArtifactStore, selection: Selection) -> dict[str, list[CellRun]]:
    """The selected cells that have current figures, by their category."""
    reports = {}
    for cell in state.cells:
        run = CellRun(cell, state, store)
        with suppress(InputUnavailable):
            if selection.covers(cell):
                reports[run.key("metrics_report")] = run
    fresh: dict[str, list[CellRun]] = {}
    missing = set(store.missing(reports))
    for key, run in reports.items():
        if key not in missing:
            fresh.setdefault(run.cell.category, []).append(run)
    return fresh


def cell_warnings(run: CellRun) -> list[CellWarning]:
    """The warnings of one cell with current figures; those of its category are not among them."""
    project = run.state.project
    kept = KeptFindings(Path(project.storage.local), CellWarning)
    checks = project.checks.model_dump(mode="json")
    version = digest_of(
        {"rules": RULES_VERSION, "checks": checks, "report": run.state.version("metrics_report", run.cell)}
    )
    try:
        return kept.get(f"{run.cell.category}/{run.cell.detector}", version, lambda: _take(run))
    except (MissingUpstream, ArtifactError, ProvenanceError) as error:
        # the report may be there, and shown; what it was made of is lost or damaged
        return [_warning(run, "artifacts", f"nothing could be checked: {error}")]


def _take(run: CellRun) -> list[CellWarning]:
    return [
        _warning(run, name, verdict.said, verdict.images)
        for name, verdict in _verdicts(run).items()
        if not verdict.passed
    ]


def _warning(run: CellRun, check: str, message: str, images: tuple[str, ...] = ()) -> CellWarning:
    return CellWarning(
        category=run.cell.category, detector=run.cell.detector, check=check, message=message, images=images
    )


def _verdicts(run: CellRun) -> Mapping[str, Verdict]:
    checks, scores = run.state.project.checks, run.directory("score_table", SCORES, OPERATING_POINT)
    rows, image, pixel = read_scores(scores), image_point(run), pixel_point(run)
    holds_normals = bool(run.provenance("score_table").facts.get("holds_normals"))
    report, before = run.provenance("metrics_report"), _report_before(run)
    figures = run.directory("metrics_report", METRICS_FILE) / METRICS_FILE
    level, drop = checks.false_positive_level, checks.metric_drop
    verdicts = {
        "scores_usable": figure_rules.scores_usable(rows),
        "false_positive_rate": threshold_rules.false_positive_rate(rows, image, level),
        "enough_normals": threshold_rules.enough_normals(image, pixel),
        "calibrated_on_unseen": threshold_rules.calibrated_on_unseen(image, holds_normals),
        "odd_normals": threshold_rules.odd_normals(rows, image, pixel),
        "pinned_points": threshold_rules.pinned_points(MetricsReport.from_json(figures.read_bytes())),
    }
    if before is not None:
        verdicts["metrics_kept"] = figure_rules.metrics_kept(before.metrics, report.metrics, drop)
    return verdicts


def _report_before(run: CellRun) -> Provenance | None:
    """The newest report of the cell that was made before its current one."""
    cell, now = run.cell, run.provenance("metrics_report")
    history = run.store.history("metrics_report", cell.dataset, cell.category_name, cell.detector)
    return next((earlier for earlier in history if earlier.started_at < now.started_at), None)
