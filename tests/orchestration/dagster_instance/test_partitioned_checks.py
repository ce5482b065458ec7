"""What ``partitioned_checks.py`` takes from Dagster's previews, held against the installed version."""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

import warnings

import dagster as dg

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import partitioned_check, report_check

CELLS = dg.StaticPartitionsDefinition(["a", "b"])
KEY = dg.AssetKey("table")


def results(instance: dg.DagsterInstance, partition: str) -> list[bool]:
    """The results of the check ``usable`` in one partition, newest first."""
    filters = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    events = [record.event_log_entry.dagster_event for record in instance.get_event_records(filters)]
    found = [event.asset_check_evaluation_data for event in events if event is not None]
    return [one.passed for one in found if (one.asset_key, one.partition) == (KEY, partition)]


@contract(
    "partitioned_checks.py", "takes the partitions of an asset check, with a warning that can be left out"
)
def test_a_check_judges_each_partition_by_itself() -> None:
    @dg.asset(partitions_def=CELLS)
    def table() -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.PreviewWarning)

        @partitioned_check(CELLS, asset=KEY, name="usable", description="one of the two is")
        def usable(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=context.partition_key == "b")

    with dg.DagsterInstance.ephemeral() as instance:
        for partition in ("a", "b"):
            dg.materialize([table, usable], partition_key=partition, instance=instance)
        assert (results(instance, "a"), results(instance, "b")) == ([False], [True])


@contract("partitioned_checks.py", "records a check's result in one partition without a run")
def test_a_result_is_recorded_without_a_run() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        report_check(instance, KEY, "usable", "a", dg.AssetCheckResult(passed=True))
        assert (results(instance, "a"), results(instance, "b")) == ([True], [])
