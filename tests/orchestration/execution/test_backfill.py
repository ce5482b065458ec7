"""``uad refresh --backfill``: exactly the stale cells, for a daemon that is there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from dagster._daemon.types import DaemonHeartbeat
from typer.testing import CliRunner

from tests.orchestration.workshop import Workshop
from uad_orchestrator.cli import app
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.backfills import BACKFILL_DAEMON, NoDaemonError
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.execution.backfill import hand_over
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS
from uad_orchestrator.orchestration.versions.selection import Selection


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
