"""What ``backfills.py`` takes from Dagster beside its public API, held against the installed version."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.assets.partitions import project_partitions
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance import backfills
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import demo_project


@contract("backfills.py", "says by its heartbeats whether a daemon works backfills off")
def test_a_daemon_is_seen_by_its_heartbeat(tmp_path: Path) -> None:
    from dagster._daemon.types import DaemonHeartbeat

    with open_instance(demo_project(tmp_path)) as instance:
        with pytest.raises(backfills.NoDaemonError, match="none was ever seen"):
            backfills.require_daemon(instance)
        instance.add_daemon_heartbeat(
            DaemonHeartbeat(time.time() - 3600, backfills.BACKFILL_DAEMON, "here", [])
        )
        with pytest.raises(backfills.NoDaemonError, match="last seen 36"):
            backfills.require_daemon(instance)
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), backfills.BACKFILL_DAEMON, "here", []))
        backfills.require_daemon(instance)


@contract("backfills.py", "takes a backfill of chosen cells of each asset that is added from outside")
def test_a_backfill_has_the_chosen_cells(tmp_path: Path) -> None:
    project, cell = demo_project(tmp_path), Cell("demo/gear", "patchcore")
    with open_instance(project) as instance:
        wanted = {"memory_bank": [cell], "score_table": [cell, Cell("demo/weave", "patchcore")]}
        added = backfills.add_backfill(
            project, instance, project_partitions(project).cell, wanted, board=True
        )
        (stored,) = instance.get_backfills()
        assert (stored.backfill_id, stored.title) == (added, "uad refresh --backfill")
        graph = build_definitions(project).resolve_asset_graph()
        target = stored.get_asset_backfill_data(graph).target_subset
    for asset, cells in wanted.items():
        subset = target.partitions_subsets_by_asset_key[asset_key(project, asset)]
        assert set(subset.get_partition_keys()) == {cell.key for cell in cells}
    assert target.non_partitioned_asset_keys == {asset_key(project, "leaderboard")}


@contract("backfills.py", "starts its daemon by `python -m dagster._daemon`")
def test_the_daemon_is_a_module_that_can_be_started() -> None:
    assert importlib.util.find_spec(f"{backfills.DAEMON_MODULE}.__main__") is not None
    (command,) = (c for c in _scripts() if c.name == "dagster-daemon")
    assert command.value.startswith(backfills.DAEMON_MODULE)


def _scripts() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group="console_scripts")
