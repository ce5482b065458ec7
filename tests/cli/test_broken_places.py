"""Where a project writes is broken, locked or full: said in words, exit status 1, and nothing is lost."""

from __future__ import annotations

import errno
import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.invoke import uad
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.storage import atomic
from uad_orchestrator.storage.artifacts.locations import LocalLocation

DEEP = b"a: " + b"[" * 3000 + b"]" * 3000


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    built = Workshop.build(tmp_path_factory.mktemp("refreshed") / "home", {"alpha": ["disc"]}, train=4)
    assert not built.refresh(Selection(detectors=("patchcore",))).failed
    return built


@pytest.fixture
def home(refreshed: Workshop, tmp_path: Path) -> Path:
    return refreshed.copied_to(tmp_path / "home").home


@pytest.mark.parametrize("command", ["plan", "refresh", "check"])
@pytest.mark.parametrize("database", ["runs.db", "runs/index.db"])
def test_a_broken_dagster_store_is_named_and_said_how_to_mend(
    home: Path, command: str, database: str
) -> None:
    dagster = home / ".uad/dagster"
    (dagster / "history" / database).write_bytes(b"no database at all" * 300)
    found = uad(command, "--home", home)
    assert found.exit_code == 1
    said = found.stderr + found.stdout
    assert str(dagster) in said and "not a database" in said and "move that folder aside" in said
    assert "Traceback" not in said
    dagster.rename(home / "aside")
    again = json.loads(uad("refresh", "--detector", "patchcore", "--home", home, "--json").stdout)
    assert again["embedded_images"] == 0 and not again["failed"]
    assert all(done["reused"] for done in again["materialized"] if done["asset"] in STAGES)


@pytest.mark.parametrize(
    "text", [b"telemetry: {enabled: [", b"\xd9\xff", b"- a list", b"run_monitoring: 3", DEEP]
)
def test_broken_settings_of_dagster_are_named_and_said_how_to_mend(home: Path, text: bytes) -> None:
    settings = home / ".uad/dagster/dagster.yaml"
    settings.write_bytes(text)
    found = uad("plan", "--home", home)
    assert found.exit_code == 1 and str(settings) in found.stderr and "remove it" in found.stderr
    settings.unlink()
    assert uad("plan", "--home", home).exit_code == 0


def test_damage_that_is_met_in_the_midst_of_a_command_is_named_too(home: Path) -> None:
    database = home / ".uad/dagster/history/runs/index.db"
    with sqlite3.connect(database) as events:
        events.execute("PRAGMA writable_schema = ON")
        ((page,),) = events.execute("SELECT rootpage FROM sqlite_master WHERE name = 'event_logs'")
        ((size,),) = events.execute("PRAGMA page_size")
    data = bytearray(database.read_bytes())
    data[(page - 1) * size : page * size] = bytes(range(256)) * (size // 256)
    database.write_bytes(data)
    found = uad("refresh", "--home", home)
    assert found.exit_code == 1 and str(home / ".uad/dagster") in found.stderr
    assert "malformed" in found.stderr and "move that folder aside" in found.stderr


def test_a_damaged_index_says_how_to_mend_it(home: Path) -> None:
    index = home / ".uad/uad.duckdb"
    data = bytearray(index.read_bytes())
    index.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    found = uad(
        "sql", "FROM materialization JOIN lineage USING (asset) JOIN metric USING (asset)", "--home", home
    )
    assert found.exit_code == 2 and str(index) in found.stderr and "uad lineage rebuild" in found.stderr
    assert uad("lineage", "rebuild", "--home", home).exit_code == 0
    assert "lineage rebuild" not in uad("sql", "FROM nothing", "--home", home).stderr
    assert uad("sql", "FROM materialization JOIN lineage USING (asset)", "--home", home).exit_code == 0


def test_a_locked_dagster_store_is_waited_for_and_then_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "data/alpha/disc/train/good/000.png").unlink()
    held = sqlite3.connect(home / ".uad/dagster/history/runs.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    found = uad("refresh", "--home", home)
    held.close()
    assert (
        found.exit_code == 1
        and "database is locked" in found.stderr
        and "run the command again" in found.stderr
    )
    assert uad("refresh", "--home", home).exit_code == 0


def test_a_full_disk_fails_the_cell_in_words_and_leaves_nothing_half_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "data/alpha/disc/train/good/000.png").unlink()

    def full(self: LocalLocation, *given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.root))

    with monkeypatch.context() as patched:
        patched.setattr(LocalLocation, "publish", full)
        found = uad("refresh", "--home", home)
    assert found.exit_code == 1 and "No space left on device" in found.stderr and ".uad" in found.stderr
    assert "Traceback" not in found.stderr
    assert not list((home / ".uad/scratch").iterdir())
    assert uad("refresh", "--home", home).exit_code == 0


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("report", "--output", "shut/report"), "shut"),
        (("export", "bundle", "--detector", "patchcore", "--output", "shut/bundle"), "shut"),
    ],
)
def test_where_one_may_not_write_the_message_says_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], place: str
) -> None:
    def shut(*given: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", place)

    monkeypatch.setattr("uad_orchestrator.orchestration.services.reports.save_report", shut)
    monkeypatch.setattr("uad_orchestrator.inference.bundle_files.save_bundle", shut)
    found = uad(*command, "--home", home)
    assert found.exit_code == 1
    assert (
        f"Error: {place}: permission denied: let this user read and write there, or name another place"
        in (found.stderr)
    )


def test_a_report_that_cannot_be_written_says_where(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(path: Path, *given: object, **more: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(atomic, "new_file", read_only)
    monkeypatch.setattr("uad_orchestrator.reporting.html_report.new_file", read_only, raising=False)
    found = uad("report", "--home", home)
    assert found.exit_code == 1 and "Read-only file system" in found.stderr and "report.html" in found.stderr
