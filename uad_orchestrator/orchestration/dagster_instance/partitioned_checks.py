"""Asset checks with partitions, a preview of Dagster's: without them one cell's pass hides another's failure."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import dagster as dg

CheckFunction = Callable[[dg.AssetCheckExecutionContext], dg.AssetCheckResult]


def partitioned_check(
    partitions: dg.PartitionsDefinition | None, **settings: Any
) -> Callable[[CheckFunction], dg.AssetChecksDefinition]:
    """``dg.asset_check`` with partitions, and without the warning that they are in preview.

    Args:
        partitions: those of the asset.
        settings: of ``dg.asset_check``.
    """

    def decorate(check: CheckFunction) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(partitions_def=partitions, **settings)(check)

    return decorate


def report_check(
    instance: dg.DagsterInstance, asset: dg.AssetKey, name: str, partition: str, found: dg.AssetCheckResult
) -> None:
    """Record a check's result in one partition outside any run."""
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset,
            name,
            found.passed,
            metadata=found.metadata,
            severity=found.severity,
            description=found.description,
            partition=partition,
        )
    )
