"""The benchmark as Dagster definitions: its assets, its jobs, and what their runs are given."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from uad_orchestrator.orchestration.assets.cell import benchmark_assets
from uad_orchestrator.orchestration.assets.inputs import input_assets
from uad_orchestrator.orchestration.assets.leaderboard import leaderboard_asset
from uad_orchestrator.orchestration.assets.partitions import Partitions
from uad_orchestrator.orchestration.assets.resources import ProjectInputs
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.dagster_instance.event_log import asset_key
from uad_orchestrator.orchestration.dagster_instance.runs import AssetJob
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, INPUTS, NODES
from uad_orchestrator.project import Project


def benchmark_definitions(
    project: Project,
    partitions: Partitions,
    jobs: Sequence[AssetJob],
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
        jobs=jobs,
        resources={
            "project_inputs": ProjectInputs(home=str(project.home)),
            "embedders": embedders or EmbedderPool(),
        },
        executor=dg.in_process_executor,
    )


def project_jobs(project: Project) -> list[AssetJob]:
    """``cell`` (one run per cell), ``inputs`` of a category or detector, and ``leaderboard``."""

    def job(name: str, assets: tuple[str, ...], description: str) -> AssetJob:
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
