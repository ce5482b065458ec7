"""Asset checks with partitions, a preview of Dagster's: without them one cell's pass hides another's failure."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import dagster as dg

CheckFunction = Callable[[dg.AssetCheckExecutionContext], dg.AssetCheckResult]

NO_PARTITION = (
    "this check judges one partition of its asset, and this run has none, as those of `Execute all` have: "
    "materialize the asset's partition, and its checks run with it; what is computed already is found, not computed"
)


def partitioned_check(
    partitions: dg.PartitionsDefinition | None, **settings: Any
) -> Callable[[CheckFunction], dg.AssetChecksDefinition]:
    """``dg.asset_check`` with partitions, and without the warning that they are in preview.

    Args:
        partitions: those of the asset.
        settings: of ``dg.asset_check``.
    """

    def decorate(check: CheckFunction) -> dg.AssetChecksDefinition:
        @wraps(check)
        def of_a_partition(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            if (
                partitions is not None and not context.has_partition_key
            ):  # the button "Execute all" of Dagster's UI asks for none
                raise dg.Failure(NO_PARTITION, allow_retries=False)
            return check(context)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(partitions_def=partitions, **settings)(of_a_partition)

    return decorate


def evaluation_of(
    asset: dg.AssetKey, name: str, partition: str, found: dg.AssetCheckResult
) -> dg.AssetCheckEvaluation:
    """A check's result in one partition, for an op to yield that judged it without being the check.

    Reported outside any run it would be refused the second time: Dagster keeps one result of a check in a partition
    for each run, and all that belong to none count as one run's.
    """
    return dg.AssetCheckEvaluation(
        asset,
        name,
        found.passed,
        metadata=found.metadata,
        severity=found.severity,
        description=found.description,
        partition=partition,
    )
