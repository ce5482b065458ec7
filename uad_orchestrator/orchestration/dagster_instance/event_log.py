"""Reading and writing data versions in Dagster's event log, in bulk.

Not public API of Dagster here: ``get_latest_tags_by_partition``, ``get_latest_storage_id_by_partition``, what records
hold, and the tags of events with their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from uad_orchestrator import __version__
from uad_orchestrator.orchestration.dagster_instance.input_metadata import describe_input
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import NODES, Cell
from uad_orchestrator.orchestration.versions.state import Input
from uad_orchestrator.orchestration.versions.stores import remember_inputs
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifacts import ArtifactStore

DATA_VERSION_TAG = "dagster/data_version"
PARTITION_TAG = "dagster/partition"
CODE_VERSION_TAG = "dagster/code_version"
USER_PROVIDED_TAG = "dagster/data_version_is_user_provided"
INPUT_VERSION_PREFIX = "dagster/input_data_version/"
INPUT_POINTER_PREFIX = "dagster/input_event_pointer/"
NO_POINTER = "NULL"

MOST_EVENTS = 10_000
"""That one question brings."""

URI = "dagster/uri"
"""Metadata: where an artifact lies."""


def recorded_versions(
    instance: dg.DagsterInstance, project: Project, asset: str, partitions: Collection[str] | None = None
) -> dict[str, str]:
    """The data version of the latest materialisation of every partition of an asset, by partition key.

    Args:
        partitions: only these.
    """
    tags_of = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key(project, asset),
        DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=None if partitions is None else list(partitions),
    )
    return {partition: tags[DATA_VERSION_TAG] for partition, tags in tags_of.items()}


def recorded_version(instance: dg.DagsterInstance, project: Project, asset: str) -> str | None:
    """The data version of the latest materialisation of an unpartitioned asset; None if there is none."""
    event = instance.get_latest_materialization_event(asset_key(project, asset))
    materialization = event.asset_materialization if event else None
    return data_version(materialization) if materialization else None


def data_version(event: dg.AssetMaterialization) -> str | None:
    """The data version that a materialisation was recorded with; None if it has none."""
    return (event.tags or {}).get(DATA_VERSION_TAG)


def other_prefixes(instance: dg.DagsterInstance, project: Project) -> list[tuple[str, ...]]:
    """The key prefixes under which this instance has artifacts of the project while it has none under its own.

    A Dagster component may load the project with a prefix that its file does not say.
    """
    own = asset_key(project, "memory_bank")
    if instance.get_latest_materialization_event(own):
        return []
    others = [key for key in instance.get_asset_keys() if key.path[-1] == own.path[-1] and key != own]
    return [tuple(key.path[:-1]) for key in others if _stored_by(project, instance, key)]


def _stored_by(project: Project, instance: dg.DagsterInstance, key: dg.AssetKey) -> bool:
    event = instance.get_latest_materialization_event(key)
    materialization = event.asset_materialization if event else None
    stored = materialization.metadata.get(URI) if materialization else None
    return stored is not None and str(stored.value).startswith(f"{project.storage.root.rstrip('/')}/")


def recorded_order(instance: dg.DagsterInstance, project: Project, asset: str) -> Mapping[str, int]:
    """Of every partition the number of its latest materialisation in the event log: a later one is larger."""
    return instance.get_latest_storage_id_by_partition(
        asset_key(project, asset), DagsterEventType.ASSET_MATERIALIZATION
    )


def recorded_since(
    instance: dg.DagsterInstance, project: Project, asset: str, partitions: Collection[str], since: float
) -> dict[str, float]:
    """When those of the partitions that were materialised after a time were so last; seconds since the epoch."""
    wanted = dg.AssetRecordsFilter(
        asset_key(project, asset), asset_partitions=list(partitions), after_timestamp=since
    )
    newest_first = instance.fetch_materializations(wanted, limit=MOST_EVENTS).records
    return {str(record.partition_key): record.timestamp for record in reversed(newest_first)}


def materializations(
    instance: dg.DagsterInstance, project: Project, asset: str, partition: str, limit: int = 1
) -> list[dg.AssetMaterialization]:
    """The last materialisations of one partition, newest first."""
    wanted = dg.AssetRecordsFilter(asset_key(project, asset), asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=limit).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def numbered_materializations(
    instance: dg.DagsterInstance, project: Project, asset: str, numbers: Collection[int]
) -> dict[str, dg.AssetMaterialization]:
    """The materialisations of these numbers, by partition key."""
    wanted = dg.AssetRecordsFilter(asset_key(project, asset), storage_ids=list(numbers))
    records = instance.fetch_materializations(wanted, limit=len(numbers)).records
    events = (record.asset_materialization for record in records)
    return {str(event.partition): event for event in events if event is not None}


def recorded_reads(project: Project, event: dg.AssetMaterialization, asset: str) -> dict[str, str | None]:
    """Of each node ``asset`` reads, the stamp of the version that Dagster recorded as read."""
    tags = event.tags or {}
    return {
        name: tags.get(f"{INPUT_VERSION_PREFIX}{_tag_name(project, name)}") for name in NODES[asset].reads
    }


def input_stamp(version: str) -> str:
    """What Dagster records of the version of a partitioned input: the digest of its partitions' versions."""
    return hashlib.sha256(version.encode()).hexdigest()


def report_inputs(
    instance: dg.DagsterInstance, project: Project, inputs: Iterable[Input], store: ArtifactStore
) -> list[Input]:
    """Record the inputs whose version is not the recorded one, as runless materialisations; returns those.

    Their contents are stored first: a version that is recorded without its content could never be explained.
    An input below one that changed, with its own version still right, is recorded again in that version.

    Args:
        instance: where they are recorded.
        project: whose inputs they are.
        inputs: in order of dependency.
        store: where contents are kept.
    """
    inputs = list(inputs)
    wanted: dict[str, set[str]] = {}
    for found in inputs:
        wanted.setdefault(found.asset, set()).add(found.partition)
    known = {asset: recorded_versions(instance, project, asset, places) for asset, places in wanted.items()}
    new = [found for found in inputs if known[found.asset].get(found.partition) != found.version]
    remember_inputs(store, new)
    changed: list[Input] = []
    for found in inputs:
        if known[found.asset].get(found.partition) != found.version:
            report_version(instance, project, found)
            changed.append(found)
        elif any(above.asset in found.reads and above.partition == found.partition for above in changed):
            report_again(instance, project, found.asset, found.partition, found.version, found.reads)
    return changed


def report_version(instance: dg.DagsterInstance, project: Project, found: Input) -> None:
    """Record an input's version as a runless materialisation."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            asset_key(project, found.asset),
            partition=partition_key(found.asset, found.partition),
            description=NODES[found.asset].description,
            metadata=describe_input(found, project.line.records),
            tags=stamp(project, found.version, found.reads, last_numbers(instance, project, found.reads)),
        )
    )


def report_again(
    instance: dg.DagsterInstance,
    project: Project,
    asset: str,
    partition: str,
    version: str,
    reads: Mapping[str, str],
) -> None:
    """Record a node once more in its version, with the versions it reads, as a runless materialisation.

    What its last materialisation shows (numbers, contact sheet) is carried over: pages show the latest event.
    """
    last = materializations(instance, project, asset, partition)
    metadata: dict[str, Any] = dict(last[0].metadata) if last else {}
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            asset_key(project, asset),
            partition=partition_key(asset, partition),
            description=NODES[asset].description,
            metadata={**metadata, "recorded_again": True},
            tags=stamp(project, version, reads, last_numbers(instance, project, reads)),
        )
    )


def last_numbers(
    instance: dg.DagsterInstance, project: Project, assets: Collection[str]
) -> dict[str, int | None]:
    """Of each asset the number of its latest materialisation, of whatever partition."""
    keys = {asset_key(project, asset): asset for asset in assets}
    numbers: dict[str, int | None] = dict.fromkeys(assets)
    for record in instance.get_asset_records(list(keys)) if keys else ():
        last = record.asset_entry.last_materialization_record
        numbers[keys[record.asset_entry.asset_key]] = last.storage_id if last else None
    return numbers


def stamp(
    project: Project, version: str, reads: Mapping[str, str], numbers: Mapping[str, int | None]
) -> dict[str, str]:
    """The tags by which Dagster knows a version and what was read for it, as a run writes them.

    Args:
        reads: the versions read; ``numbers``: of each, the event after which Dagster looks for a newer one.
    """
    tags = {DATA_VERSION_TAG: version, CODE_VERSION_TAG: __version__, USER_PROVIDED_TAG: "true"}
    for name, read in reads.items():
        number = numbers[name]
        tags[f"{INPUT_VERSION_PREFIX}{_tag_name(project, name)}"] = input_stamp(read)
        tags[f"{INPUT_POINTER_PREFIX}{_tag_name(project, name)}"] = (
            NO_POINTER if number is None else str(number)
        )
    return tags


def _tag_name(project: Project, asset: str) -> str:
    return asset_key(project, asset).to_user_string()


def partition_key(asset: str, partition: str) -> str:
    """Dagster's own key of a partition: for a cell one of both dimensions."""
    if NODES[asset].dimension != "cell":
        return partition
    cell = Cell.from_key(partition)
    return dg.MultiPartitionKey({"category": cell.category, "detector": cell.detector})
