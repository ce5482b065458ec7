"""A cell's asset whose upstream was never computed: it fails at once, and leads to the job that computes it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance


def test_the_failure_links_to_the_job_of_the_whole_cell(tmp_path: Path) -> None:
    project = Workshop.build(tmp_path, {"alpha": ["disc"]}).project
    cell = dg.MultiPartitionKey({"category": "alpha/disc", "detector": "patchcore"})
    with open_instance(project) as instance:
        job = build_definitions(project).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("metrics_report")],
            partition_key=cell,
            raise_on_error=False,
        )
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None and "by the job `cell`" in (failure.description or "")
    link = failure.metadata["materialise the whole cell"]
    assert isinstance(link, dg.DagsterJobMetadataValue)
    assert (link.job_name, link.location_name) == ("cell", "uad_orchestrator")
