"""The results of asset checks, as Dagster's event log has them.

Not public API of Dagster here: the event log's storage, its records of checks, and what they hold. Events of checks
cannot be read in order across runs from SQLite, where each run has a file of its own: what is read is the latest result
of each partition. Dagster's storage is imported where it is asked, since it takes longer to load than all of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class LatestResult:
    """The latest result of a check in one partition.

    Attributes:
        event: the number of its event: a later one is larger.
        key: the check, and the asset it judges.
        partition: of the asset; None where it has none.
        passed: the result.
    """

    event: int
    key: dg.AssetCheckKey
    partition: str | None
    passed: bool


@dataclass(frozen=True)
class Evaluation:
    """A result of a check.

    Attributes:
        number: of its record, by which ``evaluation`` finds it again.
        when: seconds since the epoch.
        key: the check, and the asset it judges.
        partition: of the asset; None where it has none.
        passed, said, metadata: the result.
        is_error: it is of severity ERROR, where it did not pass.
    """

    number: int
    when: float
    key: dg.AssetCheckKey
    partition: str | None
    passed: bool
    said: str
    metadata: Mapping[str, Any]
    is_error: bool = False


def latest_results(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey], after: int = 0
) -> list[LatestResult]:
    """The latest result of each check in each partition, where it came after an event; in order of their events.

    A check that is being run has none until it is through.
    """
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

    passed, failed = AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED
    found = instance.event_log_storage.get_asset_check_partition_info(list(keys), after_storage_id=after)
    results = [
        LatestResult(
            one.latest_check_event_storage_id,
            one.check_key,
            one.partition_key,
            one.latest_execution_status is passed,
        )
        for one in found
        if one.latest_execution_status in (passed, failed) and one.latest_check_event_storage_id > after
    ]
    return sorted(results, key=lambda result: result.event)


def evaluation(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, partition: str | None, number: int | None = None
) -> Evaluation | None:
    """A check's result in a partition.

    Args:
        number: of its record; None: the latest.

    Returns:
        The result; None where there is none, or the event log has it no more.
    """
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
    from dagster._core.storage.event_log.base import PartitionKeyFilter

    records = instance.event_log_storage.get_asset_check_execution_history(
        key,
        limit=1,
        cursor=None if number is None else number + 1,
        status={AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED},
        partition_filter=PartitionKeyFilter(key=partition),
    )
    for record in records:
        event = record.event.dagster_event if record.event else None
        if event is None or number not in (None, record.id):
            continue
        data = event.asset_check_evaluation_data
        return Evaluation(
            number=record.id,
            when=record.event.timestamp if record.event else record.create_timestamp,
            key=key,
            partition=partition,
            passed=data.passed,
            said=data.description or "",
            metadata={name: value.value for name, value in data.metadata.items()},
            is_error=data.severity is dg.AssetCheckSeverity.ERROR,
        )
    return None
