"""What ``check_events.py`` takes from Dagster beside its public API, held against the installed version."""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

import dagster as dg

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.check_events import (
    evaluation,
    evaluations_after,
    newest_evaluation,
)
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import partitioned_check

DAYS = dg.MultiPartitionsDefinition(
    {
        "cell": dg.StaticPartitionsDefinition(["a:b"]),
        "day": dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-11-05"),
    }
)


@contract("check_events.py", "lists the results of checks in order, with number, partition and metadata")
def test_results_are_read_in_order_from_where_one_stopped() -> None:
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

    with dg.DagsterInstance.ephemeral() as instance:
        assert newest_evaluation(instance) == 0 and evaluations_after(instance, 0, 10) == []
        for day in ("2026-11-02", "2026-11-03"):
            key = dg.MultiPartitionKey({"cell": "a:b", "day": day})
            assert dg.materialize([table, usable], partition_key=key, instance=instance).success
        first, second = evaluations_after(instance, 0, 10)
        assert (first.partition, first.passed, second.partition, second.passed) == (
            "a:b|2026-11-02", True, "a:b|2026-11-03", False
        )  # fmt: skip
        assert (second.asset, second.check, second.said) == (dg.AssetKey("table"), "usable", "as said")
        assert second.metadata == {"decided": False, "share": 0.5, "cells": {"a": 1}} and not second.is_error
        assert first.number < second.number == newest_evaluation(instance) and first.when <= second.when
        assert evaluations_after(instance, first.number, 10) == [second]
        assert evaluations_after(instance, 0, 1) == [first]
        assert evaluation(instance, first.number) == first
        assert evaluation(instance, second.number + 100) is None
