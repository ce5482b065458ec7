"""What ``event_log.py`` takes from Dagster beside its public API, held against the installed version."""

# No `from __future__ import annotations` here: Dagster reads the types of an asset's parameters.

from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg
import pytest

from tests.orchestration.dagster_instance.contracts import contract
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.dagster_instance import event_log
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.project import Project, demo_project


class Recorded(NamedTuple):
    """An instance in which Dagster ran ``normal_images`` of two categories, and ``dataset_category`` above it."""

    instance: dg.DagsterInstance
    project: Project


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    project = demo_project(tmp_path_factory.mktemp("demo"))
    categories = dg.StaticPartitionsDefinition(["demo/gear", "demo/weave"])

    def asset(name: str, above: list[str]) -> dg.AssetsDefinition:
        @dg.asset(
            key=asset_key(project, name),
            deps=[asset_key(project, a) for a in above],
            partitions_def=categories,
        )
        def materialised(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion(f"{name} of {context.partition_key}"))

        return materialised

    assets = [asset("dataset_category", []), asset("normal_images", ["dataset_category"])]
    with dg.DagsterInstance.ephemeral() as instance:
        for category in ("demo/gear", "demo/weave"):
            assert dg.materialize(assets, partition_key=category, instance=instance).success
        yield Recorded(instance, project)


@contract("event_log.py", "calls the tags of data versions what it called them")
def test_names_of_tags() -> None:
    from dagster._core.definitions import data_version as dagsters
    from dagster._core.storage.tags import PARTITION_NAME_TAG

    assert event_log.DATA_VERSION_TAG == dagsters.DATA_VERSION_TAG
    assert event_log.CODE_VERSION_TAG == dagsters.CODE_VERSION_TAG
    assert event_log.USER_PROVIDED_TAG == dagsters.DATA_VERSION_IS_USER_PROVIDED_TAG
    assert f"{event_log.INPUT_VERSION_PREFIX}a" == dagsters.get_input_data_version_tag(dg.AssetKey("a"))
    assert f"{event_log.INPUT_POINTER_PREFIX}a" == dagsters.get_input_event_pointer_tag(dg.AssetKey("a"))
    assert event_log.NO_POINTER == dagsters.NULL_EVENT_POINTER
    assert event_log.PARTITION_TAG == PARTITION_NAME_TAG


@contract("event_log.py", "gives the tags of an asset's latest materialisations in one query")
def test_versions_of_all_partitions(recorded: Recorded) -> None:
    versions = event_log.recorded_versions(*recorded, "normal_images")
    assert versions == {f"demo/{name}": f"normal_images of demo/{name}" for name in ("gear", "weave")}
    one = event_log.recorded_versions(*recorded, "normal_images", ["demo/gear"])
    assert list(one) == ["demo/gear"]


@contract("event_log.py", "numbers an asset's materialisations by partition, a later one higher")
def test_order_of_all_partitions(recorded: Recorded) -> None:
    order = event_log.recorded_order(*recorded, "normal_images")
    assert set(order) == {"demo/gear", "demo/weave"}
    assert order["demo/gear"] < order["demo/weave"]
    assert event_log.recorded_order(*recorded, "dataset_category")["demo/gear"] < order["demo/gear"]


@contract("event_log.py", "has the materialisation, and its tags, in the records it gives")
def test_records_hold_materialisations(recorded: Recorded) -> None:
    order = event_log.recorded_order(*recorded, "normal_images")
    (last,) = event_log.materializations(*recorded, "normal_images", "demo/gear")
    assert event_log.data_version(last) == "normal_images of demo/gear"
    numbered = event_log.numbered_materializations(*recorded, "normal_images", [order["demo/gear"]])
    assert numbered == {"demo/gear": last}
    assert event_log.recorded_version(*recorded, "normal_images") == "normal_images of demo/weave"


@contract("event_log.py", "has the number of an asset's last materialisation in its record")
def test_last_numbers(recorded: Recorded) -> None:
    order = event_log.recorded_order(*recorded, "normal_images")
    numbers = event_log.last_numbers(*recorded, ["normal_images", "memory_bank"])
    assert numbers == {"normal_images": max(order.values()), "memory_bank": None}


@contract("event_log.py", "stamps on a materialisation what it read, as a digest and a pointer")
def test_a_run_stamps_what_it_read_as_we_do(recorded: Recorded) -> None:
    (last,) = event_log.materializations(*recorded, "normal_images", "demo/gear")
    read = event_log.recorded_reads(recorded.project, last, "normal_images")
    assert read == {"dataset_category": event_log.input_stamp("dataset_category of demo/gear")}
    assert last.tags is not None
    number = event_log.recorded_order(*recorded, "dataset_category")["demo/gear"]
    assert last.tags[f"{event_log.INPUT_POINTER_PREFIX}dataset_category"] == str(number)


@contract("event_log.py", "separates the parts of an asset's key by slashes in the names of tags")
def test_keys_in_the_names_of_tags() -> None:
    from dagster._core.definitions.data_version import get_input_data_version_tag

    key = dg.AssetKey(["plant", "line7", "memory_bank"])
    assert key.to_user_string() == "plant/line7/memory_bank"
    assert get_input_data_version_tag(key) == f"{event_log.INPUT_VERSION_PREFIX}plant/line7/memory_bank"


@contract("event_log.py", "files an event without a run under the cell that its key names")
def test_a_cell_recorded_without_a_run() -> None:
    key = event_log.partition_key("memory_bank", "demo/gear|patchcore")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("bank", partition=key))
        assert instance.get_materialized_partitions(dg.AssetKey("bank")) == {"demo/gear|patchcore"}


def test_a_project_under_another_prefix_is_found_by_where_its_artifacts_lie(tmp_path) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]}, train=1)
    project = workshop.project

    def record(prefix: str, folder: str) -> None:
        uri = {event_log.URI: f"{folder}/artifacts/memory_bank/1"}
        instance.report_runless_asset_event(dg.AssetMaterialization([prefix, "memory_bank"], metadata=uri))

    with open_instance(project) as instance:
        assert event_log.other_prefixes(instance, project) == []
        record("other", f"{project.storage.root}-of-another-project")
        assert event_log.other_prefixes(instance, project) == []
        record("line7", project.storage.root)
        assert event_log.other_prefixes(instance, project) == [("line7",)]
        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(project, "memory_bank")))
        assert event_log.other_prefixes(instance, project) == [], "it has assets of its own there, too"
