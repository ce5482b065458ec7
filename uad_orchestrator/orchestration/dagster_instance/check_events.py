"""The results of asset checks in Dagster's event log, in the order in which they came.

Not public API of Dagster here: the event log's storage, and what its records and events hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import DagsterEventType, EventLogRecord, EventRecordsFilter


@dataclass(frozen=True)
class Evaluation:
    """A result of a check.

    Attributes:
        number: of its event: a later one is larger.
        when: seconds since the epoch.
        asset, check: what was judged, and by which check.
        partition: of the asset; None where it has none.
        passed, said, metadata: the result.
        is_error: it is of severity ERROR, where it did not pass.
    """

    number: int
    when: float
    asset: dg.AssetKey
    check: str
    partition: str | None
    passed: bool
    said: str
    metadata: Mapping[str, Any]
    is_error: bool = False


def evaluations_after(instance: dg.DagsterInstance, number: int | None, limit: int) -> list[Evaluation]:
    """The results after an event, the oldest first; None: from the first on."""
    wanted = EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=number)
    records = instance.event_log_storage.get_event_records(wanted, limit=limit, ascending=True)
    return _evaluations(records)


def evaluation(instance: dg.DagsterInstance, number: int) -> Evaluation | None:
    """The result of a number; None where the event log has it no more."""
    wanted = EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, storage_ids=[number])
    return next(iter(_evaluations(instance.event_log_storage.get_event_records(wanted, limit=1))), None)


def newest_evaluation(instance: dg.DagsterInstance) -> int:
    """The number of the latest result; 0 where there is none."""
    wanted = EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION)
    records = instance.event_log_storage.get_event_records(wanted, limit=1)
    return records[0].storage_id if records else 0


def _evaluations(records: Sequence[EventLogRecord]) -> list[Evaluation]:
    found = []
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        data = event.asset_check_evaluation_data
        metadata = {name: value.value for name, value in data.metadata.items()}
        found.append(
            Evaluation(
                record.storage_id,
                record.timestamp,
                data.asset_key,
                data.check_name,
                data.partition,
                data.passed,
                data.description or "",
                metadata,
                data.severity is dg.AssetCheckSeverity.ERROR,
            )
        )
    return found
