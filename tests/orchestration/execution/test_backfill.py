"""``uad refresh --backfill``: exactly the stale cells, for a daemon that is there."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._daemon.types import DaemonHeartbeat
from typer.testing import CliRunner

from tests.orchestration.dagster_instance.test_runs import start
from tests.orchestration.workshop import Workshop
from uad_orchestrator.cli import app
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.asked_for import asked_for
from uad_orchestrator.orchestration.dagster_instance.backfills import BACKFILL_DAEMON, NoDaemonError
from uad_orchestrator.orchestration.dagster_instance.group_tags import selected
from uad_orchestrator.orchestration.dagster_instance.instance import asking_alone, open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.execution import backfill
from uad_orchestrator.orchestration.execution.backfill import Handover, hand_over
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS
from uad_orchestrator.orchestration.versions.groups import cell_groups
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.project import Project


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.build(tmp_path, {"alpha": ["disc", "ring"]})


def test_without_a_daemon_it_says_what_to_start(workshop: Workshop) -> None:
    with open_instance(workshop.project) as instance, pytest.raises(NoDaemonError, match="uad ui"):
        hand_over(workshop.project, instance)
    done = CliRunner().invoke(app, ["refresh", "--backfill", "--home", str(workshop.home)])
    assert (done.exit_code, "uad ui" in done.output) == (2, True)


def test_the_daemon_gets_the_stale_cells_and_only_they(workshop: Workshop) -> None:
    project = workshop.project
    with open_instance(project) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), BACKFILL_DAEMON, "here", []))
        found = hand_over(project, instance, Selection(categories=("disc",), detectors=("dino",)))
        assert found.to_json() | {"seconds": 0, "backfill": ""} == {
            "backfill": "",
            "backfills": [found.to_json()["backfill"]],
            "cells": 1,
            "inputs": 9,
            "assets": dict.fromkeys(CELL_ASSETS, 1) | {"leaderboard": 1},
            "asked_already": {},
            "seconds": 0,
        }
        (stored,) = instance.get_backfills()
        assert (stored.backfill_id,) == found.backfills
        graph = build_definitions(project).resolve_asset_graph()
        target = stored.get_asset_backfill_data(graph).target_subset
        for asset in CELL_ASSETS:
            subset = target.partitions_subsets_by_asset_key[asset_key(project, asset)]
            assert set(subset.get_partition_keys()) == {"alpha/disc|dino"}
        assert target.non_partitioned_asset_keys == {asset_key(project, "leaderboard")}


def test_cells_that_ask_for_other_resources_have_a_backfill_of_their_own(workshop: Workshop) -> None:
    """All runs of a backfill have the same tags; whichever ends last makes the board that counts."""
    workshop.edit(lambda values: values["detectors"]["dino"].update(resources={"num_gpus": 1}))
    project = workshop.project
    with open_instance(project) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), BACKFILL_DAEMON, "here", []))
        found = hand_over(project, instance, Selection(categories=("disc",)))
        stored = {backfill.backfill_id: backfill for backfill in instance.get_backfills()}
        assert (set(found.backfills), found.cells) == (set(stored), 3)
        graph = build_definitions(project).resolve_asset_graph()
        cells = {}
        for backfill in stored.values():
            target = backfill.get_asset_backfill_data(graph).target_subset
            subset = target.partitions_subsets_by_asset_key[asset_key(project, "memory_bank")]
            cells[backfill.tags.get("dagster-ray/config")] = set(subset.get_partition_keys())
            assert target.non_partitioned_asset_keys == {asset_key(project, "leaderboard")}
        assert cells == {
            None: {"alpha/disc|bright", "alpha/disc|patchcore"},
            '{"num_gpus": 1.0}': {"alpha/disc|dino"},
        }


def with_daemon(instance: dg.DagsterInstance) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), BACKFILL_DAEMON, "here", []))


def test_cells_that_are_asked_for_are_left_out_and_named(workshop: Workshop) -> None:
    project = workshop.project
    with open_instance(project) as instance:
        with_daemon(instance)
        first = hand_over(project, instance, Selection(categories=("disc",), detectors=("dino",)))
        rest = hand_over(project, instance)
        assert (first.cells, first.left_out) == (1, None)
        assert (rest.cells, rest.left_out) == (
            5,
            f"1 cell is already asked for by backfill {first.backfills[0]}",
        )
        assert rest.assets == dict.fromkeys(CELL_ASSETS, 5) | {"leaderboard": 1}
        none = hand_over(project, instance)
        assert (none.backfills, none.cells, none.assets) == ((), 0, {})
        assert none.to_json()["asked_already"] == {
            f"backfill {first.backfills[0]}": 1,
            f"backfill {rest.backfills[0]}": 5,
        }
        assert len(instance.get_backfills()) == 2
    done = CliRunner().invoke(app, ["refresh", "--backfill", "--home", str(workshop.home)])
    assert done.exit_code == 0
    assert (
        "6 cells are already asked for by backfill" in done.output and "nothing is stale" not in done.output
    )


def test_many_who_compute_them_are_counted() -> None:
    asked = {f"run {number}": 1 for number in range(9)}
    found = Handover((), 0, 0, {}, asked, 0.0)
    assert found.left_out == "9 cells are already asked for by run 0, run 1, run 2 and 6 others"


def test_of_two_at_once_the_second_leaves_out_what_the_first_asks_for(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked before either asks."""
    project, looked = workshop.project, threading.Barrier(2)
    here, add = threading.local(), backfill.add_backfill

    def both_looked(*arguments: Any) -> Any:
        found = asked_for(*arguments)
        if not getattr(here, "alone", False):
            looked.wait(timeout=60)
        return found

    @contextmanager
    def noted(project: Project) -> Iterator[None]:
        with asking_alone(project):
            here.alone = True
            yield

    def slowly(*arguments: Any) -> str:
        time.sleep(0.3)
        return add(*arguments)

    monkeypatch.setattr(backfill, "asked_for", both_looked)
    monkeypatch.setattr(backfill, "asking_alone", noted)
    monkeypatch.setattr(backfill, "add_backfill", slowly)

    def ask() -> Handover:
        with open_instance(project) as instance:
            return hand_over(project, instance)

    with open_instance(project) as instance:
        with_daemon(instance)
    with ThreadPoolExecutor(2) as pool:
        found = [one.result() for one in [pool.submit(ask), pool.submit(ask)]]
    assert sorted(one.cells for one in found) == [0, 6]
    with open_instance(project) as instance:
        assert len(instance.get_backfills()) == 1


def test_a_cell_whose_run_began_before_a_change_is_asked_for_again(workshop: Workshop) -> None:
    """Whoever recorded the change: the run has read what was there before."""
    project = workshop.project
    with open_instance(project) as instance:
        with_daemon(instance)
        hand_over(project, instance, Selection(asset="checkpoint"))  # records the inputs
        (asked,) = instance.get_backfills()
        instance.update_backfill(asked.with_status(BulkActionStatus.CANCELED))
        for number, key in enumerate(("alpha/disc|dino", "alpha/disc|patchcore")):
            run = dg.DagsterRun(job_name="cell", run_id=f"{number}", tags={"dagster/partition": key})
            start(instance, run)
        asking = Selection(categories=("disc",))
        workshop.edit(lambda values: values["detectors"]["dino"].update(contamination=0.02))
        found = hand_over(workshop.project, instance, asking)
        assert (found.cells, dict(found.asked_already)) == (2, {"run 1": 1})
        stored = {one.backfill_id: one for one in instance.get_backfills()}
        graph = build_definitions(project).resolve_asset_graph()
        target = stored[found.backfills[0]].get_asset_backfill_data(graph).target_subset
        subset = target.partitions_subsets_by_asset_key[asset_key(project, "score_table")]
        assert set(subset.get_partition_keys()) == {"alpha/disc|dino", "alpha/disc|bright"}


def test_of_a_group_only_the_cells_that_nobody_computes_are_asked_for(workshop: Workshop) -> None:
    workshop.edit(lambda values: values["runtime"].update(run_per="embedder"))
    project = workshop.project
    with open_instance(project) as instance:
        with_daemon(instance)
        first = hand_over(project, instance, Selection(categories=("disc",), detectors=("dino",)))
        rest = hand_over(project, instance)
        assert dict(rest.asked_already) == {f"backfill {first.backfills[0]}": 1}
        stored = {one.backfill_id: one for one in instance.get_backfills()}
        made = [stored[name] for name in rest.backfills]
        asked = {tuple(sorted(one.partition_names)): one for one in made}
        whole = ("alpha/disc: bright", "alpha/ring: bright", "alpha/ring: dino..patchcore")
        found = {groups: json.loads(one.tags["uad/selection"])["detectors"] for groups, one in asked.items()}
        assert found == {("alpha/disc: dino..patchcore",): ["patchcore"], whole: ["*"]}
        assert asked[whole].description == "4 stale cells in 3 runs"
        assert hand_over(project, instance).backfills == ()


def test_of_a_group_of_several_categories_no_cell_is_asked_for_twice(workshop: Workshop) -> None:
    """A run is narrowed by categories and detectors: what they cannot name together is asked for in two."""
    workshop.edit(lambda values: values["runtime"].update(run_per="embedder", categories_per_run=2))
    project, name = workshop.project, "alpha/disc..ring: dino..patchcore"
    cells = cell_groups(project)[name]
    with open_instance(project) as instance:
        with_daemon(instance)
        first = hand_over(project, instance, Selection(categories=("disc",), detectors=("dino",)))
        rest = hand_over(project, instance)
        assert dict(rest.asked_already) == {f"backfill {first.backfills[0]}": 1}
        assert (first.cells, rest.cells, hand_over(project, instance).backfills) == (1, 5, ())
        runs = [
            dg.DagsterRun("cells", tags=one.tags)
            for one in instance.get_backfills()
            if name in one.partition_names
        ]
    asked = [cell.key for run in runs for cell in cells if selected(cells, run).covers(cell)]
    assert sorted(asked) == sorted(cell.key for cell in cells)


def test_groups_narrowed_alike_are_one_backfill_however_many_they_are(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "MOST_CATEGORIES", 1)
    workshop.edit(lambda values: values["runtime"].update(run_per="embedder"))
    project = workshop.project
    with open_instance(project) as instance:
        with_daemon(instance)
        hand_over(project, instance, Selection(detectors=("dino",)))
        rest = hand_over(project, instance, Selection(detectors=("dino", "patchcore")))
        (stored,) = (one for one in instance.get_backfills() if one.backfill_id in rest.backfills)
    assert sorted(stored.partition_names) == ["alpha/disc: dino..patchcore", "alpha/ring: dino..patchcore"]
    assert json.loads(stored.tags["uad/selection"])["detectors"] == ["patchcore"]


def test_what_is_left_of_groups_is_asked_for_in_few_backfills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for groups of the same detectors, as many as have their categories in a tag; each makes a board."""
    categories = [f"part{number}" for number in range(8)]
    workshop = Workshop.build(tmp_path / "home", {"alpha": categories}, train=2)
    workshop.edit(lambda values: values["runtime"].update(run_per="embedder", categories_per_run=2))
    monkeypatch.setattr(backfill, "MOST_CATEGORIES", 2)
    project = workshop.project
    with open_instance(project) as instance:
        with_daemon(instance)
        hand_over(project, instance, Selection(categories=("part[0246]",), detectors=("dino",)))
        rest = hand_over(project, instance)
        made = [one for one in instance.get_backfills() if one.backfill_id in rest.backfills]
    cells = cell_groups(project)
    asked = [
        cell
        for one in made
        for name in one.partition_names
        for cell in cells[name]
        if selected(cells[name], dg.DagsterRun("cells", tags=one.tags)).covers(cell)
    ]
    assert len(asked) == len(set(asked)) == rest.cells == 20
    assert len(made) == 5, "the other preset's, and two each of `patchcore` alone and of both"
