"""The input assets: each records the digest of what it stands for, and nothing is computed."""

# No `from __future__ import annotations` here: Dagster reads the types of an asset's parameters.

import dagster as dg

from uad_orchestrator.orchestration.assets.partitions import Partitions
from uad_orchestrator.orchestration.assets.resources import PROJECT_INPUTS, inputs_of, resource_keys
from uad_orchestrator.orchestration.dagster_instance.input_metadata import describe_input
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import INPUTS, NODES, Node, cell_of
from uad_orchestrator.orchestration.versions.state import InputUnavailable
from uad_orchestrator.orchestration.versions.stores import remember_input
from uad_orchestrator.project import Project


def input_assets(project: Project, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """One asset per input node of the graph."""
    return [_input_asset(NODES[name], project, partitions) for name in INPUTS]


def _input_asset(node: Node, project: Project, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(project, node.asset),
        deps=[asset_key(project, name) for name in node.reads],
        partitions_def=partitions.of(node.dimension),
        group_name=project.dagster.group or node.group,
        required_resource_keys=resource_keys(project, PROJECT_INPUTS),
        kinds=set(node.kinds),
        owners=list(project.dagster.owners),
        description=node.description,
    )
    def fingerprint(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        cell, inputs = cell_of(node.dimension, context.partition_key), inputs_of(project, context)
        try:
            found = inputs.state.input(node.asset, cell)
        except InputUnavailable as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if not (inputs.are_kept and inputs.store.shared):
            remember_input(inputs.store, found)
        metadata = describe_input(found, inputs.state.project.line.records)
        return dg.MaterializeResult(data_version=dg.DataVersion(found.version), metadata=metadata)

    return fingerprint
