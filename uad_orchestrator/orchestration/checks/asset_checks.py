"""The asset checks of the code location, each per partition: one cell's pass never hides another's failure.

They judge the latest materialisation, whatever the project file says by now; those of a score table and of maps the
calibrated threshold that comes with it, whatever was pinned instead. A click on an asset runs its checks,
too. The job ``cell``, and with it ``uad refresh``, leaves them out: each costs a run as much as one more asset does. A
refresh says what the same rules find (``cells/findings``), in its summary, on the board and in the report. Dagster
shows checks as "Not evaluated" meanwhile, so each says in its description who evaluates it.
They cannot be reported outside a run instead: Dagster 1.13 takes one runless result per check and partition, and
refuses the second.
"""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.assets.partitions import Partitions
from uad_orchestrator.orchestration.assets.resources import PROJECT_INPUTS, inputs_of, resource_keys
from uad_orchestrator.orchestration.cells.artifact_files import METRICS_FILE, read_operating_point
from uad_orchestrator.orchestration.cells.findings import dataset_rules, figure_rules, threshold_rules
from uad_orchestrator.orchestration.cells.findings.verdict import SHOWN, Verdict
from uad_orchestrator.orchestration.cells.kept_findings import kept_facts
from uad_orchestrator.orchestration.dagster_instance.event_log import data_version, materializations
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import partitioned_check
from uad_orchestrator.orchestration.versions.graph import NODES, Cell
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.lineage.compare import compare
from uad_orchestrator.storage.provenance import Provenance, ProvenanceError

BY_WHOM = (
    "A click on Materialize, for a partition of its asset, evaluates it in Dagster. `uad refresh` records no result "
    "here; what it finds is in its summary, on the leaderboard and in the report."
)
"""In each check's description, beside which Dagster shows "Not evaluated" after a refresh."""

LOOKED_BACK = 20
"""Materialisations among which the version before the current one is looked for."""


@dataclass(frozen=True)
class Subject:
    """What a check judges: the latest materialisation of an asset in one partition."""

    asset: str
    partition: str
    instance: dg.DagsterInstance
    state: ProjectState
    store: ArtifactStore

    @property
    def project(self) -> Project:
        """The project as its file says now."""
        return self.state.project

    @property
    def manifest(self) -> Manifest:
        """The category's manifest; a dataset that cannot be read raises, naming every fault."""
        return self.state.manifest(self.partition)

    def versions(self) -> list[str]:
        """The versions materialised lately, newest first, each run of one version once."""
        found: list[str] = []
        for event in materializations(
            self.instance, self.project, self.asset, self.partition, limit=LOOKED_BACK
        ):
            version = data_version(event)
            if version is not None and (not found or found[-1] != version):
                found.append(version)
        if not found:
            raise dg.Failure(f"{self.asset} of {self.partition} was never materialised", allow_retries=False)
        return found

    def directory(self) -> Path:
        """The files of the latest materialisation."""
        return self.store.open_dir(self._key(self.versions()[0]))

    def provenance(self, version: str) -> Provenance | None:
        """The provenance of a version; None if the store has it no more."""
        try:
            return self.store.provenance(self._key(version))
        except (ArtifactError, ProvenanceError):
            return None

    def what_changed(self, before: str, now: str) -> list[str]:
        """What differs between two versions, in words."""
        cell = Cell.from_key(self.partition)
        return compare(self.store, self.asset, cell.category, cell.detector, before, now).lines()

    def _key(self, version: str) -> ArtifactKey:
        cell = Cell.from_key(self.partition)
        return cell.artifact_key(self.asset, version)


Judge = Callable[[Subject], Verdict]


def images_decodable(subject: Subject) -> Verdict:
    """Every image of the category can be decoded in full."""
    with kept_facts(Path(subject.project.storage.local)) as remember:
        return dataset_rules.images_decodable(subject.manifest, remember)


def masks_match(subject: Subject) -> Verdict:
    """Every anomalous test image has masks of its own size, with a defect in them."""
    with kept_facts(Path(subject.project.storage.local)) as remember:
        return dataset_rules.masks_match(subject.manifest, remember)


def no_test_image_in_training(subject: Subject) -> Verdict:
    """No image is both trained on and tested, however it was saved."""
    with kept_facts(Path(subject.project.storage.local)) as remember:
        return dataset_rules.no_test_image_in_training(subject.manifest, remember)


def scores_usable(subject: Subject) -> Verdict:
    """The scores are finite and not constant."""
    return figure_rules.scores_usable(read_scores(subject.directory()))


def false_positive_rate(subject: Subject) -> Verdict:
    """As many held-out normals lie above the threshold as its rank says, neither more nor fewer."""
    directory, level = subject.directory(), subject.project.checks.false_positive_level
    return threshold_rules.false_positive_rate(read_scores(directory), read_operating_point(directory), level)


def enough_normals(subject: Subject) -> Verdict:
    """The normals are enough for the false-positive rate that `contamination` asks for."""
    return threshold_rules.enough_normals(read_operating_point(subject.directory()))


def calibrated_on_unseen(subject: Subject) -> Verdict:
    """The threshold comes from normals that the model has not seen."""
    provenance = subject.provenance(subject.versions()[0])
    holds_normals = provenance is not None and bool(provenance.facts.get("holds_normals"))
    return threshold_rules.calibrated_on_unseen(read_operating_point(subject.directory()), holds_normals)


def odd_normals(subject: Subject) -> Verdict:
    """No calibration normal scores far above all others, and no single one sets the threshold."""
    directory = subject.directory()
    return threshold_rules.odd_normals(read_scores(directory), read_operating_point(directory))


def odd_maps(subject: Subject) -> Verdict:
    """No normal's anomaly map lies far above all others, and no single one sets the pixel threshold."""
    return threshold_rules.odd_maps(read_operating_point(subject.directory()))


def pinned_points(subject: Subject) -> Verdict:
    """Thresholds that people pinned as values are of the scores that there are, and find something."""
    report = MetricsReport.from_json((subject.directory() / METRICS_FILE).read_bytes())
    return threshold_rules.pinned_points(report)


def metrics_kept(subject: Subject) -> Verdict:
    """No metric fell by more than `checks.metric_drop` against the version before."""
    now, *earlier = subject.versions()
    made = subject.provenance(now)
    before = next((p for v in earlier if v != now and (p := subject.provenance(v)) is not None), None)
    if made is None:
        raise dg.Failure(f"version {now[:12]} is not in the store any more", allow_retries=False)
    if before is None:
        return Verdict(True, "there is no earlier version to compare with", {})
    verdict = figure_rules.metrics_kept(before.metrics, made.metrics, subject.project.checks.metric_drop)
    changed = {} if verdict.passed else {"what_changed": subject.what_changed(before.version, now)}
    figures = {**verdict.figures, **changed, "version_before": before.version}
    return Verdict(verdict.passed, verdict.said, figures, verdict.is_error)


CHECKS: Mapping[str, tuple[Judge, ...]] = {
    "dataset_category": (images_decodable, masks_match, no_test_image_in_training),
    "score_table": (scores_usable, false_positive_rate, enough_normals, calibrated_on_unseen, odd_normals),
    "anomaly_maps": (odd_maps,),
    "metrics_report": (metrics_kept, pinned_points),
}
"""The checks of each asset."""


def asset_checks(project: Project, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """All asset checks of a project."""
    return [
        _asset_check(asset, judge, project, partitions)
        for asset, judges in CHECKS.items()
        for judge in judges
    ]


def verdict_of(judge: Judge, subject: Subject) -> Verdict:
    """The verdict; a dataset that cannot even be read fails its check with every fault."""
    try:
        return judge(subject)
    except DatasetError as error:
        listed = [str(problem) for problem in error.problems[:SHOWN]]
        return Verdict(False, str(error).splitlines()[0], {"listed": listed or [str(error)]})


def _asset_check(
    asset: str, judge: Judge, project: Project, partitions: Partitions
) -> dg.AssetChecksDefinition:
    @partitioned_check(
        partitions.of(NODES[asset].dimension),
        asset=asset_key(project, asset),
        name=judge.__name__,
        description=f"{judge.__doc__} {BY_WHOM}",
        required_resource_keys=resource_keys(project, PROJECT_INPUTS),
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        inputs = inputs_of(project, context)
        subject = Subject(asset, context.partition_key, context.instance, inputs.state, inputs.store)
        verdict = verdict_of(judge, subject)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            description=verdict.said,
            severity=_severity(verdict),
            metadata=_metadata(verdict.figures),
        )

    return check


def _severity(verdict: Verdict) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if verdict.is_error else dg.AssetCheckSeverity.WARN


def _metadata(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: dg.MetadataValue.json(value) if isinstance(value, list | dict) else value
        for name, value in figures.items()
    }
