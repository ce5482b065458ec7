"""A job run in this process on some of its assets, and what its events say of it.

Not public API of Dagster here: ``resolve_job_def`` and ``get_subset``, the data of events, and ``RunFailureReason``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.events import RunFailureReason


def run_assets(
    definitions: dg.Definitions,
    job: str,
    assets: Collection[dg.AssetKey],
    instance: dg.DagsterInstance,
    *,
    partition: str | None,
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
) -> dg.ExecuteInProcessResult:
    """Run some of a job's assets, without their checks; a failure is in the result."""
    # `execute_in_process(asset_selection=...)` would select the assets' checks, too, at as much again.
    subset = definitions.resolve_job_def(job).get_subset(
        asset_selection=set(assets), asset_check_selection=set()
    )
    return subset.execute_in_process(
        instance=instance,
        partition_key=partition,
        tags=dict(tags),
        run_config=dict(run_config),
        raise_on_error=False,
    )


def materialized_in(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    """What a run materialised, in order."""
    return [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization
    ]


def failed_in(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Of each step that failed, by its key, the error."""
    return {
        event.step_key: _error_of(event)
        for event in result.all_events
        if event.is_step_failure and event.step_key
    }


def noted_in_failures(result: dg.ExecuteInProcessResult, label: str) -> list[str]:
    """What the failures of a run's steps have noted in their metadata under a label."""
    data = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    return [str(noted.metadata[label].value) for noted in data if noted and label in noted.metadata]


def failure_of(result: dg.ExecuteInProcessResult) -> str | None:
    """Why a run as a whole failed; None if it succeeded."""
    if result.success:
        return None
    messages = [event.message for event in result.all_events if event.is_failure and event.message]
    return messages[-1] if messages else "the run failed before its first asset; see it in `uad ui`"


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether a run ended because of Ctrl-C or SIGTERM."""
    return any(
        event.event_type == DagsterEventType.RUN_CANCELED
        or (
            event.event_type == DagsterEventType.RUN_FAILURE
            and event.job_failure_data.failure_reason == RunFailureReason.UNEXPECTED_TERMINATION
        )
        for event in result.all_events
    )


def _error_of(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error.cause if data.error and data.error.cause else data.error
    return error.message.strip() if error else "failed without a message; see the run in `uad ui`"
