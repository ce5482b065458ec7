"""The asset checks of ``line_health``: they warn, they never stop anything."""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

from collections.abc import Callable

import dagster as dg

from uad_orchestrator.inference.records.health import LineHealth
from uad_orchestrator.orchestration.assets.line import LINE_HEALTH
from uad_orchestrator.orchestration.assets.line_partitions import cell_and_day
from uad_orchestrator.orchestration.cells.findings.line_rules import alarm_rate, look_drift, score_drift
from uad_orchestrator.orchestration.cells.findings.verdict import Verdict
from uad_orchestrator.orchestration.cells.line_day import kept_health
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import partitioned_check
from uad_orchestrator.project import Project, read_again
from uad_orchestrator.project.settings import LineSettings

Rule = Callable[[LineHealth, LineSettings], Verdict]

LINE_CHECKS: tuple[Rule, ...] = (score_drift, look_drift, alarm_rate)


def line_checks(project: Project, partitions: dg.MultiPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks of the line."""
    return [_line_check(rule, project, partitions) for rule in LINE_CHECKS]


def _line_check(
    rule: Rule, project: Project, partitions: dg.MultiPartitionsDefinition
) -> dg.AssetChecksDefinition:
    @partitioned_check(
        partitions,
        asset=asset_key(project, LINE_HEALTH),
        name=rule.__name__,
        description=rule.__doc__,
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        now = read_again(project)
        health = kept_health(now, *cell_and_day(context.partition_key))
        if health is None:
            raise dg.Failure(f"line_health of {context.partition_key} was never taken", allow_retries=False)
        verdict = rule(health, now.line)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            description=verdict.said,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=dict(verdict.figures),
        )

    return check
