"""Who is to compute which cells already: what counts, and what ``asked_for.py`` takes from Dagster for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from tests.orchestration.dagster_instance.contracts import contract
from tests.orchestration.dagster_instance.test_runs import start
from uad_orchestrator.orchestration.assets.partitions import project_partitions
from uad_orchestrator.orchestration.dagster_instance import runs
from uad_orchestrator.orchestration.dagster_instance.asked_for import Asked, asked_already, asked_for
from uad_orchestrator.orchestration.dagster_instance.backfills import add_backfill, add_group_backfill
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG, recorded_since
from uad_orchestrator.orchestration.dagster_instance.group_tags import selection_tag
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, Cell
from uad_orchestrator.orchestration.versions.groups import cell_groups
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.project import Project, demo_project

CODE = """
from pathlib import Path

from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.project import demo_project

defs = build_definitions(demo_project(Path({home!r})))
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return demo_project(tmp_path)


@pytest.fixture
def cells(project: Project) -> list[Cell]:
    return [Cell(category, detector) for category, detector in project.cells()]


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with open_instance(project) as opened:
        yield opened


def of_cell(cell: Cell, **more: object) -> dg.DagsterRun:
    return dg.DagsterRun(job_name="cell", tags={PARTITION_TAG: cell.key}, **more)


def asked_by(found: list[Asked]) -> dict[str, set[str]]:
    """Of each cell who is to compute it."""
    by: dict[str, set[str]] = {}
    for one in found:
        for key in one.cells:
            by.setdefault(key, set()).add(one.by)
    return by


def backfill_of(project: Project, instance: dg.DagsterInstance, cells: list[Cell]) -> str:
    wanted = dict.fromkeys(CELL_ASSETS, cells)
    return add_backfill(project, instance, project_partitions(project).cell, wanted, board=True)


@contract("asked_for.py", "keeps with a backfill of assets what it has made no runs of yet, and what failed")
def test_a_backfill_is_followed_from_its_request_to_its_last_run(
    project: Project, instance: dg.DagsterInstance, cells: list[Cell], tmp_path: Path
) -> None:
    """Made into runs by what Dagster's daemon calls: at each moment all that is not computed yet is asked for."""
    from dagster._core.execution.asset_backfill import execute_asset_backfill_iteration
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

    name, first = backfill_of(project, instance, cells[:2]), cells[0]
    holder = {f"backfill {name}"}
    assert asked_by(asked_for(instance, project)) == {cell.key: holder for cell in cells[:2]}
    code = tmp_path / "code.py"
    code.write_text(CODE.format(home=str(project.home)))
    target = LoadableTargetOrigin(python_file=str(code), attribute="defs")
    place = InProcessWorkspaceLoadTarget(
        [InProcessCodeLocationOrigin(target, location_name=project.dagster.location_name)]
    )
    with WorkspaceProcessContext(instance, place) as workspace:

        def iterate() -> None:
            (stored,) = instance.get_backfills()
            asyncio.run(
                execute_asset_backfill_iteration(stored, logging.getLogger("quiet"), workspace, instance)
            )

        iterate()
        made = {run.tags[PARTITION_TAG]: run for run in instance.get_runs()}
        assert set(made) == {cell.key for cell in cells[:2]}
        assert asked_by(asked_for(instance, project)) == {cell.key: holder for cell in cells[:2]}
        instance.add_run_tags(made[first.key].run_id, {"dagster/max_retries": "0"})
        instance.report_run_failed(instance.get_run_by_id(made[first.key].run_id))
        assert asked_by(asked_for(instance, project)) == {cells[1].key: holder}
        iterate()
        assert asked_by(asked_for(instance, project)) == {cells[1].key: holder}


@contract("asked_for.py", "notes what a backfill will not come to, as what it stands on failed")
def test_what_a_backfill_gave_up_is_not_asked_for(
    project: Project, instance: dg.DagsterInstance, cells: list[Cell]
) -> None:
    one, two = (instance.get_backfill(backfill_of(project, instance, cells[:many])) for many in (1, 2))
    data = two.asset_backfill_data._replace(
        failed_and_downstream_subset=one.asset_backfill_data.target_subset
    )
    instance.update_backfill(two._replace(asset_backfill_data=data))
    by = {cell.key: names for cell, names in zip(cells, ({one.backfill_id}, {two.backfill_id}), strict=False)}
    found = asked_by(asked_for(instance, project))
    assert found == {key: {f"backfill {name}" for name in names} for key, names in by.items()}


@contract("asked_for.py", "notes how far a backfill of a job was made into runs")
def test_a_backfill_of_groups_asks_for_what_was_not_made_into_runs(
    project: Project, instance: dg.DagsterInstance
) -> None:
    (done, _), (to_come, cells) = list(cell_groups(project).items())[:2]
    name = add_group_backfill(
        project, instance, [done, to_come], 2, selection_tag(Selection(asset="memory_bank"))
    )
    (stored,) = instance.get_backfills()
    instance.update_backfill(stored.with_partition_checkpoint(done))
    (found,) = asked_for(instance, project)
    assert (found.by, found.cells) == (
        f"backfill {name}",
        dict.fromkeys((cell.key for cell in cells), ("memory_bank",)),
    )


@contract("asked_for.py", "says of a backfill that it is being cancelled")
def test_what_is_being_cancelled_computes_nothing(
    project: Project, instance: dg.DagsterInstance, cells: list[Cell]
) -> None:
    from dagster._core.execution.backfill import BulkActionStatus

    name = backfill_of(project, instance, cells[:1])
    queued = of_cell(cells[1]).with_tags({PARTITION_TAG: cells[1].key, "dagster/backfill": name})
    instance.add_run(queued)
    instance.add_run(of_cell(cells[2], status=DagsterRunStatus.CANCELING))
    assert set(asked_by(asked_for(instance, project))) == {cell.key for cell in cells[:2]}
    (stored,) = instance.get_backfills()
    instance.update_backfill(stored.with_status(BulkActionStatus.CANCELING))
    assert asked_by(asked_for(instance, project)) == {}


@contract("runs.py", "marks a failed run that its daemon starts again")
def test_a_run_that_is_about_to_be_tried_again_is_asked_for(
    project: Project, instance: dg.DagsterInstance, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    once, again = of_cell(cells[0]), of_cell(cells[1])
    for run in (once.with_tags({**once.tags, "dagster/max_retries": "0"}), again):
        start(instance, run)
        instance.report_run_failed(run, "its node died")
    assert asked_by(asked_for(instance, project)) == {cells[1].key: {f"run {again.run_id[:8]}"}}
    instance.add_run_tags(again.run_id, {"dagster/auto_retry_run_id": "the next"})
    assert asked_for(instance, project) == [], "the next is a run by itself"


def test_the_mark_of_a_run_that_was_never_tried_again_wears_off(
    project: Project, instance: dg.DagsterInstance, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = of_cell(cells[0])
    start(instance, run)
    instance.report_run_failed(run, "its node died")
    assert asked_for(instance, project)
    later = time.time() + runs.RETRY_WITHIN + 60
    monkeypatch.setattr(runs, "time", SimpleNamespace(time=lambda: later))
    assert asked_for(instance, project) == []


def test_less_than_is_stale_does_not_count(
    project: Project, instance: dg.DagsterInstance, cells: list[Cell]
) -> None:
    cell = cells[0]
    narrowed = [Asked("run 1", {cell.key: ("memory_bank",)}), Asked("run 2", {cell.key: CELL_ASSETS[1:]})]
    assert asked_already(instance, project, {cell: CELL_ASSETS}, narrowed) == {}
    assert asked_already(instance, project, {cell: CELL_ASSETS[2:]}, narrowed) == {cell: "run 2"}


def report(instance: dg.DagsterInstance, project: Project, asset: str, partition: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key(project, asset), partition=partition)
    )


@pytest.mark.parametrize(
    ("asset", "partition", "stale", "counts"),
    [
        ("scoring_settings", "detector", CELL_ASSETS[2:], False),
        ("test_images", "category", CELL_ASSETS[2:], False),
        ("test_images", "another/category", CELL_ASSETS[2:], True),
        ("checkpoint", "key", CELL_ASSETS[1:], True),
        ("checkpoint", "key", CELL_ASSETS, False),
    ],
)
def test_a_run_that_began_before_an_input_changed_does_not_count(
    asset: str,
    partition: str,
    stale: tuple[str, ...],
    counts: bool,
    project: Project,
    instance: dg.DagsterInstance,
    cells: list[Cell],
) -> None:
    cell = cells[0]
    place = getattr(cell, partition, partition)
    report(instance, project, asset, place)
    began = time.time()
    asked = [Asked("run 1", {cell.key: CELL_ASSETS}, started=began)]
    assert asked_already(instance, project, {cell: stale}, asked) == {cell: "run 1"}, (
        "recorded before it began"
    )
    report(instance, project, asset, place)
    assert asked_already(instance, project, {cell: stale}, asked) == ({cell: "run 1"} if counts else {})
    waits = [*asked, Asked("run 2", {cell.key: CELL_ASSETS})]
    assert cell in asked_already(instance, project, {cell: stale}, waits), "it will read what is there then"


def test_of_what_was_recorded_several_times_the_last_counts(
    project: Project, instance: dg.DagsterInstance
) -> None:
    report(instance, project, "fit_settings", "dino")
    began = time.time()
    for _ in range(3):
        report(instance, project, "fit_settings", "patchcore")
    between = time.time()
    report(instance, project, "fit_settings", "patchcore")
    found = recorded_since(instance, project, "fit_settings", ["patchcore", "dino"], began)
    assert set(found) == {"patchcore"} and found["patchcore"] > between
