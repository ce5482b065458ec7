"""The Dagster component: in a dg project as the page describes it, beside another one, and wrongly described."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from typer.testing import CliRunner

from tests.orchestration.workshop import Workshop, normal_image, write_image
from uad_orchestrator.cli import app
from uad_orchestrator.component import UadBenchmark
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_versions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.execution.refresh import refresh
from uad_orchestrator.orchestration.ingestion import folders
from uad_orchestrator.orchestration.planning.plan import Planner
from uad_orchestrator.orchestration.versions.graph import NODES, STAGES
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project, ProjectError, settings

PAGE = (Path(__file__).parents[1] / "docs" / "dagster-component.md").read_text()
CELL = "line7/housing|patchcore"
JOBS = {"cell", "inputs", "settings", "leaderboard", "recalibrate"}
SENSORS = {"new_checkpoints", "stale_cells"}
RESOURCES = {"project_inputs", "embedders"}


def block(name: str) -> str:
    """The code below a mark of the page."""
    (found,) = re.findall(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return found


def build(home: Path, *, train: int = 3) -> Workshop:
    """A benchmark of one category and one detector."""
    workshop = Workshop.build(home, {"line7": ["housing"]}, train=train)
    workshop.edit(lambda values: values.update(detectors={"patchcore": values["detectors"]["patchcore"]}))
    return workshop


class DgProject:
    """A dg project as `uv run create-dagster` lays it out, with components in it."""

    def __init__(self, root: Path, module: str) -> None:
        self.root, self.module = root, module
        self.defs = root / "src" / module / "defs"
        self.write(root / "pyproject.toml", f"""\
            [project]
            name = "{module}"
            version = "0.1.0"
            requires-python = ">=3.11"

            [tool.dg]
            directory_type = "project"

            [tool.dg.project]
            root_module = "{module}"
        """)  # fmt: skip
        self.write(root / "src" / module / "__init__.py", "")
        self.write(self.defs / "__init__.py", "")
        self.write(root / "src" / module / "definitions.py", """\
            from pathlib import Path

            from dagster import definitions, load_from_defs_folder


            @definitions
            def defs():
                return load_from_defs_folder(path_within_project=Path(__file__).parent)
        """)  # fmt: skip

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def add(self, name: str, **attributes: Any) -> None:
        """Describe a component in a folder of its own."""
        described = {"type": "uad_orchestrator.UadBenchmark", "attributes": attributes}
        self.write(self.defs / name / "defs.yaml", yaml.safe_dump(described))

    def load(self, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
        """All its definitions, in this process."""
        monkeypatch.syspath_prepend(str(self.root / "src"))
        return dg.load_from_defs_folder(path_within_project=self.root)

    def run(self, command: str, home: Path) -> subprocess.CompletedProcess[str]:
        """A shell command in its folder, with an instance of its own."""
        home.mkdir(exist_ok=True)
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root / "src"),  # where the project is installed
            "DAGSTER_HOME": str(home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "COLUMNS": "200",
        }
        shell = ["bash", "-euo", "pipefail", "-c", command]
        return subprocess.run(
            shell, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )


def named(project: Project, **dagster: Any) -> Project:
    """The project under other names in Dagster."""
    names = settings.DagsterSettings.model_validate(project.dagster.model_dump() | dagster)
    return project.model_copy(update={"dagster": names})


def names_of(definitions: dg.Definitions) -> dict[str, set[str]]:
    """What definitions are called, by kind."""
    repository = definitions.get_repository_def()
    jobs = {job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")}
    return {
        "assets": {key.to_user_string() for key in definitions.resolve_all_asset_keys()},
        "jobs": jobs,
        "sensors": {sensor.name for sensor in repository.sensor_defs},
        "schedules": {schedule.name for schedule in repository.schedule_defs},
        "resources": set(definitions.resources or {}),
    }


@pytest.fixture(scope="module")
def computed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Workshop, Project, dg.DagsterInstance]]:
    """A benchmark refreshed by two workers under the prefix a component gives it; the file has none."""
    workshop = build(tmp_path_factory.mktemp("computed"))
    place = workshop.home / "defs.yaml"
    project = UadBenchmark(home=".", key_prefix=["plant", "line7"], pools={"memory_bank": "gpu"}).project(
        place
    )
    with open_instance(project) as instance:
        result = refresh(project, instance, workers=2)
        assert not result.failed
        yield workshop, project, instance


@pytest.mark.end_to_end
def test_a_dg_project_as_the_page_describes_it(tmp_path: Path) -> None:
    build(tmp_path / "benchmarks/line7")
    build(tmp_path / "benchmarks/other")
    plant = DgProject(tmp_path, "plant")
    plant.write(plant.defs / "line7/defs.yaml", block("defs.yaml"))
    plant.add("other", home="{{ context.project_root }}/benchmarks/other")
    done = plant.run(block("commands"), tmp_path / "instance")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "uad_orchestrator.UadBenchmark" in done.stdout
    assert "All definitions loaded successfully" in done.stdout
    listed, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("\n{") :].lstrip())
    groups = {asset["asset_key"]: asset["group_name"] for asset in listed["assets"]}
    assert groups == {name: node.group for name, node in NODES.items()} | {
        f"line7/{name}": "inspection" for name in NODES
    }
    assert {job["name"] for job in listed["jobs"]} == JOBS | {f"line7__{name}" for name in JOBS}
    clicked = plant.run(f"dg launch --assets memory_bank --partition '{CELL}'", tmp_path / "instance")
    assert clicked.returncode == 0, clicked.stdout[-3000:] + clicked.stderr[-3000:]
    made = sorted(
        (tmp_path / "benchmarks").glob("*/.uad/artifacts/*/line7/housing/patchcore/*/provenance.json")
    )
    assets = {(path.relative_to(tmp_path / "benchmarks").parts[0], path.parts[-6]) for path in made}
    assert assets >= {("line7", stage) for stage in STAGES} | {("other", "memory_bank")}
    assert ("other", "score_table") not in assets
    with dg.DagsterInstance.from_config(str(tmp_path / "instance")) as instance:
        for key in (["line7", "metrics_report"], ["memory_bank"]):
            assert instance.get_materialized_partitions(dg.AssetKey(key)) == {CELL}
        assert not instance.get_materialized_partitions(dg.AssetKey("metrics_report"))


def test_the_package_does_without_dagster_until_the_component_is_asked_for() -> None:
    code = """
        import sys, uad_orchestrator
        assert "UadBenchmark" in dir(uad_orchestrator) and "dagster" not in sys.modules
        assert uad_orchestrator.UadBenchmark.__name__ == "UadBenchmark"
        ours = {name for name in sys.modules if name.partition(".")[0] == "uad_orchestrator"}
        assert ours == {"uad_orchestrator", "uad_orchestrator.component"}, ours
        assert not hasattr(uad_orchestrator, "UadBenchmarks")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_component_is_registered_under_the_name_a_defs_yaml_has() -> None:
    from importlib.metadata import entry_points

    (ours,) = entry_points(group="dagster_dg_cli.registry_modules", name="uad_orchestrator")
    assert getattr(ours.load(), "UadBenchmark") is UadBenchmark  # noqa: B009 - as dg looks it up
    assert yaml.safe_load(block("defs.yaml"))["type"] == f"{ours.value}.UadBenchmark"


def test_every_attribute_stands_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert set(rows) == set(UadBenchmark.model_fields)
    assert set(UadBenchmark.model_fields) - {"home"} <= set(settings.DagsterSettings.model_fields)
    assert set(settings.PoolSettings.model_fields) == set(STAGES)
    assert all(f"`{stage}`" in PAGE for stage in STAGES)


def test_without_a_prefix_names_are_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop = build(tmp_path / "home")
    workshop.edit(lambda values: values.update(automation={"recalibrate": "0 3 * * *"}))
    plant = DgProject(tmp_path, "plain_plant")
    plant.add("line7", home=str(workshop.home))
    assert names_of(plant.load(monkeypatch)) == {
        "assets": set(NODES),
        "jobs": JOBS,
        "sensors": SENSORS,
        "schedules": {"recalibrate"},
        "resources": RESOURCES,
    }


def test_a_key_prefix_in_the_file_is_for_assets_and_a_name_prefix_for_the_rest(tmp_path: Path) -> None:
    workshop = build(tmp_path)
    workshop.edit(lambda values: values.update(automation={"recalibrate": "0 3 * * *"}))
    plain = {"jobs": JOBS, "sensors": SENSORS, "schedules": {"recalibrate"}, "resources": RESOURCES}
    keyed = names_of(build_definitions(named(workshop.project, key_prefix="line7")))
    assert keyed == {"assets": {f"line7/{name}" for name in NODES}, **plain}
    renamed = names_of(build_definitions(named(workshop.project, name_prefix="line7")))
    assert renamed == {
        "assets": set(NODES),
        **{kind: {f"line7__{name}" for name in names} for kind, names in plain.items()},
    }


def test_two_benchmarks_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second", train=4)
    for workshop in (first, second):
        workshop.edit(lambda values: values.update(automation={"recalibrate": "0 3 * * *"}))
    plant = DgProject(tmp_path, "double_plant")
    plant.add("first", home="../../../../first", key_prefix="line7")
    plant.add("second", home="../../../../second", key_prefix=["plant", "line7"])
    plant.write(plant.defs / "own.py", """\
        import dagster as dg

        defs = dg.Definitions(executor=dg.multiprocess_executor, resources={"project_inputs": 3})
    """)  # fmt: skip
    definitions = plant.load(monkeypatch)
    dg.Definitions.validate_loadable(definitions)
    prefixes = ("line7__", "plant__line7__")
    assert names_of(definitions) == {
        "assets": {f"{prefix}/{name}" for prefix in ("line7", "plant/line7") for name in NODES},
        "jobs": {prefix + name for prefix in prefixes for name in JOBS},
        "sensors": {prefix + name for prefix in prefixes for name in SENSORS},
        "schedules": {prefix + "recalibrate" for prefix in prefixes},
        "resources": {prefix + name for prefix in prefixes for name in RESOURCES} | {"project_inputs"},
    }
    projects = [
        named(first.project, key_prefix="line7", name_prefix="line7"),
        named(second.project, key_prefix=["plant", "line7"], name_prefix=["plant", "line7"]),
    ]
    with dg.DagsterInstance.local_temp() as instance:
        for prefix in prefixes:
            job = definitions.resolve_job_def(f"{prefix}cell")
            assert job.execute_in_process(instance=instance, partition_key=CELL).success
        for project in projects:
            expected = open_state(project)
            for asset in STAGES:
                (version,) = recorded_versions(instance, project, asset).values()
                assert version == expected.version(asset, expected.cells[0])
        one, other = (recorded_versions(instance, project, "memory_bank") for project in projects)
        assert one != other, "each was computed from its own images"


def test_a_sensor_asks_for_jobs_by_their_prefixed_names(tmp_path: Path) -> None:
    workshop = build(tmp_path)
    project = named(workshop.project, key_prefix="line7", name_prefix="line7")
    definitions = build_definitions(project)
    with open_instance(project) as instance:

        def look() -> list[dg.RunRequest]:
            with dg.build_sensor_context(
                instance, definitions=definitions, sensor_name="line7__stale_cells"
            ) as context:
                found = definitions.resolve_sensor_def("line7__stale_cells").evaluate_tick(context)
            return list(found.run_requests)

        (request,) = look()
        assert (request.job_name, request.partition_key) == ("line7__cell", CELL)
        assert {key.path[0] for key in request.asset_selection} == {"line7"}
        job = definitions.resolve_job_def(request.job_name)
        assert job.execute_in_process(
            instance=instance, partition_key=CELL, asset_selection=list(request.asset_selection)
        ).success
        (board,) = look()
        assert board.job_name == "line7__leaderboard"
        assert definitions.resolve_job_def(board.job_name).execute_in_process(instance=instance).success
        assert look() == []


def test_a_recalibration_works_in_the_instance_and_under_the_prefix_it_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "SETTLED_SECONDS", 0.0)
    workshop = build(tmp_path / "home", train=12)

    def receive(values: dict[str, Any]) -> None:
        values["datasets"]["line7"] |= {"layout": "folder", "incoming": "incoming"}
        values["runtime"]["workers"] = 2

    workshop.edit(receive)
    write_image(workshop.home / "incoming/housing/new.png", normal_image(300))
    project = named(workshop.project, key_prefix="line7", name_prefix="line7")
    definitions = build_definitions(project)
    workshop.edit(
        lambda values: values.update(dagster=dict.fromkeys(("key_prefix", "name_prefix"), "edited_since"))
    )
    with dg.DagsterInstance.local_temp() as instance:
        assert definitions.resolve_job_def("line7__recalibrate").execute_in_process(instance=instance).success
        assert set(recorded_versions(instance, project, "metrics_report")) == {CELL}
        assert set(recorded_versions(instance, project, "normal_images")) == {"line7/housing"}
        assert {key.path[0] for key in instance.get_asset_keys()} == {"line7"}
        assert {run.job_name.partition("__")[0] for run in instance.get_runs()} == {"line7"}
        assert Planner(open_state(project), open_store(project), instance).plan(Selection()).stale == ()
    with open_instance(project) as projects_own:
        assert projects_own.get_asset_keys() == []
    assert not list((workshop.home / "incoming/housing").glob("*.png"))


def test_workers_record_under_the_prefix_of_the_component(computed) -> None:
    workshop, project, instance = computed
    assert set(recorded_versions(instance, project, "metrics_report")) == {CELL}
    assert recorded_versions(instance, workshop.project, "metrics_report") == {}
    assert Planner(open_state(project), open_store(project), instance).plan(Selection()).stale == ()
    (record, *_) = instance.get_run_records(dg.RunsFilter(job_name="plant__line7__cell"))
    assert record.dagster_run.is_success


def test_uad_says_under_which_prefix_the_assets_are(computed) -> None:
    workshop, _, _ = computed
    looked = CliRunner().invoke(app, ["plan", "--home", str(workshop.home), "--json"])
    assert looked.exit_code == 0
    assert json.loads(looked.stdout)["fresh"] == 0
    prefix = ["plant", "line7"]
    (said,) = re.findall(r"`dagster: ({.*?})`", looked.stderr)
    assert yaml.safe_load(said) == {"key_prefix": prefix, "name_prefix": prefix}
    workshop.edit(lambda values: values.update(dagster=yaml.safe_load(said)))
    agreed = CliRunner().invoke(app, ["plan", "--home", str(workshop.home), "--json"])
    assert (json.loads(agreed.stdout)["stale"], "key_prefix" in agreed.stderr) == ([], False)


def test_a_step_waits_for_a_slot_in_its_pool(tmp_path: Path) -> None:
    workshop = build(tmp_path)
    project = named(workshop.project, pools={"memory_bank": "gpu"})
    with open_instance(project) as instance:
        slots = instance.event_log_storage
        slots.set_concurrency_slots("gpu", 1)
        assert slots.claim_concurrency_slot("gpu", "another run", "a step").is_claimed
        results = []
        waiting = threading.Thread(target=lambda: results.append(refresh(project, instance)))
        waiting.start()
        deadline = time.monotonic() + 120
        while not slots.get_concurrency_info("gpu").pending_step_count:
            assert waiting.is_alive() and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(2)  # Dagster may lose a slot that is freed in the moment in which a step begins to wait
        assert recorded_versions(instance, project, "memory_bank") == {}
        slots.free_concurrency_slots_for_run("another run")
        deadline = time.monotonic() + 300
        while waiting.is_alive() and time.monotonic() < deadline:
            waiting.join(1)
            slots.assign_pending_steps(["gpu"])  # Dagster's own way to hand out what it lost
        assert not results[0].failed
        assert set(recorded_versions(instance, project, "metrics_report")) == {CELL}
    assert workshop.plan().stale == (), "pools are part of no version"


def test_attributes_stand_in_place_of_the_files_own_names(tmp_path: Path) -> None:
    workshop = build(tmp_path / "home")
    said = {
        "key_prefix": "filed",
        "name_prefix": "names_filed",
        "group": "filed",
        "pools": {"memory_bank": "filed"},
        "owners": ["team:line7"],
    }
    workshop.edit(lambda values: values.update(dagster=said))
    place = tmp_path / "defs.yaml"
    names = UadBenchmark(home="home").project(place).dagster
    assert names == workshop.project.dagster
    other = UadBenchmark(home="home", key_prefix=[], group="given").project(place).dagster
    assert (other.key_prefix, other.name_prefix, other.group, other.pools, other.owners) == (
        (), (), "given", settings.PoolSettings(memory_bank="filed"), ("team:line7",)
    )  # fmt: skip
    assert UadBenchmark(home=str(workshop.home)).project(place).home == workshop.home


def test_a_home_without_a_project_file_is_said_with_path_and_attribute(tmp_path: Path) -> None:
    (tmp_path / "benchmarks/line7").mkdir(parents=True)
    place = tmp_path / "defs/line7/defs.yaml"
    with pytest.raises(ProjectError) as raised:
        UadBenchmark(home="../../benchmarks/line7").project(place)
    home = tmp_path / "benchmarks/line7"
    assert str(raised.value) == (
        f"{place}: 1 problem\n"
        f"  attributes.home: is '../../benchmarks/line7', but there is no uad.yaml in {home}; a relative path starts "
        f"at {place.parent}; `uad init --home {home}` writes a project file"
    )


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"key_prefix": "line-7"}, "attributes.key_prefix: is ['line-7']: each part is made of letters"),
        ({"key_prefix": ["größe"]}, "attributes.key_prefix: is ['größe']: each part is made of letters"),
        ({"group": "in spection"}, "attributes.group: is 'in spection': a group's name"),
        ({"pools": {"memory_bnk": "gpu"}}, "did you mean 'memory_bank'?"),
        ({"pools": {"memory_bank": "the gpu"}}, "attributes.pools.memory_bank: is 'the gpu': a pool's name"),
    ],
)
def test_a_wrong_attribute_is_said(tmp_path: Path, attributes: dict[str, Any], said: str) -> None:
    build(tmp_path)
    with pytest.raises(ProjectError) as raised:
        UadBenchmark(home=".", **attributes).project(tmp_path / "defs.yaml")
    assert str(tmp_path / "defs.yaml") in str(raised.value)
    assert said in str(raised.value)


def test_a_lost_weight_file_fails_its_cells_and_not_the_code_location(tmp_path: Path) -> None:
    workshop = build(tmp_path)
    lost = {"model": "vision_patchcore", "embedder": {"name": "resnet18", "weights": "lost.pth"}}
    workshop.edit(lambda values: values["detectors"].update(lost=lost))
    project = UadBenchmark(home=".").project(tmp_path / "defs.yaml")
    assert list(project.missing_files) == ["detectors.lost.embedder.weights"]
    dg.Definitions.validate_loadable(build_definitions(project))
