"""What is taken from Dagster beside its public API, held against the installed version."""

from __future__ import annotations

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions import data_version

from uad_orchestrator.orchestration.dagster_instance import event_log as events


def test_the_names_of_the_tags_are_dagsters_own() -> None:
    assert events.DATA_VERSION_TAG == data_version.DATA_VERSION_TAG
    assert events.CODE_VERSION_TAG == data_version.CODE_VERSION_TAG
    assert events.USER_PROVIDED_TAG == data_version.DATA_VERSION_IS_USER_PROVIDED_TAG
    assert f"{events.INPUT_VERSION_PREFIX}a" == data_version.get_input_data_version_tag(dg.AssetKey("a"))
    assert f"{events.INPUT_POINTER_PREFIX}a" == data_version.get_input_event_pointer_tag(dg.AssetKey("a"))
    assert events.NO_POINTER == data_version.NULL_EVENT_POINTER


def test_the_tags_of_a_run_are_those_we_write() -> None:
    """A run of Dagster's stamps what it read as ``input_stamp`` does, and bulk reading finds its version."""
    partitions = dg.StaticPartitionsDefinition(["x", "y"])

    @dg.asset(partitions_def=partitions)
    def above() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("version of above"))

    @dg.asset(partitions_def=partitions, deps=[above])
    def below() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("version of below"))

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([above, below], partition_key="x", instance=instance)
        storage, key = instance.event_log_storage, dg.AssetKey("below")
        kind = DagsterEventType.ASSET_MATERIALIZATION
        versions = storage.get_latest_tags_by_partition(key, kind, [events.DATA_VERSION_TAG])
        numbers = instance.get_latest_storage_id_by_partition(key, kind)
        written = instance.get_latest_materialization_event(key)
    assert versions == {"x": {events.DATA_VERSION_TAG: "version of below"}}
    assert written is not None and written.asset_materialization is not None
    tags = written.asset_materialization.tags or {}
    assert tags[f"{events.INPUT_VERSION_PREFIX}above"] == events.input_stamp("version of above")
    assert tags[f"{events.INPUT_POINTER_PREFIX}above"].isdigit()
    assert set(numbers) == {"x"}
    assert isinstance(numbers["x"], int)
