"""Sensors ask for the cells that depend on a change, for each once, and never for a cell that is at work."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from tests.orchestration.workshop import Workshop, normal_image, write_image
from uad_orchestrator.orchestration.automation import stale_cells, tick_digests
from uad_orchestrator.orchestration.automation.weight_watch import FIRST_WAIT, Watch
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG, report_inputs
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.orchestration.versions.weight_paths import weight_files
from uad_orchestrator.storage import digests


def with_weights(values: dict[str, Any]) -> None:
    """One detector without a weight file, two with one each; nothing loads them in a tick."""
    detectors = values["detectors"]
    detectors["cnn"] = detectors.pop("bright") | {
        "embedder": {"name": "resnet18", "weights": "weights/a.pth"}
    }
    detectors["other"] = detectors["cnn"] | {"embedder": {"name": "resnet18", "weights": "weights/b.pth"}}
    del detectors["dino"]


class Ticks:
    """A sensor's ticks one after the other, each with the cursor of the last one."""

    def __init__(self, workshop: Workshop, instance: dg.DagsterInstance, sensor: str) -> None:
        self.workshop, self.instance, self.sensor = workshop, instance, sensor
        self.cursor: str | None = None
        self.reload()

    def reload(self) -> None:
        self.definitions = build_definitions(self.workshop.project)

    def look(self) -> list[dg.RunRequest]:
        with dg.build_sensor_context(
            self.instance, cursor=self.cursor, definitions=self.definitions, sensor_name=self.sensor
        ) as context:
            found = self.definitions.resolve_sensor_def(self.sensor).evaluate_tick(context)
        self.cursor, self.reason = found.cursor, found.skip_message
        return list(found.run_requests)

    def cells(self) -> set[str]:
        requests = self.look()
        assert len({r.run_key for r in requests}) == len(requests)
        return {request.partition_key for request in requests}


@pytest.fixture(scope="module")
def with_two_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, dg.DagsterInstance]]:
    workshop = Workshop.build(tmp_path_factory.mktemp("watched"), {"alpha": ["disc", "ring"]}, train=1)
    drop(workshop, "a.pth", b"first")
    drop(workshop, "b.pth", b"first")
    workshop.edit(with_weights)
    with open_instance(workshop.project) as instance:
        yield workshop, instance


@pytest.fixture
def watched(with_two_files: tuple[Workshop, dg.DagsterInstance]) -> Iterator[tuple[Workshop, Ticks]]:
    """A project with two weight files; the sensor has looked twice."""
    workshop, instance = with_two_files
    text = (workshop.home / "uad.yaml").read_text()
    ticks = Ticks(workshop, instance, "new_checkpoints")
    assert ticks.cells() == set()
    assert ticks.cells() == set()
    yield workshop, ticks
    (workshop.home / "uad.yaml").write_text(text)
    for name in ("a.pth", "b.pth"):
        drop(workshop, name, b"first")
    for run in instance.get_runs():
        instance.delete_run(run.run_id)


def drop(workshop: Workshop, name: str, content: bytes, mtime: int | None = None) -> Path:
    path = workshop.home / "weights" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    if mtime:
        os.utime(path, ns=(mtime, mtime))
    return path


def cells_of(detector: str) -> set[str]:
    return {f"alpha/{category}|{detector}" for category in ("disc", "ring")}


def make_run(instance: dg.DagsterInstance, cell: str, status: DagsterRunStatus) -> dg.DagsterRun:
    """A run of a cell as the queue, the launcher or a refresh would leave it in the instance."""
    run = dg.DagsterRun(job_name="cell", status=DagsterRunStatus.NOT_STARTED, tags={PARTITION_TAG: cell})
    instance.add_run(run)
    if status is DagsterRunStatus.STARTED:
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="cell"), run_id=run.run_id
        )
    return run


def test_changed_checkpoint_asks_for_its_cells_once_and_for_no_others(watched):
    workshop, ticks = watched
    drop(workshop, "a.pth", b"second one")
    assert ticks.cells() == set(), "the first look after a change only remembers it"
    requests = ticks.look()
    assert {request.partition_key for request in requests} == cells_of("cnn")
    assert {request.job_name for request in requests} == {"cell"}
    assert {r.tags["uad/category"] + "|" + r.tags["uad/detector"] for r in requests} == cells_of("cnn")
    assert ticks.cells() == set()
    assert ticks.cells() == set()


def test_file_that_is_still_being_written_is_waited_for(watched):
    workshop, ticks = watched
    for size in range(1, 5):
        drop(workshop, "a.pth", b"x" * size * 1000)
        assert ticks.cells() == set()
    assert ticks.cells() == cells_of("cnn")


def test_going_back_to_an_earlier_file_asks_again_under_a_new_key(watched):
    workshop, ticks = watched
    earlier = (workshop.home / "weights/a.pth").stat().st_mtime_ns
    keys = []
    for content, mtime in ((b"later", None), (b"first", earlier), (b"later", None), (b"first", earlier)):
        drop(workshop, "a.pth", content, mtime)
        ticks.look()
        requests = ticks.look()
        assert {request.partition_key for request in requests} == cells_of("cnn")
        keys += [request.run_key for request in requests]
    assert len(set(keys)) == len(keys), "Dagster drops a key it has seen"


def test_lost_tick_asks_under_the_same_key(watched):
    """Dagster keeps the cursor after the runs are made: a daemon may die in between."""
    workshop, ticks = watched
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    cursor = ticks.cursor
    keys = {request.run_key for request in ticks.look()}
    ticks.cursor = cursor
    assert {request.run_key for request in ticks.look()} == keys


def test_queued_cell_is_not_asked_for_again(watched):
    workshop, ticks = watched
    make_run(ticks.instance, "alpha/disc|cnn", DagsterRunStatus.NOT_STARTED)
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    assert ticks.cells() == {"alpha/ring|cnn"}, "the queued run will read the new file"
    assert ticks.cells() == set()


def test_cell_that_runs_on_the_earlier_file_is_asked_for_when_it_has_ended(watched):
    workshop, ticks = watched
    run = make_run(ticks.instance, "alpha/disc|cnn", DagsterRunStatus.STARTED)
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    assert ticks.cells() == {"alpha/ring|cnn"}
    assert ticks.cells() == set()
    ticks.instance.report_run_failed(ticks.instance.get_run_by_id(run.run_id))
    assert ticks.cells() == {"alpha/disc|cnn"}
    assert ticks.cells() == set()


def test_lost_cell_that_is_at_work_again_is_waited_for(watched, monkeypatch):
    workshop, ticks = watched
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    assert ticks.cells() == cells_of("cnn")
    make_run(ticks.instance, "alpha/disc|cnn", DagsterRunStatus.STARTED)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 2 * FIRST_WAIT)
    assert ticks.cells() == {"alpha/ring|cnn"}


def test_cell_that_left_the_project_is_not_waited_for(watched):
    workshop, ticks = watched
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    assert ticks.cells() == cells_of("cnn")
    workshop.edit(lambda values: values["detectors"].pop("cnn"))
    assert ticks.cells() == set() and "waiting" not in ticks.reason


def test_run_started_after_the_file_came_takes_it_along(watched):
    workshop, ticks = watched
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    make_run(ticks.instance, "alpha/disc|cnn", DagsterRunStatus.STARTED)
    assert ticks.cells() == {"alpha/ring|cnn"}
    assert ticks.cells() == set()


def test_missing_file_is_reported_and_the_rest_goes_on(watched):
    workshop, ticks = watched
    (workshop.home / "weights/a.pth").unlink()
    drop(workshop, "b.pth", b"second one")
    ticks.look()
    assert "a.pth" in ticks.reason and "No such file" in ticks.reason
    assert ticks.cells() == cells_of("other")


def test_file_that_appears_is_a_change(watched):
    workshop, ticks = watched
    path = workshop.home / "weights/a.pth"
    content, mtime = path.read_bytes(), path.stat().st_mtime_ns
    path.unlink()
    ticks.look()
    drop(workshop, "a.pth", content, mtime)
    assert ticks.cells() | ticks.cells() == set(), "it is back as it was"
    drop(workshop, "a.pth", b"second one")
    assert ticks.cells() | ticks.cells() == cells_of("cnn")


def test_unreadable_folder_is_reported_and_the_rest_goes_on(watched):
    workshop, ticks = watched
    (workshop.home / "locked").write_text("a file where a folder was")
    drop(workshop, "b.pth", b"second one")
    ticks.look()
    workshop.edit(lambda values: values["detectors"]["cnn"]["embedder"].update(weights="locked/a.pth"))
    assert ticks.cells() == cells_of("other")
    assert ticks.cells() == set()
    assert "Not a directory" in ticks.reason


def test_change_missed_before_the_first_look_is_seen_by_what_is_recorded(watched, monkeypatch):
    """Cells made from an earlier file are asked for; those made from this one, or never made, are not."""
    monkeypatch.setattr(digests, "SETTLED_NS", 0)  # or the digest of so new a file is not remembered
    workshop, ticks = watched
    state = open_state(workshop.project)
    made = [state.input("checkpoint", Cell.from_key(key)) for key in ("alpha/disc|cnn", "alpha/disc|other")]
    report_inputs(ticks.instance, workshop.project, made, open_store(workshop.project))
    ticks.cursor = None
    assert ticks.cells() | ticks.cells() == set()
    drop(workshop, "b.pth", b"while nobody looked")
    ticks.cursor = None
    assert ticks.cells() | ticks.cells() == {"alpha/disc|other"}
    ticks.instance.wipe_assets([asset_key(workshop.project, "checkpoint")])


def test_cell_whose_run_never_came_is_asked_for_again_a_few_times_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run died before it began, say: Dagster asks for nothing again."""
    workshop = Workshop.build(tmp_path, {"alpha": ["disc", "ring"]}, train=1)
    drop(workshop, "a.pth", b"first")
    drop(workshop, "b.pth", b"first")
    workshop.edit(with_weights)
    with open_instance(workshop.project) as instance:
        ticks = Ticks(workshop, instance, "new_checkpoints")
        ticks.look()
        ticks.look()
        follow_a_lost_cell(workshop, ticks, monkeypatch)


def follow_a_lost_cell(workshop: Workshop, ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    monkeypatch.setattr("time.time", lambda: now[0])
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    keys = {request.run_key for request in ticks.look()}
    assert len(keys) == 2
    assert ticks.cells() == set() and "waiting for alpha/disc|cnn, alpha/ring|cnn" in ticks.reason
    state = open_state(workshop.project)
    made = [state.input("checkpoint", Cell.from_key("alpha/ring|cnn"))]
    report_inputs(ticks.instance, workshop.project, made, open_store(workshop.project))
    for wait in (FIRST_WAIT, 4 * FIRST_WAIT, 16 * FIRST_WAIT):
        now[0] += wait - 1
        assert ticks.cells() == set() and ticks.reason.startswith("waiting for alpha/disc|cnn:")
        now[0] += 1
        again = ticks.look()
        assert [request.partition_key for request in again] == ["alpha/disc|cnn"]
        assert again[0].run_key not in keys
        keys.add(again[0].run_key)
    now[0] += 1000 * FIRST_WAIT
    assert ticks.cells() == set() and "asked for 4 times and never materialised" in ticks.reason
    assert ticks.cells() == set() and "no change" in ticks.reason


@pytest.fixture
def grouped(watched: tuple[Workshop, Ticks]) -> tuple[Workshop, Ticks]:
    """Two detectors that share the first weight file and its embeddings, in one run per category."""
    workshop, ticks = watched

    def share(values: dict[str, Any]) -> None:
        values["detectors"]["few"] = values["detectors"]["cnn"] | {"coreset": {"ratio": 0.5}}
        values["runtime"].update(run_per="embedder")

    workshop.edit(share)
    ticks.reload()
    ticks.cursor = None
    assert ticks.look() == ticks.look() == []
    return workshop, ticks


def test_changed_checkpoint_asks_for_runs_of_groups(grouped):
    workshop, ticks = grouped
    make_run(ticks.instance, "alpha/ring|few", DagsterRunStatus.NOT_STARTED)
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    requests = {request.partition_key: request for request in ticks.look()}
    assert set(requests) == {"alpha/disc: cnn..few", "alpha/ring: cnn..few"}
    assert {request.job_name for request in requests.values()} == {"cells"}
    meant = {name: json.loads(request.tags["uad/selection"]) for name, request in requests.items()}
    assert meant == {
        "alpha/disc: cnn..few": {"categories": ["alpha/disc"], "detectors": ["cnn", "few"], "asset": None},
        "alpha/ring: cnn..few": {"categories": ["alpha/ring"], "detectors": ["cnn"], "asset": None},
    }
    assert ticks.look() == []


def test_group_the_code_location_does_not_know_yet_is_asked_for_by_its_cells(grouped):
    workshop, ticks = grouped
    workshop.edit(lambda values: values["detectors"].pop("cnn"))  # the group has another name by now
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    assert ticks.cells() == cells_of("few")


def test_group_that_was_found_fresh_is_not_waited_for(grouped):
    """The file was written anew with what it held: its run computes nothing."""
    workshop, ticks = grouped
    drop(workshop, "a.pth", b"first")
    ticks.look()
    requests = {request.partition_key: request for request in ticks.look()}
    done = requests["alpha/disc: cnn..few"]
    tags = {**done.tags, "dagster/run_key": done.run_key, PARTITION_TAG: done.partition_key}
    ticks.instance.add_run(dg.DagsterRun(job_name="cells", status=DagsterRunStatus.SUCCESS, tags=tags))
    assert ticks.look() == []
    assert ticks.reason.startswith("waiting for alpha/ring|cnn, alpha/ring|few:")


def test_broken_project_file_is_reported_and_nothing_is_forgotten(watched):
    workshop, ticks = watched
    text = (workshop.home / "uad.yaml").read_text()
    cursor = ticks.cursor
    (workshop.home / "uad.yaml").write_text("detectors: [")
    assert ticks.cells() == set()
    assert "uad.yaml" in ticks.reason
    (workshop.home / "uad.yaml").write_text(text)
    ticks.cursor = ticks.cursor or cursor  # Dagster keeps the cursor of a tick that gives none
    drop(workshop, "a.pth", b"second one")
    assert ticks.cells() | ticks.cells() == cells_of("cnn")


def test_cell_the_code_location_does_not_know_yet_is_said_not_asked_for(watched):
    workshop, ticks = watched

    def add(values: dict[str, Any]) -> None:
        values["detectors"]["third"] = values["detectors"]["cnn"]

    workshop.edit(add)
    drop(workshop, "a.pth", b"second one")
    ticks.look()
    assert "Reload definitions" in ticks.reason
    assert ticks.cells() == cells_of("cnn")


def test_checkpoint_named_by_category_belongs_to_its_cell_alone(watched):
    workshop, _ = watched
    project = workshop.project
    entry = project.detectors["patchcore"].model_copy(update={"checkpoint": "w/{dataset}/{category}.ckpt"})
    project = project.model_copy(update={"detectors": {"patchcore": entry}})
    files = {
        category: weight_files(project, Cell.from_key(f"alpha/{category}|patchcore"))
        for category in ("disc", "ring")
    }
    assert files == {name: [str(workshop.home / f"w/alpha/{name}.ckpt")] for name in files}


def test_an_openvino_checkpoint_is_watched_with_its_weights(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]}, train=1)
    (tmp_path / "m.xml").write_text("graph")
    workshop.edit(
        lambda values: values.update(
            detectors={"ov": {"model": "vision_padim_anomalib", "checkpoint": "m.xml"}}
        )
    )
    found = weight_files(workshop.project, Cell.from_key("alpha/disc|ov"))
    assert found == [str(tmp_path / "m.xml"), str(tmp_path / "m.bin")]


def test_cursor_of_an_unknown_shape_starts_the_watch_anew():
    for text in (None, "", "not json", "[]", '{"files": {"a": {"size": 1}}}'):
        assert Watch.from_cursor(text).files == {}


def test_sensors_are_on_and_off_as_documented(watched):
    workshop, ticks = watched
    workshop.edit(lambda values: values.update(automation={"watch_checkpoints": 7}))
    ticks.reload()
    checkpoints, stale = (ticks.definitions.resolve_sensor_def(n) for n in ("new_checkpoints", "stale_cells"))
    assert checkpoints.default_status is dg.DefaultSensorStatus.RUNNING
    assert checkpoints.minimum_interval_seconds == 7
    assert stale.default_status is dg.DefaultSensorStatus.STOPPED


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workshop = Workshop.build(
        tmp_path_factory.mktemp("stale"), {"alpha": ["disc"], "beta": ["disc"]}, train=3
    )
    workshop.edit(lambda values: values["detectors"].pop("dino"))
    assert not workshop.refresh().failed
    return workshop.home


@pytest.fixture
def stale(refreshed: Path, tmp_path: Path) -> Iterator[tuple[Workshop, Ticks]]:
    """A project all of whose cells are fresh."""
    shutil.copytree(refreshed, tmp_path / "home")
    workshop = Workshop(tmp_path / "home")
    with open_instance(workshop.project) as instance:
        yield workshop, Ticks(workshop, instance, "stale_cells")


def change_preset(workshop: Workshop, gamma: float) -> None:
    workshop.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=gamma))


BRIGHT = {"alpha/disc|bright", "beta/disc|bright"}


def test_stale_cells_asks_for_the_plans_cells_and_then_for_the_leaderboard(stale):
    workshop, ticks = stale
    assert ticks.look() == []
    change_preset(workshop, 1.5)
    requests = ticks.look()
    assert {request.partition_key for request in requests} == BRIGHT
    for request in requests:
        assert [key.path[-1] for key in request.asset_selection] == list(CELL_ASSETS[1:])
        assert request.asset_check_keys == [], "the job `cell` leaves checks out"
        job = ticks.definitions.resolve_job_def(request.job_name)
        assert job.execute_in_process(
            instance=ticks.instance,
            partition_key=request.partition_key,
            asset_selection=list(request.asset_selection),
        ).success
    (board,) = ticks.look()
    assert board.job_name == "leaderboard"
    assert (
        ticks.definitions.resolve_job_def("leaderboard").execute_in_process(instance=ticks.instance).success
    )
    assert ticks.look() == []
    assert workshop.plan().stale == ()


def test_failed_cell_is_retried_twice_per_version(stale, monkeypatch):
    """Runs that are asked for and change nothing stand for runs that fail."""
    monkeypatch.setattr(stale_cells, "CELLS_PER_TICK", 1)
    workshop, ticks = stale
    change_preset(workshop, 1.5)
    requests = [request for _ in range(10) for request in ticks.look()]
    asked = [request for request in requests if request.job_name == "cell"]
    assert len(requests) - len(asked) <= 3, "so is the leaderboard"
    assert sorted(request.partition_key for request in asked) == sorted([*BRIGHT] * 3), "one at a time"
    assert len({request.run_key for request in asked}) == 6
    assert "failed 3 times" in ticks.reason
    change_preset(workshop, 1.6)
    assert len(ticks.look()) == 1, "another version starts anew"


def test_stale_cell_at_work_is_not_asked_for(stale):
    workshop, ticks = stale
    change_preset(workshop, 1.5)
    make_run(ticks.instance, "alpha/disc|bright", DagsterRunStatus.STARTED)
    assert ticks.cells() == {"beta/disc|bright"}


def test_unreadable_dataset_is_reported_and_the_rest_goes_on(stale):
    workshop, ticks = stale
    change_preset(workshop, 1.5)
    shutil.rmtree(workshop.home / "data/beta")
    assert ticks.cells() == {"alpha/disc|bright"}
    make_run(ticks.instance, "alpha/disc|bright", DagsterRunStatus.STARTED)
    assert ticks.cells() == set()
    assert "beta" in ticks.reason


def test_large_weight_file_is_fingerprinted_by_the_run_not_by_the_tick(stale, monkeypatch):
    monkeypatch.setattr(tick_digests, "LARGEST", 10)
    workshop, ticks = stale

    def add(values: dict[str, Any]) -> None:
        values["detectors"]["cnn"] = {
            "model": "vision_patchcore",
            "embedder": {"name": "resnet18", "weights": "weights/a.pth"},
        }

    drop(workshop, "a.pth", b"more than ten bytes")
    workshop.edit(add)
    ticks.reload()
    requests = ticks.look()
    assert {request.partition_key for request in requests} == {"alpha/disc|cnn", "beta/disc|cnn"}
    assert [key.path[-1] for key in requests[0].asset_selection] == list(CELL_ASSETS)


def test_tick_without_time_left_hashes_nothing_new(stale, monkeypatch):
    monkeypatch.setattr(stale_cells, "HASHING_SECONDS", 0)
    workshop, ticks = stale
    write_image(workshop.home / "data/alpha/disc/train/good/009.png", normal_image(99))
    change_preset(workshop, 1.5)
    requests = ticks.cells()
    assert "alpha/disc|bright" not in requests
    assert "later tick" in (ticks.reason or "later tick")
