"""What ``runs.py`` and ``dead_runs.py`` take from Dagster beside its public API; whose run a run is."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance import dead_runs
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs, process_tags
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.dagster_instance.runs import CellAtWork, cells_at_work, chosen_assets
from uad_orchestrator.project import demo_project

CELL = "demo/gear|patchcore"


def start(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Leave a run in the instance as one that works."""
    instance.add_run(run)
    began = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name)
    instance.report_dagster_event(began, run_id=run.run_id)


@contract("runs.py", "gives define_asset_job's result the type UnresolvedAssetJobDefinition")
def test_type_of_an_asset_job() -> None:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    assert isinstance(dg.define_asset_job("cell"), UnresolvedAssetJobDefinition)


@contract("runs.py", "records when a run was made and when it started")
def test_times_of_a_run(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.DagsterRun(job_name="cell", tags={PARTITION_TAG: CELL})
        instance.add_run(run)
        (record,) = instance.get_run_records()
        assert abs(record.create_timestamp.timestamp() - time.time()) < 60
        assert record.start_time is None
        assert cells_at_work(instance, demo_project(tmp_path)) == {CELL: CellAtWork(None)}
        began = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="cell")
        instance.report_dagster_event(began, run_id=run.run_id)
        (record,) = instance.get_run_records()
        assert record.start_time is not None and abs(record.start_time - time.time()) < 60


@contract("runs.py", "keeps with a run the assets it was narrowed to, and its partition in a tag")
def test_assets_and_partition_of_a_run() -> None:
    cells = dg.StaticPartitionsDefinition([CELL])

    @dg.asset(partitions_def=cells)
    def bank() -> None: ...

    @dg.asset(partitions_def=cells)
    def table() -> None: ...

    job = dg.define_asset_job("cell")
    definitions = dg.Definitions([bank, table], jobs=[job])
    with dg.DagsterInstance.ephemeral() as instance:
        resolved = definitions.resolve_job_def("cell")
        for selection in (None, [bank.key]):
            resolved.execute_in_process(instance=instance, partition_key=CELL, asset_selection=selection)
        narrowed, whole = instance.get_runs()
    assert (chosen_assets(whole), chosen_assets(narrowed)) == (frozenset(), {bank.key})
    assert {run.tags[PARTITION_TAG] for run in (whole, narrowed)} == {CELL}


def test_a_cell_of_the_same_name_in_another_project_is_not_at_work_here(tmp_path: Path) -> None:
    plain = demo_project(tmp_path)
    names = {"key_prefix": ("line7",), "name_prefix": ("line7",)}
    other = plain.model_copy(update={"dagster": plain.dagster.model_copy(update=names)})
    tags = {PARTITION_TAG: CELL}
    bank = frozenset({asset_key(other, "memory_bank")})
    for run in (
        dg.DagsterRun(job_name="line7__cell", tags=tags),
        dg.DagsterRun(job_name="cell", tags=tags, asset_selection=bank),
        dg.DagsterRun(job_name="__ASSET_JOB", tags=tags, asset_selection=bank),
    ):
        with dg.DagsterInstance.ephemeral() as instance:
            start(instance, run)
            assert set(cells_at_work(instance, other)) == {CELL}
            assert cells_at_work(instance, plain) == {}


@contract("dead_runs.py", "fails a run from outside and frees the slots it holds in pools")
def test_a_dead_run_is_failed_and_its_slots_are_freed() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    tags = {"uad/host": socket.gethostname(), "uad/pid": str(child.pid)}
    with dg.DagsterInstance.local_temp() as instance:
        storage = instance.event_log_storage
        run = dg.DagsterRun(job_name="cell", status=DagsterRunStatus.STARTED, tags=tags)
        instance.add_run(run)
        storage.set_concurrency_slots("gpu", 1)
        assert storage.claim_concurrency_slot("gpu", run.run_id, "memory_bank").is_claimed
        assert fail_dead_runs(instance) == [run.run_id]
        (record,) = instance.get_run_records()
        assert record.dagster_run.status is DagsterRunStatus.FAILURE
        assert storage.get_concurrency_info("gpu").active_slot_count == 0


def test_a_run_of_a_container_of_the_same_name_is_left_alone_for_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its number means another process here, or none."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    here = process_tags() | {"uad/pid": str(child.pid)}
    with dg.DagsterInstance.local_temp() as instance:
        for number, place in enumerate((here.get("uad/pid_place", ""), "00000000")):
            tags = here | {"uad/pid_place": place}
            run = dg.DagsterRun(
                run_id=f"{number}", job_name="cell", status=DagsterRunStatus.STARTED, tags=tags
            )
            instance.add_run(run)
        assert fail_dead_runs(instance) == ["0"]
        monkeypatch.setattr(dead_runs, "FOREIGN_SECONDS", 0.0)
        assert fail_dead_runs(instance) == ["1"]
