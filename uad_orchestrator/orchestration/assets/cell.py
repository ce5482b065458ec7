"""The computed assets of a cell: memory bank, score table, anomaly maps, metrics report.

Each looks its version up in the store; where it is not there, it calls one stage and stores what that writes.
"""

# No `from __future__ import annotations` here: Dagster reads the types of an asset's parameters.

from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg

from uad_orchestrator.orchestration.assets.materialize import materialize_stage
from uad_orchestrator.orchestration.assets.metadata import definition_metadata, describe_stage
from uad_orchestrator.orchestration.assets.partitions import Partitions
from uad_orchestrator.orchestration.assets.resources import (
    EMBEDDERS,
    PROJECT_INPUTS,
    embedders_of,
    inputs_of,
    resource_keys,
)
from uad_orchestrator.orchestration.cells import cell_stages as stages
from uad_orchestrator.orchestration.cells.cell_run import CellRun, StageResult
from uad_orchestrator.orchestration.cells.device_turns import device_turn
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.dagster_instance.run_tags import tags_of_detectors
from uad_orchestrator.orchestration.versions.graph import NODES, STAGES
from uad_orchestrator.project import Project

Compute = Callable[[CellRun, EmbedderPool, Path], StageResult]

COMPUTE: Mapping[str, Compute] = {
    "memory_bank": stages.fit_memory_bank,
    "score_table": stages.fill_score_table,
    "anomaly_maps": stages.make_anomaly_maps,
    "metrics_report": stages.report_metrics,
}


def benchmark_assets(project: Project, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """One asset per computed node of a cell."""
    return [_stage_asset(asset, COMPUTE[asset], project, partitions) for asset in STAGES]


def _stage_asset(
    asset: str, compute: Compute, project: Project, partitions: Partitions
) -> dg.AssetsDefinition:
    node = NODES[asset]

    @dg.asset(
        key=asset_key(project, asset),
        deps=[asset_key(project, name) for name in node.reads],
        partitions_def=partitions.cell,
        group_name=project.dagster.group or node.group,
        pool=project.dagster.pools.of(asset),
        required_resource_keys=resource_keys(project, PROJECT_INPUTS, EMBEDDERS),
        op_tags=tags_of_detectors(project),
        kinds=set(node.kinds),
        owners=list(project.dagster.owners),
        description=node.description,
        metadata=definition_metadata(asset),
    )
    def stage(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        run, embedders = inputs_of(project, context).run_of(context), embedders_of(project, context)
        return materialize_stage(
            context,
            run,
            asset,
            lambda directory: compute(run, embedders, directory),
            lambda directory, provenance: describe_stage(asset, directory, provenance),
            lambda: device_turn(run, asset, embedders),
        )

    return stage
