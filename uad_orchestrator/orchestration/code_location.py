"""The Dagster code location of a project: assets, jobs, resources, with policy set once."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from uad_orchestrator.orchestration.benchmark import benchmark_assets
from uad_orchestrator.orchestration.board import leaderboard_asset
from uad_orchestrator.orchestration.checks import asset_checks
from uad_orchestrator.orchestration.events import asset_key
from uad_orchestrator.orchestration.graph import CELL_ASSETS, INPUTS, NODES
from uad_orchestrator.orchestration.inputs import input_assets
from uad_orchestrator.orchestration.new_checkpoints import new_checkpoints_sensor
from uad_orchestrator.orchestration.partitions import project_partitions
from uad_orchestrator.orchestration.resources import EmbedderPool, ProjectInputs
from uad_orchestrator.orchestration.schedules import recalibrate_job, recalibrate_schedules
from uad_orchestrator.orchestration.stale_cells import stale_cells_sensor
from uad_orchestrator.orchestration.threshold_check import threshold_check
from uad_orchestrator.project import PROJECT_FILE, Project, demo_project, load_project

HOME_VARIABLE = "UAD_HOME"


def open_project(home: Path | None = None) -> Project:
    """The project of ``home``, else of UAD_HOME, else of the current folder, else the demo project.

    Raises:
        ProjectError: the file is wrong; or ``home`` or UAD_HOME names a folder without one.
    """
    named = home or (Path(os.environ[HOME_VARIABLE]) if os.environ.get(HOME_VARIABLE) else None)
    folder = (named or Path.cwd()).expanduser().resolve()
    if named is None and not (folder / PROJECT_FILE).exists():
        return demo_project(folder)
    return load_project(folder)


def build_definitions(project: Project, embedders: EmbedderPool | None = None) -> dg.Definitions:
    """The definitions of a project.

    Args:
        project: fixes partitions and schedules; the settings are read again by every run.
        embedders: a worker's own pool, so that a backbone stays loaded from one cell to the next.
    """
    partitions, jobs = project_partitions(project), project_jobs(project)
    by_name, recalibrating = {job.name: job for job in jobs}, recalibrate_job()
    return dg.Definitions(
        assets=[
            *input_assets(project, partitions),
            *benchmark_assets(project, partitions),
            leaderboard_asset(project),
        ],
        asset_checks=[*asset_checks(project, partitions), threshold_check(project, partitions)],
        jobs=[*jobs, recalibrating],
        schedules=recalibrate_schedules(project, recalibrating),
        sensors=[
            new_checkpoints_sensor(project, by_name["cell"]),
            stale_cells_sensor(project, [by_name["cell"], by_name["leaderboard"]]),
        ],
        resources={
            "project_inputs": ProjectInputs(home=str(project.home)),
            "embedders": embedders or EmbedderPool(),
        },
        executor=dg.in_process_executor,
    )


def project_jobs(project: Project) -> list[dg.UnresolvedAssetJobDefinition]:
    """``cell`` (one run per cell), ``inputs`` of a category or detector, and ``leaderboard``."""

    def job(name: str, assets: tuple[str, ...], description: str) -> dg.UnresolvedAssetJobDefinition:
        keys = [asset_key(project, asset) for asset in assets]
        selection = dg.AssetSelection.assets(*keys).without_checks()
        return dg.define_asset_job(name, selection, description=description)

    by_category = tuple(a for a in INPUTS if a not in CELL_ASSETS and NODES[a].dimension == "category")
    by_detector = tuple(a for a in INPUTS if NODES[a].dimension == "detector")
    return [
        job(
            "cell", CELL_ASSETS, "Checkpoint, memory bank, score table, anomaly maps and metrics of one cell."
        ),
        job("inputs", by_category, "Fingerprints of a category's images, labels and protocol."),
        job("settings", by_detector, "Fingerprints of a detector's settings."),
        job("leaderboard", ("leaderboard",), "All cells side by side."),
    ]
