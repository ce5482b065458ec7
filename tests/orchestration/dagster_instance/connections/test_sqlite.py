"""In SQLite connections are kept; what is recorded, and what others see of it, is as Dagster does it."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import Queue

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.connections.held import held_connections
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.project import Project, demo_project

MAKE_ENGINES = (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return demo_project(tmp_path)


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with open_instance(project) as opened:
        yield opened


def add_run(instance: dg.DagsterInstance, said: str) -> dg.DagsterRun:
    """A run of which one event is recorded."""
    run = instance.add_run(dg.DagsterRun(job_name="cell"))
    instance.report_engine_event(said, run)
    return run


def what_it_said(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    return [entry.get_dagster_event().message or "" for entry in instance.all_logs(run.run_id)]


def ask_all(instance: dg.DagsterInstance) -> None:
    """A question to each storage."""
    instance.get_runs_count()
    instance.get_asset_keys()
    instance.all_instigator_state()


def database_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Path:
    return Path(instance.event_log_storage.path_for_shard(run.run_id))


def schema(path: Path) -> list[tuple[object, ...]]:
    """All that is in a database but events."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return [*made, *version, *connection.execute("PRAGMA journal_mode").fetchall()]


@contract("connections/sqlite.py", "lets its storages in SQLite be told how to connect")
def test_while_they_are_held_no_question_makes_an_engine() -> None:
    with dg.DagsterInstance.local_temp() as instance, pytest.MonkeyPatch.context() as patch:
        ask_all(instance)
        with held_connections(instance), held_connections(instance):
            for module in MAKE_ENGINES:
                patch.delattr(module, "create_engine")
            for _ in range(2):
                ask_all(instance)
            runs = [add_run(instance, said) for said in ("first", "second")]
            assert [what_it_said(instance, run) for run in runs] == [["first"], ["second"]]
        with pytest.raises(NameError):
            instance.get_runs_count()
        with pytest.raises(NameError):
            instance.get_asset_keys()


def test_others_read_what_was_recorded(project: Project, instance: dg.DagsterInstance) -> None:
    with held_connections(instance):
        runs = [add_run(instance, said) for said in ("first", "second", "third")]
        instance.report_runless_asset_event(dg.AssetMaterialization("board", metadata={"cells": 3}))
        with open_instance(project) as other:
            assert [what_it_said(other, run) for run in runs] == [["first"], ["second"], ["third"]]
            assert other.get_latest_materialization_event(dg.AssetKey("board")) is not None
            other.report_engine_event("more", runs[1])
        assert what_it_said(instance, runs[1]) == ["second", "more"]
    assert [run.run_id for run in instance.get_runs()] == [run.run_id for run in reversed(runs)]


def test_the_database_of_a_run_is_as_dagster_makes_it(instance: dg.DagsterInstance) -> None:
    by_dagster = add_run(instance, "by Dagster")
    with held_connections(instance):
        first, copied = add_run(instance, "first"), add_run(instance, "copied")
    databases = [database_of(instance, run) for run in (by_dagster, first, copied)]
    assert schema(databases[0]) == schema(databases[1]) == schema(databases[2])
    assert what_it_said(instance, copied) == ["copied"]
    folder = databases[0].parent
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")], "nothing is left aside"


def test_a_database_that_another_process_has_just_made_stays(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_connections(instance), open_instance(project) as other:
        add_run(instance, "first")
        run = add_run(other, "by another")
        database = database_of(instance, run)
        exists = Path.exists
        monkeypatch.setattr(Path, "exists", lambda path: path != database and exists(path))
        instance.report_engine_event("and here", run)
        assert what_it_said(instance, run) == ["by another", "and here"]


def test_a_disk_without_links_costs_time_alone(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with held_connections(instance):
        runs = [add_run(instance, said) for said in ("first", "second")]
        assert [what_it_said(instance, run) for run in runs] == [["first"], ["second"]]
    folder = database_of(instance, runs[0]).parent
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_no_event_of_another_run_comes_along(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first run another process records something as soon as its database is there."""
    made = type(instance.event_log_storage)._initdb
    with held_connections(instance), open_instance(project) as other:
        first = instance.add_run(dg.DagsterRun(job_name="cell"))

        def make_and_record(storage: object, engine: object) -> None:
            made(storage, engine)
            if storage is instance.event_log_storage:
                monkeypatch.undo()
                other.report_engine_event("by another", first)

        monkeypatch.setattr(type(instance.event_log_storage), "_initdb", make_and_record)
        instance.report_engine_event("first", first)
        second = add_run(instance, "second")
        assert what_it_said(instance, first) == ["by another", "first"]
    with closing(sqlite3.connect(database_of(instance, second))) as connection:
        assert connection.execute("SELECT run_id FROM event_logs").fetchall() == [(second.run_id,)]


def test_what_fails_is_not_recorded_in_part(instance: dg.DagsterInstance) -> None:
    storage = instance.run_storage
    with held_connections(instance):
        run = instance.add_run(dg.DagsterRun(job_name="cell"))
        with pytest.raises(ZeroDivisionError), storage.connect() as connection:
            connection.exec_driver_sql("DELETE FROM runs")
            raise ZeroDivisionError
        assert instance.has_run(run.run_id)


def test_an_event_log_of_another_kind_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance, held_connections(instance):
        assert what_it_said(instance, add_run(instance, "said")) == ["said"]
        assert "_connect" not in vars(instance.event_log_storage)


def test_who_watches_a_run_hears_of_its_events_at_once(
    project: Project, instance: dg.DagsterInstance
) -> None:
    """As a run's page does."""
    heard: Queue[str] = Queue()
    with open_instance(project) as other, held_connections(instance):
        run = add_run(instance, "before")
        other.watch_event_logs(run.run_id, None, lambda entry, _: heard.put(entry.dagster_event.message))
        for said in ("first", "second"):
            instance.report_engine_event(said, run)
            while heard.get(timeout=20) != said:
                pass


def test_what_is_recorded_after_a_wipe_is_there(project: Project, instance: dg.DagsterInstance) -> None:
    with held_connections(instance):
        add_run(instance, "for the copy")
        run = add_run(instance, "gone")
        instance.wipe()
        instance.report_engine_event("after", run)
        with open_instance(project) as other:
            assert what_it_said(other, run) == ["after"]


def test_databases_that_were_put_in_place_of_others_are_used(
    project: Project, instance: dg.DagsterInstance
) -> None:
    """Dagster, which opens them for each question, does so too."""
    with held_connections(instance):
        first = add_run(instance, "first")
        for database in (
            database_of(instance, first),
            Path(instance.run_storage._conn_string[len("sqlite:///") :]),
        ):
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            content = database.read_bytes()
            for path in (database, *database.parent.glob(f"{database.name}-*")):
                path.unlink()
            database.write_bytes(content)
        second = instance.add_run(dg.DagsterRun(job_name="cell"))
        instance.report_engine_event("more", first)
        with open_instance(project) as other:
            assert other.has_run(first.run_id) and other.has_run(second.run_id)
            assert what_it_said(other, first) == ["first", "more"]


def test_an_event_that_another_process_records_while_it_is_copied_does_not_come_along(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_connections(instance), open_instance(project) as other:
        first = instance.add_run(dg.DagsterRun(job_name="cell"))

        class Late(sqlite3.Connection):
            def serialize(self, *, name: str = "main") -> bytes:
                other.report_engine_event("by another", first)
                return super().serialize(name=name)

        connect = sqlite3.connect
        monkeypatch.setattr(
            sqlite3,
            "connect",
            lambda path, *given, **named: (
                connect(path, *given, **{"factory": Late, **named})
                if Path(path) == database_of(instance, first) and not named
                else connect(path, *given, **named)
            ),
        )
        instance.report_engine_event("first", first)
        monkeypatch.undo()
        second = add_run(instance, "second")
        assert what_it_said(instance, first) == ["by another", "first"]
    with closing(sqlite3.connect(database_of(instance, second))) as connection:
        assert connection.execute("SELECT run_id FROM event_logs").fetchall() == [(second.run_id,)]


def test_the_log_of_a_database_that_was_deleted_is_not_taken_for_that_of_its_copy(
    project: Project, instance: dg.DagsterInstance
) -> None:
    """A killed process leaves it."""
    with open_instance(project) as other, held_connections(other):
        run = add_run(other, "lost")
        database = database_of(other, run)
        log = database.with_name(f"{database.name}-wal")
        left = log.read_bytes()
    database.unlink()
    log.write_bytes(left)
    with held_connections(instance):
        add_run(instance, "for the copy")
        instance.report_engine_event("again", run)
        assert what_it_said(instance, run) == ["again"]


def test_what_killed_processes_left_aside_is_removed(instance: dg.DagsterInstance) -> None:
    with held_connections(instance):
        for said in ("first", "second"):
            run = instance.add_run(dg.DagsterRun(job_name="cell"))
            left = database_of(instance, run).with_name(f".{run.run_id}.db.0123456789abcdef")
            left.write_bytes(b"half")
            instance.report_engine_event(said, run)
            assert left.exists() == (said == "second"), "it is looked for once"
            assert what_it_said(instance, run) == [said]


def test_a_copy_has_the_permissions_that_sqlite_gives(instance: dg.DagsterInstance) -> None:
    before = os.umask(0)
    try:
        with held_connections(instance):
            runs = [add_run(instance, said) for said in ("by Dagster", "copied")]
    finally:
        os.umask(before)
    assert len({database_of(instance, run).stat().st_mode for run in runs}) == 1


def test_a_forked_process_opens_its_own(project: Project, instance: dg.DagsterInstance) -> None:
    opened: list[Path] = []

    def ask_and_record() -> None:
        connect = sqlite3.connect

        def told(path: Path, *given: object, **named: object) -> sqlite3.Connection:
            opened.append(Path(path))
            return connect(path, *given, **named)

        sqlite3.connect = told
        assert instance.has_run(run.run_id)
        instance.report_engine_event("by a child", run)
        assert database_of(instance, run) in opened

    with held_connections(instance):
        run = add_run(instance, "before")
        child = multiprocessing.get_context("fork").Process(target=ask_and_record)
        child.start()
        child.join(60)
        assert child.exitcode == 0
        instance.report_engine_event("after", run)
        with open_instance(project) as other:
            assert what_it_said(other, run) == ["before", "by a child", "after"]


def test_a_path_is_read_as_dagster_reads_it(tmp_path: Path) -> None:
    """It makes a URL of it, in which an escaped space is a space."""
    for name in ("a b", "a%20b"):
        for folder in ("history/runs", "schedules"):
            (tmp_path / name / folder).mkdir(parents=True)
    with (
        dg.DagsterInstance.from_config(str(tmp_path / "a%20b")) as instance,
        dg.DagsterInstance.from_config(str(tmp_path / "a%20b")) as other,
        held_connections(instance),
    ):
        runs = [add_run(instance, said) for said in ("first", "second")]
        assert [what_it_said(other, run) for run in runs] == [["first"], ["second"]]
