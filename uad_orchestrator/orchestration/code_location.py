"""The Dagster code location of a project: the benchmark, its checks, and what starts it by itself."""

from __future__ import annotations

import dagster as dg

from uad_orchestrator.orchestration.assets.jobs import benchmark_definitions, project_jobs
from uad_orchestrator.orchestration.assets.line import line_assets, line_job
from uad_orchestrator.orchestration.assets.line_partitions import line_partitions
from uad_orchestrator.orchestration.assets.partitions import project_partitions
from uad_orchestrator.orchestration.automation.check_alerts import alert_definitions
from uad_orchestrator.orchestration.automation.line_days import line_days_sensor
from uad_orchestrator.orchestration.automation.new_checkpoints import new_checkpoints_sensor
from uad_orchestrator.orchestration.automation.recalibration_schedule import (
    recalibrate_job,
    recalibrate_schedules,
)
from uad_orchestrator.orchestration.automation.stale_cells import stale_cells_sensor
from uad_orchestrator.orchestration.checks.asset_checks import asset_checks
from uad_orchestrator.orchestration.checks.line_checks import line_checks
from uad_orchestrator.orchestration.checks.threshold_steady import threshold_check
from uad_orchestrator.orchestration.execution.group_runs import cells_job
from uad_orchestrator.project import Project


def build_definitions(project: Project) -> dg.Definitions:
    """The definitions of a project; its partitions, names and schedules are fixed here, all else is read by each run.

    Those of several projects go together in one code location if their key prefixes differ (``dg.Definitions.merge``).
    """
    partitions = project_partitions(project)
    jobs, recalibrating = project_jobs(project, partitions), recalibrate_job(project)
    grouped = [cells_job(project)] if project.runtime.run_per == "embedder" else []
    return dg.Definitions.merge(
        benchmark_definitions(project, partitions, jobs),
        dg.Definitions(
            asset_checks=[*asset_checks(project, partitions), threshold_check(project, partitions)],
            jobs=[recalibrating, *grouped],
            schedules=recalibrate_schedules(project, recalibrating),
            sensors=[
                new_checkpoints_sensor(project, [jobs["cell"], *grouped]),
                stale_cells_sensor(project, [jobs["cell"], jobs["leaderboard"], *grouped]),
            ],
        ),
        line_definitions(project),
        alert_definitions(project),
    )


def line_definitions(project: Project) -> dg.Definitions:
    """What watches the line; nothing where no records are kept (``line.records``)."""
    if project.line.records is None:
        return dg.Definitions()
    partitions, job = line_partitions(project), line_job(project)
    return dg.Definitions(
        assets=line_assets(project, partitions),
        asset_checks=line_checks(project, partitions),
        jobs=[job],
        sensors=[line_days_sensor(project, job)],
    )
