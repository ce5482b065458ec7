"""What ``partitioned_checks.py`` takes from Dagster's previews, held against the installed version."""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

import warnings
from collections.abc import Iterator

import dagster as dg

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import (
    evaluation_of,
    partitioned_check,
)

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


def test_a_run_without_a_partition_says_what_to_do() -> None:
    @partitioned_check(CELLS, asset=KEY, name="usable")
    def usable(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=context.partition_key == "b")

    definitions = dg.Definitions(asset_checks=[usable], executor=dg.in_process_executor)
    with dg.DagsterInstance.ephemeral() as instance:
        done = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, raise_on_error=False
        )
    (failed,) = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert failed.user_failure_data is not None
    assert "materialize the asset's partition" in (failed.user_failure_data.description or "")


@contract("partitioned_checks.py", "records the results of a check that an op yields, of each run one")
def test_an_op_records_results_of_a_check_run_after_run() -> None:
    @dg.op(config_schema=bool)
    def judge(context: dg.OpExecutionContext) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
        yield evaluation_of(KEY, "usable", "a", dg.AssetCheckResult(passed=context.op_config))
        yield dg.Output(None)

    @dg.job
    def recalibrate() -> None:
        judge()

    with dg.DagsterInstance.ephemeral() as instance:
        for passed in (True, False):
            config = {"ops": {"judge": {"config": passed}}}
            assert recalibrate.execute_in_process(config, instance=instance).success
        assert (results(instance, "a"), results(instance, "b")) == ([False, True], [])
