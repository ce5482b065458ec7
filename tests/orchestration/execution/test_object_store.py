"""A project on S3: the same figures as on a disk, few requests, and every machine sees what another did."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from docs.scripts import scale_figures
from tests.object_store import ObjectStore, answer, ignore_condition, running_store
from tests.orchestration.workshop import Workshop, write_category
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.assets import cell as cell_assets
from uad_orchestrator.orchestration.cells.board import current_board, report_of
from uad_orchestrator.orchestration.services.project_check.disk import DiskNeed
from uad_orchestrator.orchestration.services.project_check.storage import storage_problems
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS
from uad_orchestrator.orchestration.versions.stores import open_index, open_state, open_store
from uad_orchestrator.reporting.board.leaderboard import Leaderboard


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStore]:
    with running_store() as server:
        yield server


@pytest.fixture(scope="module")
def homes(
    s3: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workshop, Workshop, dict[str, int]]:
    """Two homes of one cell on one store, both refreshed, and the requests of each refresh."""
    folder = tmp_path_factory.mktemp("homes")
    first = Workshop.build(folder / "first", {"parts": ["bolt"]})
    url = s3.folder()

    def on_s3(values: dict[str, Any]) -> None:
        values["storage"] = {"root": url, "local": "local"}
        values["detectors"] = {"patchcore": values["detectors"]["patchcore"]}

    first.edit(on_s3)
    second = first.copied_to(folder / "second")
    counts = {"first": requests(s3, first.refresh), "second": requests(s3, second.refresh)}
    return first, second, counts


def requests(s3: ObjectStore, work: Callable[[], object]) -> int:
    """How many requests some work takes."""
    s3.requests.clear()
    work()
    return len(s3.requests)


def board(home: Workshop) -> Leaderboard:
    project = home.project
    return current_board(open_state(project), open_store(project))


def report(home: Workshop) -> MetricsReport | None:
    state = open_state(home.project)
    return report_of(state.cells[0], state, open_store(home.project))


def test_a_cell_takes_few_requests(homes: tuple[Workshop, Workshop, dict[str, int]]) -> None:
    *_, counts = homes
    assert counts["first"] <= 60
    assert counts["second"] <= 12, "all is reused"


def test_the_page_on_scale_has_what_a_cell_takes(homes: tuple[Workshop, Workshop, dict[str, int]]) -> None:
    first, _, counts = homes
    runs = {path.stem: path for path in (first.home / "local/dagster/history/runs").glob("*-*.db")}
    of_runs = {}
    for name, path in runs.items():
        with closing(sqlite3.connect(path)) as connection:
            query = (
                "SELECT count(*), sum(length(event)), sum(dagster_event_type = 'STEP_START') FROM event_logs"
            )
            of_runs[name] = connection.execute(query).fetchone()
    ((cell, (rows, size, _)),) = [(n, found) for n, found in of_runs.items() if found[2] == len(CELL_ASSETS)]
    assert rows == scale_figures.EVENT_ROWS
    assert size == pytest.approx(scale_figures.EVENT_BYTES, rel=0.25)
    assert runs[cell].stat().st_size == pytest.approx(scale_figures.RUN_FILE_BYTES, rel=0.25)
    told = {"first": scale_figures.FIRST_REQUESTS, "second": scale_figures.REUSED_REQUESTS}
    assert counts == pytest.approx(told, rel=0.2)


def test_plan_and_board_take_as_many_for_one_fresh_cell_as_for_many(
    s3: ObjectStore, homes: tuple[Workshop, Workshop, dict[str, int]], tmp_path: Path
) -> None:
    first, *_ = homes
    many = first.copied_to(tmp_path / "many")
    write_category(many.home / "data/parts/nut", 5000, train=4)
    many.edit(lambda values: values["datasets"]["parts"].update(categories=["bolt", "nut"]))
    assert not many.refresh().failed
    for home in (first, many):
        board(home)  # what other machines wrote is read once
        assert requests(s3, home.plan) == requests(s3, lambda home=home: board(home)) == 1  # type: ignore[misc]
    assert [row.status for row in board(many).rows] == ["fresh", "fresh"]


def test_the_figures_are_those_of_a_disk(
    homes: tuple[Workshop, Workshop, dict[str, int]], tmp_path: Path
) -> None:
    first, second, _ = homes
    on_disk = first.copied_to(tmp_path / "on_disk")
    on_disk.edit(lambda values: values.update(storage={"root": "artifacts"}))
    assert not on_disk.refresh().failed
    expected, found, reused = report(on_disk), report(first), report(second)
    assert expected is not None and found is not None and reused is not None
    assert found.metrics == reused.metrics
    timed = {name for name in expected.metrics if "seconds" in name or "per_second" in name}
    for name in set(expected.metrics) - timed:
        assert found.metrics[name] == expected.metrics[name], name
    assert found.versions == expected.versions


def test_a_failure_on_one_machine_is_on_the_board_of_another(
    s3: ObjectStore,
    homes: tuple[Workshop, Workshop, dict[str, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, *_ = homes
    here, there = (first.copied_to(tmp_path / name) for name in ("here", "there"))

    def other_settings(values: dict[str, Any]) -> None:
        values["detectors"]["patchcore"]["coreset"] = {"ratio": 0.2}

    for home in (here, there):
        home.edit(other_settings)

    def full(*arguments: object) -> None:
        raise RuntimeError("the disk of this machine is full")

    with monkeypatch.context() as patch:
        patch.setattr(cell_assets, "COMPUTE", {**cell_assets.COMPUTE, "memory_bank": full})
        assert here.refresh().failed
    (row,) = board(there).rows
    assert row.status == "failed" and "the disk of this machine is full" in str(row.reason)
    assert not there.refresh().failed
    assert [row.status for row in board(here).rows] == ["fresh"], "computed since, on the other machine"


def test_a_store_where_the_last_writer_stays_is_a_warning_of_check(
    s3: ObjectStore, homes: tuple[Workshop, Workshop, dict[str, int]]
) -> None:
    project, need = homes[0].project, DiskNeed(0, 0)
    assert list(storage_problems(project, need)) == []
    with s3.going_wrong("PUT", "", ignore_condition):
        (problem,) = storage_problems(project, need)
    assert problem.severity == "warning" and "overwrites where a file should be created once" in str(problem)
    with s3.going_wrong("PUT", "", answer("403 Forbidden", "AccessDenied")):
        (problem,) = storage_problems(project, need)
    assert problem.severity == "error" and "cannot be written to" in str(problem)
    assert list(storage_problems(project, need)) == []


def test_the_index_learns_what_another_machine_made(
    s3: ObjectStore, homes: tuple[Workshop, Workshop, dict[str, int]]
) -> None:
    first, second, _ = homes
    query = "SELECT asset, version FROM materialization WHERE NOT reused ORDER BY asset, version"
    theirs = open_index(open_store(first.project)).sql(query).rows
    index = open_index(open_store(second.project))
    assert len(theirs) >= 15 and index.sql(query).rows == theirs
    assert requests(s3, lambda: index.sql(query)) == 1, "a listing; what is known is not read again"
