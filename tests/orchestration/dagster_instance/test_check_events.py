"""What ``check_events.py`` takes from Dagster beside its public API, held against the installed version."""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

from pathlib import Path

import dagster as dg

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.check_events import (
    evaluation,
    latest_results,
)
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import partitioned_check

DAYS = dg.MultiPartitionsDefinition(
    {
        "cell": dg.StaticPartitionsDefinition(["a:b"]),
        "day": dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-11-05"),
    }
)


@contract(
    "check_events.py",
    "has the latest result of a check in each partition, in order, and each result by its number",
)
def test_results_are_read_in_order_from_where_one_stopped(tmp_path: Path) -> None:
    @dg.asset(partitions_def=DAYS)
    def table() -> None: ...

    @partitioned_check(DAYS, asset=dg.AssetKey("table"), name="usable")
    def usable(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            passed=context.partition_key.endswith("-02"),
            severity=dg.AssetCheckSeverity.WARN,
            description="as said",
            metadata={"decided": False, "share": 0.5, "cells": {"a": 1}},
        )

    key, days = dg.AssetCheckKey(dg.AssetKey("table"), "usable"), ("2026-11-03", "2026-11-02")
    partitions = [dg.MultiPartitionKey({"cell": "a:b", "day": day}) for day in days]
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert latest_results(instance, [key]) == [] and evaluation(instance, key, "a:b|2026-11-02") is None
        for partition in (*partitions, partitions[0]):
            assert dg.materialize([table, usable], partition_key=partition, instance=instance).success
        second, first = latest_results(instance, [key])
        assert (first.partition, first.passed) == ("a:b|2026-11-03", False)
        assert (second.partition, second.passed) == ("a:b|2026-11-02", True)
        assert (first.key, second.key) == (key, key) and second.event < first.event
        assert latest_results(instance, [key], second.event) == [first]
        assert latest_results(instance, [key], first.event) == []
        found = evaluation(instance, key, "a:b|2026-11-03")
        assert found is not None and (found.passed, found.said, found.is_error) == (False, "as said", False)
        assert found.metadata == {"decided": False, "share": 0.5, "cells": {"a": 1}} and found.when > 1.7e9
        assert evaluation(instance, key, "a:b|2026-11-03", found.number) == found
        assert evaluation(instance, key, "a:b|2026-11-03", found.number + 1) is None
        assert evaluation(instance, key, "a:b|2026-11-02", found.number) is None
        earlier = evaluation(instance, key, "a:b|2026-11-03", found.number - 2)
        assert earlier is not None and earlier.when < found.when
