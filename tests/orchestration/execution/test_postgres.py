"""Dagster's records in PostgreSQL: the same plan, board and answers as in SQLite, in as few questions."""

# No `from __future__ import annotations` here: Dagster reads the types of a check's parameters.

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterRunStatus
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from tests.orchestration.recorded_grid import Ledger
from tests.orchestration.workshop import Workshop
from tests.postgres_server import connection, copied_database, empty_database, postgres_url
from uad_orchestrator.orchestration.cells.board import current_board
from uad_orchestrator.orchestration.dagster_instance import event_log
from uad_orchestrator.orchestration.dagster_instance.asked_for import asked_for
from uad_orchestrator.orchestration.dagster_instance.check_events import evaluation, latest_results
from uad_orchestrator.orchestration.dagster_instance.connections.held import held_connections
from uad_orchestrator.orchestration.dagster_instance.dead_runs import fail_dead_runs
from uad_orchestrator.orchestration.dagster_instance.instance import (
    asking_alone,
    damage_named,
    open_instance,
    open_reference,
    project_dagster_home,
    reference_to,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.dagster_instance.partitioned_checks import partitioned_check
from uad_orchestrator.orchestration.dagster_instance.runs import cells_at_work
from uad_orchestrator.orchestration.dagster_instance.settings.cluster import write_cluster_settings
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, NODES
from uad_orchestrator.orchestration.versions.stores import InstanceError, open_state, open_store
from uad_orchestrator.project import Project, demo_project
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.storage.atomic import write_text

URL = "UAD_POSTGRES_URL"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_url() as url:
        yield url


@pytest.fixture
def database(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty one, which the settings find in the environment."""
    url = empty_database(server)
    monkeypatch.setenv(URL, url)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return url


@pytest.fixture(scope="module")
def homes(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, Workshop]]:
    """The same cell refreshed with SQLite, and with PostgreSQL."""
    folder = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(URL, empty_database(server))
        patch.delenv("DAGSTER_HOME", raising=False)
        one = Workshop.build(folder / "one", {"alpha": ["disc", "ring", "bolt"]}, train=4)
        one.edit(lambda values: values.update(detectors={"dino": values["detectors"]["dino"]}))
        one.edit(lambda values: values["datasets"]["alpha"].update(categories=["disc"]))
        two = on_postgres(one.copied_to(folder / "two"))
        for home in (one, two):
            result = home.refresh()
            assert not result.failed and {node.asset for node in result.materialized} >= set(CELL_ASSETS)
        yield one, two


def on_postgres(workshop: Workshop) -> Workshop:
    """With the settings of ``uad init --cluster``; only runs that the daemon launches would go to Ray."""
    write_cluster_settings(workshop.project)
    return workshop


def board(workshop: Workshop) -> Leaderboard:
    return current_board(open_state(workshop.project), open_store(workshop.project))


def recorded(workshop: Workshop) -> dict[str, dict[str, str]]:
    """Of each asset the version that Dagster has of each partition."""
    with open_instance(workshop.project) as instance:
        partitioned = [asset for asset, node in NODES.items() if node.dimension != "none"]
        return {a: event_log.recorded_versions(instance, workshop.project, a) for a in partitioned}


def test_a_refresh_is_recorded_planned_and_shown_as_with_sqlite(homes: tuple[Workshop, Workshop]) -> None:
    one, two = homes
    with connection(os.environ[URL]) as cursor:
        cursor.execute("SELECT DISTINCT partition FROM event_logs WHERE asset_key = '[\"memory_bank\"]'")
        assert cursor.fetchall() == [("alpha/disc|dino",)], "it is in the database"
    assert not (two.home / ".uad/dagster/history").exists(), "and in no file"
    assert recorded(one) == recorded(two)
    plans = one.plan(), two.plan()
    assert all(not plan.stale and not plan.inputs and not plan.rerecorded for plan in plans)
    assert plans[0].fresh == plans[1].fresh
    figures = [[(row.category, row.detector, row.metrics) for row in board(home).rows] for home in homes]
    assert figures[0] == figures[1] and all(metrics for *_, metrics in figures[0])
    changed = two.copied_to(two.home.parent / "changed")
    changed.edit(lambda values: values["detectors"]["dino"]["maps"].update(gaussian_sigma=3.0))
    assert {node.asset for node in changed.plan().stale} == {"anomaly_maps", "metrics_report", "leaderboard"}


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that SQLAlchemy runs meanwhile, on whatever database."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(" ".join(statement.split()))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_which_tables_and_columns_there_are_is_asked_once(homes: tuple[Workshop, Workshop]) -> None:
    def asked(instance: dg.DagsterInstance) -> list[str]:
        with statements() as seen:
            instance.create_run_for_job(nothing)
            instance.report_runless_asset_event(dg.AssetMaterialization("anything", tags={"a": "b"}))
            instance.get_asset_records([dg.AssetKey("anything")])
            instance.get_run_records()
        assert len(seen) > 5
        return [statement for statement in seen if "pg_catalog" in statement]

    @dg.job
    def nothing() -> None:
        pass

    with open_instance(homes[1].project) as instance:
        assert asked(instance), "the first time"
        assert not asked(instance)


def test_a_plan_asks_as_much_of_postgres_as_of_sqlite_however_many_cells(
    homes: tuple[Workshop, Workshop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(workshop: Workshop, *, more: bool) -> int:
        with open_instance(workshop.project) as instance:
            ledger = Ledger(workshop, instance)
            if more:
                ledger.record_all(ledger.state.cells[1:])
            with statements() as seen:
                plan = ledger.plan()
            assert not plan.stale and not plan.rerecorded
            return sum("pg_catalog" not in statement for statement in seen)

    one_cell = [asked(home, more=False) for home in homes]
    monkeypatch.setenv(URL, copied_database(os.environ[URL]))
    larger = [home.copied_to(tmp_path / home.home.name) for home in homes]
    for home in larger:
        home.edit(lambda values: values["datasets"]["alpha"].update(categories=["disc", "ring", "bolt"]))
    three_cells = [asked(home, more=True) for home in larger]
    assert one_cell[1] == three_cells[1] <= three_cells[0], (one_cell, three_cells)


def answers(instance: dg.DagsterInstance, project: Project) -> dict[str, Any]:
    """What all bulk reads say after a small history; the numbers of events as ranks."""
    places = dg.StaticPartitionsDefinition(["demo/gear", "demo/weave"])

    @dg.asset(key=asset_key(project, "dataset_category"), partitions_def=places)
    def above(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(f"a {context.partition_key}"))

    @dg.asset(key=asset_key(project, "normal_images"), partitions_def=places, deps=[above])
    def below(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(f"b {context.partition_key}"))

    @partitioned_check(places, asset=below.key, name="usable")
    def usable(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=context.partition_key == "demo/gear", metadata={"share": 0.5})

    began = time.time()
    for key in ("demo/weave", "demo/gear"):
        assert dg.materialize([above, below, usable], partition_key=key, instance=instance).success
    name, check = "normal_images", dg.AssetCheckKey(below.key, "usable")
    order = event_log.recorded_order(instance, project, name)
    numbered = event_log.numbered_materializations(instance, project, name, list(order.values()))
    (last,) = event_log.materializations(instance, project, name, "demo/gear")
    results, found = latest_results(instance, [check]), evaluation(instance, check, "demo/weave")
    last_number = event_log.last_numbers(instance, project, [name, "memory_bank"])
    return {
        "versions": event_log.recorded_versions(instance, project, name),
        "some": event_log.recorded_versions(instance, project, name, ["demo/weave", "never"]),
        "order": sorted(order, key=lambda place: order[place]),
        "since": sorted(event_log.recorded_since(instance, project, name, ["demo/gear", "never"], began)),
        "not since": event_log.recorded_since(instance, project, name, ["demo/gear"], time.time()),
        "numbered": {place: event_log.data_version(made) for place, made in numbered.items()},
        "reads": event_log.recorded_reads(project, last, name),
        "last": {asset: number == max(order.values()) for asset, number in last_number.items()},
        "checks": [(one.key, one.partition, one.passed) for one in results],
        "later": [one.partition for one in latest_results(instance, [check], results[0].event)],
        "found": found and (found.passed, found.metadata, found.partition),
        "prefixes": event_log.other_prefixes(instance, project),
        "work": work(instance, project),
    }


def work(instance: dg.DagsterInstance, project: Project) -> dict[str, Any]:
    """Whose runs are at work, and which of them are dead."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name, host in (("dead", socket.gethostname()), ("elsewhere", "another-machine")):
        cell = {event_log.PARTITION_TAG: f"demo/{name}|patchcore"}
        tags = {**cell, "uad/host": host, "uad/pid": str(ended.pid)}
        started = DagsterRunStatus.STARTED
        instance.add_run(dg.DagsterRun(job_name="cell", run_id=name, status=started, tags=tags))
    storage = instance.event_log_storage
    storage.set_concurrency_slots("gpu", 1)
    assert storage.claim_concurrency_slot("gpu", "dead", "memory_bank").is_claimed
    before = set(cells_at_work(instance, project))
    failed = fail_dead_runs(instance)
    slots = storage.get_concurrency_info("gpu").active_slot_count
    return {
        "before": before,
        "failed": failed,
        "after": set(cells_at_work(instance, project)),
        "slots": slots,
        "asked": sorted(key for one in asked_for(instance, project) for key in one.cells),
    }


def test_every_bulk_read_answers_as_with_sqlite(database: str, tmp_path: Path) -> None:
    one, two = (demo_project(tmp_path / name) for name in ("one", "two"))
    write_cluster_settings(two)
    with open_instance(one) as sqlite, open_instance(two) as postgres:
        expected, found = answers(sqlite, one), answers(postgres, two)
        assert found == expected
        assert expected["work"] == {
            "before": {"demo/dead|patchcore", "demo/elsewhere|patchcore"},
            "failed": ["dead"],
            "after": {"demo/elsewhere|patchcore"},
            "slots": 0,
            "asked": ["demo/dead|patchcore", "demo/elsewhere|patchcore"],  # the dead one is tried again
        }
        with open_reference(reference_to(postgres)) as again:
            assert event_log.recorded_versions(again, two, "normal_images") == expected["versions"]


def at_once(works: list[Callable[[], object]]) -> list[object]:
    """What some works give that begin at the same moment, each in a thread; an error in its place."""
    start, results = threading.Barrier(len(works)), dict[int, object]()

    def run(place: int) -> None:
        start.wait()
        try:
            results[place] = works[place]()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return [results.get(place) for place in range(len(works))]


OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def wait_until_others_are(cursor: Any, count: int) -> None:
    """A connection that was closed is seen at the server for a moment yet."""
    until = time.monotonic() + 60
    while True:
        cursor.execute(f"SELECT pid {OTHERS}")
        if len(found := cursor.fetchall()) == count:
            return
        assert time.monotonic() < until, f"{found}, not {count}"
        time.sleep(0.05)


@pytest.mark.parametrize("by_the_storage", [True, False])
def test_connections_are_held_and_one_that_the_server_closed_is_replaced(
    database: str, tmp_path: Path, by_the_storage: bool
) -> None:
    """By the storage of ``uad init --cluster``; by ours who ask, where the settings name dagster-postgres' own."""
    project = demo_project(tmp_path)
    if by_the_storage:
        write_cluster_settings(project)
    else:
        plain = {"storage": {"postgres": {"postgres_url": {"env": URL}}}}
        write_text(project_dagster_home(project) / "dagster.yaml", yaml.safe_dump(plain))
    opened: list[object] = []

    def note(*connection: object) -> None:
        opened.append(connection)

    events = int(by_the_storage)  # the question by which an instance is opened
    with connection(database) as cursor, open_instance(project) as instance:
        event.listen(Pool, "connect", note)
        try:
            with held_connections(instance), held_connections(instance):
                for _ in range(50):
                    assert instance.get_runs_count() == 0
                assert len(opened) == 1
                wait_until_others_are(cursor, 1 + events)
                cursor.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
                wait_until_others_are(cursor, 0)
                assert instance.get_runs_count() == 0 and len(opened) == 2
            wait_until_others_are(cursor, int(by_the_storage))  # else none is left open
            assert instance.get_runs_count() == 0 and len(opened) == 2 + (not by_the_storage)
        finally:
            event.remove(Pool, "connect", note)
        instance.dispose()
        wait_until_others_are(cursor, 0)


def test_what_is_held_is_closed_with_the_instance_and_when_a_web_server_holds_it_otherwise(
    database: str, tmp_path: Path
) -> None:
    project = demo_project(tmp_path)
    write_cluster_settings(project)
    with connection(database) as cursor, open_instance(project) as instance:
        for close in (partial(instance.optimize_for_webserver, 0, 60, 20), instance.dispose):
            assert not instance.get_runs_count() and not instance.all_instigator_state()
            assert not instance.get_asset_keys()
            wait_until_others_are(cursor, 3)
            close()
            wait_until_others_are(cursor, 0)


def test_machines_that_open_an_empty_database_at_once_do_not_trip_over_each_other(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has a home, and so a lock, of its own."""
    projects = [demo_project(tmp_path / f"{place}") for place in range(4)]
    for project in projects:
        write_cluster_settings(project)

    def opens(project: Project) -> Callable[[], object]:
        def work() -> int:
            with open_instance(project) as instance:
                return instance.get_runs_count()

        return work

    with caplog.at_level(logging.WARNING):
        assert at_once([opens(project) for project in projects]) == [0] * 4
    assert "Retrying failed database creation" not in caplog.text, "none found half of the tables"
    with connection(database) as cursor:
        cursor.execute("SELECT count(*) FROM alembic_version")
        assert cursor.fetchone() == (1,)


def test_machines_that_ask_for_cells_at_once_do_so_one_after_the_other(database: str, tmp_path: Path) -> None:
    """Each has a home, and so a lock, of its own."""
    projects = [demo_project(tmp_path / f"{place}") for place in range(3)]
    inside: list[int] = []

    def asks(place: int) -> Callable[[], object]:
        def work() -> int:
            with asking_alone(projects[place]):
                inside.append(place)
                time.sleep(0.1)
                return inside[-1]

        return work

    for project in projects:
        write_cluster_settings(project)
    assert at_once([asks(place) for place in range(3)]) == [0, 1, 2]


def test_a_database_that_cannot_be_used_is_said_in_words(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = demo_project(tmp_path)
    settings = write_cluster_settings(project)

    def refused() -> str:
        with pytest.raises(InstanceError) as raised, open_instance(project):
            pass
        assert str(settings) in str(raised.value) and "ss%2Fword" not in str(raised.value)
        return str(raised.value)

    monkeypatch.setenv(URL, database.replace("+psycopg2", ""))
    assert "psycopg is not installed" in refused()
    monkeypatch.setenv(URL, database + "_of_nobody")
    assert "does not exist" in refused()
    monkeypatch.delenv(URL)
    assert "UAD_POSTGRES_URL, which is not set" in refused()


def test_a_database_that_goes_away_in_the_midst_is_said_in_words(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_postgres import utils

    project = demo_project(tmp_path)
    write_cluster_settings(project)
    monkeypatch.setattr(utils, "calculate_delay", lambda **_: 0.0)
    with open_instance(project) as instance:
        instance.get_runs_count()
        with connection(database.replace(database.rpartition("/")[2], "postgres")) as cursor:
            cursor.execute(f"DROP DATABASE {database.rpartition('/')[2]} WITH (FORCE)")
        with pytest.raises(InstanceError, match=r"cannot be used: .*does not exist"), damage_named(project):
            instance.get_runs_count()
