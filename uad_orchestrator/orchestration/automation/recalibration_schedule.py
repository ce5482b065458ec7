"""The schedule ``recalibrate`` and the job it asks for: new normals in, thresholds up to date."""

# No `from __future__ import annotations` here: Dagster reads the types of an op's parameters.

from collections.abc import Iterator

import dagster as dg

from uad_orchestrator.orchestration.assets.resources import (
    EMBEDDERS,
    PROJECT_INPUTS,
    embedders_of,
    inputs_of,
    resource_keys,
)
from uad_orchestrator.orchestration.automation.recalibration import (
    Recalibration,
    categories_with_incoming,
    in_quarantine,
    recalibrate,
    shift_rows,
    write_record,
)
from uad_orchestrator.orchestration.dagster_instance.launchers.run_tags import (
    largest_resources,
    resource_tags,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import runs_at_work
from uad_orchestrator.orchestration.ingestion import folders
from uad_orchestrator.orchestration.ingestion.folders import incoming_categories
from uad_orchestrator.project import Project, ProjectError, read_again

RECALIBRATE = "recalibrate"

Recorded = dg.AssetObservation | dg.AssetCheckEvaluation | dg.Output[None]


def recalibrate_job(project: Project) -> dg.JobDefinition:
    """The job ``recalibrate``: one op that takes images in and refreshes the cells that got some."""

    @dg.op(
        name=name_in_dagster(project, "take_in_and_refresh"),
        required_resource_keys=resource_keys(project, PROJECT_INPUTS, EMBEDDERS),
        description="Checks new normal images, takes them in or puts them in quarantine, refreshes their cells.",
    )
    def take_in_and_refresh(context: dg.OpExecutionContext) -> Iterator[Recorded]:
        now = inputs_of(project, context).state.project
        result = recalibrate(
            now,
            context.instance,
            embedders_of(project, context),
            settled_seconds=folders.SETTLED_SECONDS,
            log=context.log.info,
        )
        record = write_record(now, result, context.run_id)
        context.add_output_metadata({**_metadata(now, result), "record": dg.MetadataValue.path(str(record))})
        yield from _observations(now, result)  # yielded, they stay where the run fails below
        yield from result.checks
        if result.failed:
            raise dg.Failure("cells could not be refreshed: " + "; ".join(result.failed), allow_retries=False)
        yield dg.Output(None)

    @dg.job(
        name=name_in_dagster(project, RECALIBRATE),
        description="New normal images in, thresholds brought up to date.",
        tags=resource_tags(largest_resources(project)),
        executor_def=dg.in_process_executor,
    )
    def recalibrate_cells() -> None:
        take_in_and_refresh()

    return recalibrate_cells


def recalibrate_schedules(project: Project, job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """The schedule, if ``automation.recalibrate`` has a cron line. A tick looks at names only."""
    if project.automation.recalibrate is None:
        return []
    name = name_in_dagster(project, RECALIBRATE)

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=project.automation.recalibrate,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Asks for the job `{name}` when there are new images in an `incoming` folder. Its cron line is "
        "`automation.recalibrate` of uad.yaml: after a change choose Reload definitions (Deployment > Code locations).",
    )
    def ask_to_recalibrate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            now = read_again(project)
            waiting, faults = categories_with_incoming(now)
        except ProjectError as error:
            return dg.SkipReason(f"uad.yaml cannot be read: {error}")
        if now.automation.recalibrate != project.automation.recalibrate:
            faults.append(
                f"uad.yaml says {now.automation.recalibrate} now, which counts after Reload definitions"
            )
        for fault in faults:
            context.log.warning(fault)
        if not waiting:
            return dg.SkipReason("; ".join(["there are no new images", *faults]))
        if runs_at_work(context.instance, name):
            return dg.SkipReason("the last recalibration is still at work")
        return dg.RunRequest(tags={"uad/asked_by": RECALIBRATE, "uad/incoming": ", ".join(waiting)[:200]})

    return [ask_to_recalibrate]


def _metadata(project: Project, result: Recalibration) -> dict[str, dg.MetadataValue | int | str]:
    rows = [dg.TableRecord(row) for row in shift_rows(result.shifts)]
    held = [
        dg.TableRecord({"category": ingested.category, "image": image.path.name, "reason": image.reason})
        for ingested in result.ingested
        for image in ingested.held
    ]
    return {
        "taken_in": result.taken,
        "judged_normal": sum(len(ingested.judged) for ingested in result.ingested),
        "quarantined": result.held,
        "in_quarantine": in_quarantine(project, incoming_categories(project)),
        "cells": dg.MetadataValue.table(rows) if rows else "none refreshed",
        "quarantined_images": dg.MetadataValue.table(held) if held else "none",
        "faults": dg.MetadataValue.json(result.faults),
        "warnings": dg.MetadataValue.json(result.warnings),
    }


def _observations(project: Project, result: Recalibration) -> list[dg.AssetObservation]:
    """What moved, on the page of each cell's score table."""
    return [
        dg.AssetObservation(
            asset_key(project, "score_table"),
            partition=dg.MultiPartitionKey({"category": row["category"], "detector": row["detector"]}),
            description="recalibrated on new normal images",
            metadata={name: value for name, value in row.items() if isinstance(value, int | float)},
        )
        for row in shift_rows(result.shifts)
    ]
