"""Reading and writing data versions in Dagster's event log, in bulk.

The one file that touches what is not public API of Dagster: ``get_latest_tags_by_partition`` and the tag names.
A contract test holds it against the installed version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg
from dagster import DagsterEventType

from uad_orchestrator.orchestration.graph import NODES, Cell
from uad_orchestrator.orchestration.state import Input
from uad_orchestrator.project import Project

DATA_VERSION_TAG = "dagster/data_version"
INPUT_VERSION_PREFIX = "dagster/input_data_version/"


def asset_key(project: Project, asset: str) -> dg.AssetKey:
    """The asset's key, below the project's key prefix."""
    return dg.AssetKey([*project.dagster.key_prefix, asset])


def recorded_versions(instance: dg.DagsterInstance, project: Project, asset: str) -> dict[str, str]:
    """The data version of the latest materialisation of every partition of an asset, by partition key."""
    return {
        partition: tags[DATA_VERSION_TAG]
        for partition, tags in recorded_tags(instance, project, asset, [DATA_VERSION_TAG]).items()
        if DATA_VERSION_TAG in tags
    }


def recorded_version(instance: dg.DagsterInstance, project: Project, asset: str) -> str | None:
    """The data version of the latest materialisation of an unpartitioned asset; None if there is none."""
    event = instance.get_latest_materialization_event(asset_key(project, asset))
    materialization = event.asset_materialization if event else None
    return (materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None


def recorded_tags(
    instance: dg.DagsterInstance, project: Project, asset: str, tags: list[str]
) -> Mapping[str, Mapping[str, str]]:
    """Tags of the latest materialisation of every partition of an asset, by partition key."""
    return instance.event_log_storage.get_latest_tags_by_partition(
        asset_key(project, asset), DagsterEventType.ASSET_MATERIALIZATION, tags
    )


def report_inputs(instance: dg.DagsterInstance, project: Project, inputs: Iterable[Input]) -> list[Input]:
    """Record the inputs whose version is not the recorded one, as runless materialisations; returns those."""
    known: dict[str, dict[str, str]] = {}
    changed = []
    for found in inputs:
        if found.asset not in known:
            known[found.asset] = recorded_versions(instance, project, found.asset)
        if known[found.asset].get(found.partition) != found.version:
            report_version(instance, project, found.asset, found.partition, found.version)
            changed.append(found)
    return changed


def report_version(
    instance: dg.DagsterInstance, project: Project, asset: str, partition: str, version: str
) -> None:
    """Record a version as a runless materialisation."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            asset_key(project, asset),
            partition=_partition_key(asset, partition),
            description=NODES[asset].description,
            metadata={"version": version},
            tags={DATA_VERSION_TAG: version},
        )
    )


def _partition_key(asset: str, partition: str) -> str:
    """Dagster's own key, which for a cell carries both dimensions into the event's tags."""
    if NODES[asset].dimension != "cell":
        return partition
    cell = Cell.from_key(partition)
    return dg.MultiPartitionKey({"category": cell.category, "detector": cell.detector})
