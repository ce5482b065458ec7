"""Dagster's own word on which nodes are stale, to hold ours against."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import NODES, Cell, partition_of
from uad_orchestrator.project import Project


def stale_for_dagster(
    project: Project, instance: dg.DagsterInstance, cells: Iterable[Cell]
) -> dict[tuple[str, str], list[str]]:
    """Dagster's reasons for every (asset, partition) of these cells that it does not call fresh."""
    graph = build_definitions(project).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    places = {
        (asset, partition_of(asset, cell))
        for cell in cells
        for asset in NODES
        if NODES[asset].dimension != "none"
    }
    return {
        (asset, partition): [
            cause.reason for cause in resolver.get_stale_causes(asset_key(project, asset), partition)
        ]
        for asset, partition in sorted(places)
        if resolver.get_status(asset_key(project, asset), partition) != StaleStatus.FRESH
    }
