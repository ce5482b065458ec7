"""``resources`` of a detector reach the launchers as the tags they read, by every way a run is asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_ray.core.run_launcher import RayLauncherConfig
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils import parse_quantity

from tests.orchestration.dagster_instance.contracts import contract
from tests.orchestration.dagster_instance.launchers.ray_instance import launched_run, ray_instance
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.launchers.run_tags import (
    cell_tags,
    largest_resources,
    resource_tags,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, STAGES, Cell
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.orchestration.versions.stores import open_state
from uad_orchestrator.project import ProjectError, load_project
from uad_orchestrator.project.settings import ResourceSettings

GPU = {"num_gpus": 1, "num_cpus": 4}
AMOUNTS = st.floats(0.01, 512).map(lambda value: round(value, 2))
GPUS = AMOUNTS.map(lambda value: value if value <= 1 else round(value))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    workshop = Workshop.build(tmp_path_factory.mktemp("tagged"), {"alpha": ["disc"]}, train=1)
    workshop.edit(lambda values: values["detectors"]["dino"].update(resources=GPU))
    return workshop


@given(st.one_of(st.none(), st.just(0.0), GPUS), AMOUNTS)
def test_each_launcher_reads_its_own_tag(num_gpus: float | None, num_cpus: float) -> None:
    tags = resource_tags(ResourceSettings(num_gpus=num_gpus, num_cpus=num_cpus))
    ray = RayLauncherConfig.from_tags(tags)
    assert (ray.num_gpus, ray.num_cpus) == (num_gpus, num_cpus)
    resources = get_user_defined_k8s_config(tags).container_config["resources"]
    assert math.isclose(float(parse_quantity(resources["requests"]["cpu"])), num_cpus, rel_tol=1e-3)
    gpus = resources.get("limits", {}).get("nvidia.com/gpu", "0")
    assert int(gpus) == math.ceil(num_gpus or 0), "a container gets whole ones"
    assert tags.get("dagster-celery/queue") == ("gpu" if num_gpus else None)


def test_a_detector_without_resources_has_no_tags_of_them(workshop: Workshop) -> None:
    assert resource_tags(None) == {}
    assert set(cell_tags(workshop.project, Cell("alpha/disc", "patchcore"))) == {
        "uad/category",
        "uad/detector",
    }


def test_a_run_for_all_detectors_takes_the_largest(workshop: Workshop) -> None:
    project = workshop.project
    small = project.detectors["bright"].model_copy(update={"resources": ResourceSettings(num_cpus=8)})
    both = project.model_copy(update={"detectors": {**project.detectors, "bright": small}})
    assert largest_resources(both) == ResourceSettings(num_gpus=1, num_cpus=8)
    recalibrate = build_definitions(both).resolve_job_def("recalibrate")
    assert json.loads(recalibrate.tags["dagster-ray/config"]) == {"num_gpus": 1, "num_cpus": 8}


def test_resources_are_part_of_no_version(workshop: Workshop) -> None:
    def versions(state: ProjectState) -> dict[str, str]:
        return {asset: state.version(asset, Cell("alpha/disc", "dino")) for asset in CELL_ASSETS}

    with_them = versions(open_state(workshop.project))
    entry = workshop.project.detectors["dino"].model_copy(update={"resources": None})
    without = workshop.project.model_copy(update={"detectors": {**workshop.project.detectors, "dino": entry}})
    assert versions(open_state(without)) == with_them


def test_resources_that_ask_for_nothing_are_an_error(workshop: Workshop, tmp_path: Path) -> None:
    text = (workshop.home / "uad.yaml").read_text()
    (tmp_path / "uad.yaml").write_text(text.replace("num_gpus: 1", "").replace("num_cpus: 4", "{}"))
    for wrong in (
        "resources: {}",
        "resources: {num_gpus: -1}",
        "resources: {num_gpus: .inf}",
        "resources: {num_gpus: 1.5}",
        "resources: {num_cpus: .inf}",
        "resources: {num_cpus: 0}",
        "resources: {gpus: 1}",
    ):
        lines = [
            "datasets: {demo: {layout: demo}}",
            f"detectors: {{a: {{model: vision_patchcore, {wrong}}}}}",
        ]
        (tmp_path / "uad.yaml").write_text("\n".join(lines))
        with pytest.raises(ProjectError, match=r"detectors\.a\.resources"):
            load_project(tmp_path)


def test_a_click_on_the_job_and_a_sensor_give_each_cell_its_own(workshop: Workshop) -> None:
    """The web server asks the code location for the tags of the partition that was clicked."""
    from dagster._grpc.impl import get_partition_tags

    repository = build_definitions(workshop.project).get_repository_def()
    for detector, asked in (("dino", GPU), ("patchcore", None)):
        tags = get_partition_tags(repository, "cell", f"alpha/disc|{detector}").tags
        assert (tags["uad/detector"], tags["dagster/partition/detector"]) == (detector, detector)
        assert json.loads(tags.get("dagster-ray/config", "null")) == asked


@contract("launchers/run_tags.py", "keeps the tags of an asset's op in the snapshot of its runs' job")
def test_a_click_on_an_asset_gets_them_from_our_launcher(workshop: Workshop, tmp_path: Path) -> None:
    definitions = build_definitions(workshop.project)
    chosen = {asset_key(workshop.project, STAGES[0])}
    click = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=chosen)
    with ray_instance(tmp_path) as (instance, server):
        for detector in ("dino", "patchcore"):
            tags = {"dagster/partition": f"alpha/disc|{detector}"}
            run = launched_run(instance, click, tags=tags, asset_selection=frozenset(chosen))
            instance.run_launcher.launch_run(LaunchRunContext(run, None))
            kept = instance.get_run_by_id(run.run_id).tags
            assert ("dagster-k8s/config" in kept) is (detector == "dino")
    with_gpu, without = server.submitted
    assert (with_gpu["entrypoint_num_gpus"], with_gpu["entrypoint_num_cpus"]) == (1, 4)
    assert (without["entrypoint_num_gpus"], without["entrypoint_num_cpus"]) == (None, None)


def test_a_run_of_a_refresh_has_no_worker_to_ask_after(tmp_path: Path) -> None:
    """Else Dagster's monitoring would fail it while it is at work."""

    @dg.job
    def nothing() -> None: ...

    with ray_instance(tmp_path) as (instance, server):
        vars(server)["get_job_status"] = lambda submission_id: SimpleNamespace(is_terminal=lambda: True)
        refreshed = launched_run(instance, nothing, tags={"uad/pid": "12"})
        assert instance.run_launcher.check_run_worker_health(refreshed).status is WorkerStatus.RUNNING
        vars(server)["get_job_status"] = _unknown
        launched = launched_run(instance, nothing)
        assert instance.run_launcher.check_run_worker_health(launched).status is WorkerStatus.UNKNOWN


def _unknown(submission_id: str) -> None:
    raise RuntimeError(f"Job {submission_id} does not exist")
