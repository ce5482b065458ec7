"""The benchmark as Dagster definitions: its assets, its jobs, and what their runs are given."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from uad_orchestrator.orchestration.assets.cell import benchmark_assets
from uad_orchestrator.orchestration.assets.inputs import input_assets
from uad_orchestrator.orchestration.assets.leaderboard import leaderboard_asset
from uad_orchestrator.orchestration.assets.partitions import Partitions, tagged_runs
from uad_orchestrator.orchestration.assets.resources import EMBEDDERS, PROJECT_INPUTS, ProjectInputs
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.dagster_instance.launchers.run_tags import cell_tags
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import AssetJob
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, INPUTS, NODES, Cell
from uad_orchestrator.project import Project


def benchmark_definitions(
    project: Project,
    partitions: Partitions,
    jobs: Mapping[str, AssetJob],
    embedders: EmbedderPool | None = None,
) -> dg.Definitions:
    """Assets, jobs and resources: all that a run of a cell needs. Nothing here starts by itself.

    Args:
        project: fixes partitions; the settings are read again by every run.
        partitions: of the project's categories and detectors.
        jobs: from ``project_jobs``; sensors ask for the same objects.
        embedders: a worker's own pool, so that a backbone stays loaded from one cell to the next.
    """
    return dg.Definitions(
        assets=[
            *input_assets(project, partitions),
            *benchmark_assets(project, partitions),
            leaderboard_asset(project),
        ],
        jobs=list(jobs.values()),
        resources={
            name_in_dagster(project, PROJECT_INPUTS): ProjectInputs.of(project, partitions),
            name_in_dagster(project, EMBEDDERS): embedders or EmbedderPool(),
        },
    )


def project_jobs(project: Project, partitions: Partitions) -> dict[str, AssetJob]:
    """``cell`` (one run per cell), ``inputs`` of a category, ``settings`` of a detector, and ``leaderboard``.

    All run in one process, whatever executor the code location has: a backbone is loaded once per run.
    """

    def job(
        name: str, assets: tuple[str, ...], description: str, config: dg.PartitionedConfig | None = None
    ) -> AssetJob:
        keys = [asset_key(project, asset) for asset in assets]
        selection = dg.AssetSelection.assets(*keys).without_checks()
        return dg.define_asset_job(
            name_in_dagster(project, name),
            selection,
            description=description,
            config=config,
            executor_def=dg.in_process_executor,
        )

    def tags(key: str) -> dict[str, str]:
        return cell_tags(project, Cell.from_key(key))

    by_category = tuple(a for a in INPUTS if a not in CELL_ASSETS and NODES[a].dimension == "category")
    by_detector = tuple(a for a in INPUTS if NODES[a].dimension == "detector")
    cell = "Checkpoint, memory bank, score table, anomaly maps and metrics of one cell."
    return {
        "cell": job("cell", CELL_ASSETS, cell, tagged_runs(partitions.cell, tags)),
        "inputs": job("inputs", by_category, "Fingerprints of a category's images, labels and protocol."),
        "settings": job("settings", by_detector, "Fingerprints of a detector's settings."),
        "leaderboard": job("leaderboard", ("leaderboard",), "All cells side by side."),
    }
