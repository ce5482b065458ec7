"""The assets of the line: ``line_records``, what the line saw of a cell on a day, and ``line_health``, what that says.

They stand beside the benchmark: no version of its graph depends on them, and no refresh computes them.
"""

# No `from __future__ import annotations` here: Dagster reads the types of an asset's parameters.

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from uad_orchestrator.inference.records.health import LineHealth
from uad_orchestrator.inference.records.record_files import cell_folder
from uad_orchestrator.orchestration.assets.line_partitions import cell_and_day
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.line_day import day_of_records, health_file, take_health
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import AssetJob
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project, ProjectError, read_again

LINE_RECORDS, LINE_HEALTH = "line_records", "line_health"
LINE = "line"
"""The job of both, and the group they are in."""


def line_assets(project: Project, partitions: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Both assets. Each run reads uad.yaml again."""
    about: dict[str, Any] = {
        "partitions_def": partitions,
        "group_name": project.dagster.group or LINE,
        "owners": list(project.dagster.owners),
    }

    @dg.asset(
        key=asset_key(project, LINE_RECORDS),
        kinds={"parquet"},
        description="What the line saw of a cell on a day (UTC): the records of `--record`. Its version is a digest of "
        "their content: the same records in other files are the same version.",
        **about,
    )
    def line_records(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        now, records, cell, day = _subject(project, context.partition_key)
        found = day_of_records(now, cell, day)
        folder = cell_folder(records, cell.category, cell.detector) / day
        decisions = Counter(part.decision or "none" for part in found.parts)
        shown = {name: decisions[name] for name in ("pass", "review", "reject", "none") if decisions[name]}
        return dg.MaterializeResult(
            data_version=dg.DataVersion(found.digest),
            metadata={
                "dagster/row_count": len(found.parts) + found.other_parts,
                **shown,
                "of_another_model": found.other_parts,
                "folder": dg.MetadataValue.path(str(folder)),
            },
        )

    @dg.asset(
        key=asset_key(project, LINE_HEALTH),
        deps=[asset_key(project, LINE_RECORDS)],
        kinds={"json"},
        description="A day of a cell against its calibration: shares rejected and in review, drift of score and look, "
        "seconds. What is a float plots over time.",
        **about,
    )
    def line_health(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        now, _, cell, day = _subject(project, context.partition_key)
        run = CellRun(cell, open_state(now), open_store(now))
        health, version = take_health(run, day_of_records(now, cell, day))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(version),
            metadata=health_metadata(health, health_file(now, cell, day)),
        )

    return [line_records, line_health]


def line_job(project: Project) -> AssetJob:
    """The job ``line``: both assets of a cell and day, and their checks, in one process."""
    keys = [asset_key(project, name) for name in (LINE_RECORDS, LINE_HEALTH)]
    return dg.define_asset_job(
        name_in_dagster(project, LINE),
        dg.AssetSelection.assets(*keys),
        description="The records of a cell on a day, their health and its checks.",
        executor_def=dg.in_process_executor,
    )


def health_metadata(health: LineHealth, path: Path) -> dict[str, Any]:
    """What Dagster shows of a health; floats, which plot over time."""
    shares = {
        f"{name}{suffix}": value
        for name, share in health.shares.items()
        for suffix, value in (
            ("", share.share),
            ("_low", share.low),
            ("_high", share.high),
            ("_promised", share.promised),
        )
        if value is not None
    }
    shifts = {
        f"{name}_{figure}": getattr(shift, figure)
        for name, shift in health.shifts.items()
        for figure in ("ks", "wasserstein", "median")
    }
    times: Mapping[str, Any] = {
        name: dg.MetadataValue.timestamp(when)
        for name, when in (("first", health.first), ("last", health.last))
        if when is not None
    }
    return {
        "parts": health.parts,
        "of_another_model": health.other_parts,
        **shares,
        **shifts,
        **{f"seconds_{name}": value for name, value in health.seconds.items()},
        "warned": health.warned,
        **({"model": health.model} if health.model else {}),
        **times,
        **({"missing": dg.MetadataValue.json(health.missing)} if health.missing else {}),
        "health_json": dg.MetadataValue.path(str(path)),
    }


def _subject(project: Project, partition: str) -> tuple[Project, Path, Cell, str]:
    """The project as it is now, the folder of its records, the cell and the day.

    Raises:
        dg.Failure: uad.yaml cannot be read, or keeps no records any more.
    """
    cell, day = cell_and_day(partition)
    try:
        now = read_again(project)
    except ProjectError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    if now.line.records is None:
        raise dg.Failure("uad.yaml says no more where records lie (line.records)", allow_retries=False)
    return now, now.line.records, cell, day
