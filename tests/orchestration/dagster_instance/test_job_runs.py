"""What ``job_runs.py`` takes from Dagster beside its public API, held against the installed version."""

from __future__ import annotations

import os
import signal
from typing import Any

import dagster as dg
import pytest

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance import job_runs
from uad_orchestrator.orchestration.dagster_instance.event_log import data_version
from uad_orchestrator.orchestration.dagster_instance.names import name_in_dagster
from uad_orchestrator.project import demo_project

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CELLS = dg.StaticPartitionsDefinition(["a", "b"])


def definitions() -> dg.Definitions:
    """A bank, a table with a check, and three assets that fail in different ways."""

    def asset(name: str) -> Any:
        return dg.asset(key=["line7", name], partitions_def=CELLS)

    @asset("bank")
    def bank() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("17"), metadata={"seconds": 1.5})

    @asset("table")
    def table() -> None: ...

    @dg.asset_check(asset=["line7", "table"])
    def checked() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    @asset("refused")
    def refused() -> None:
        raise dg.Failure("no such image", allow_retries=False)

    @asset("broken")
    def broken() -> None:
        raise ValueError("three columns, not four")

    @asset("interrupted")
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10_000_000):  # the handler runs between two of these
            pass

    assets = [bank, table, refused, broken, interrupted]
    job = dg.define_asset_job("line7__cell", dg.AssetSelection.all())
    return dg.Definitions(assets, asset_checks=[checked], jobs=[job])


def run(instance: dg.DagsterInstance, *assets: str) -> dg.ExecuteInProcessResult:
    keys = [dg.AssetKey(["line7", asset]) for asset in assets]
    return job_runs.run_assets(
        definitions(),
        "line7__cell",
        keys,
        instance,
        partition="a",
        tags={"uad/host": "here"},
        run_config=QUIET,
    )


@pytest.fixture(scope="module")
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@contract("job_runs.py", "lets a job be narrowed to some of its assets, without their checks")
def test_some_assets_of_a_job_without_their_checks(instance: dg.DagsterInstance) -> None:
    result = run(instance, "bank", "table")
    assert result.dagster_run.is_success
    assert [event.asset_key.path[-1] for event in job_runs.materialized_in(result)] == ["bank", "table"]
    kinds = {event.event_type_value for event in result.all_events}
    assert "ASSET_CHECK_EVALUATION" not in kinds
    assert (result.dagster_run.job_name, result.dagster_run.tags["uad/host"]) == ("line7__cell", "here")


@contract("job_runs.py", "has the materialisation, with version and metadata, in its event")
def test_what_a_run_materialised(instance: dg.DagsterInstance) -> None:
    (event,) = job_runs.materialized_in(run(instance, "bank"))
    assert (data_version(event), event.metadata["seconds"].value, event.partition) == ("17", 1.5, "a")


@contract("job_runs.py", "has a step's error, and what caused it, in its event")
def test_why_a_step_failed(instance: dg.DagsterInstance) -> None:
    result = run(instance, "bank", "refused", "broken")
    errors = job_runs.failed_in(result)
    assert errors == {
        "line7__refused": "no such image",
        "line7__broken": "ValueError: three columns, not four",
    }
    assert "failed" in (job_runs.failure_of(result) or "")
    assert job_runs.failure_of(run(instance, "bank")) is None


@contract("job_runs.py", "says of a run that Ctrl-C ended it")
def test_an_interrupted_run_is_told_from_a_failed_one(instance: dg.DagsterInstance) -> None:
    assert job_runs.was_interrupted(run(instance, "interrupted"))
    assert not job_runs.was_interrupted(run(instance, "broken"))


@contract("names.py", "joins the parts of an asset's key by two underscores in the name of its op")
def test_an_assets_op_is_named_as_we_name_jobs(tmp_path: Any) -> None:
    project = demo_project(tmp_path)
    prefixed = project.dagster.model_copy(update={"name_prefix": ("plant", "line7")})

    @dg.asset(key=["plant", "line7", "memory_bank"])
    def bank() -> None: ...

    named = name_in_dagster(project.model_copy(update={"dagster": prefixed}), "memory_bank")
    assert bank.op.name == named == "plant__line7__memory_bank"
    assert name_in_dagster(project, "cell") == "cell"
