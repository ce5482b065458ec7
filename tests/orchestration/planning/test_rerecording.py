"""A node in the right version, recorded with other inputs: Dagster is told again, nothing is computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.orchestration.stale_status import stale_for_dagster
from tests.orchestration.workshop import Workshop, computed, defective_image, write_image
from uad_orchestrator.orchestration.dagster_instance.event_log import materializations
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.execution.cell_runs import CellRunner, CellTask
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell

CELL = Cell("alpha/disc", "bright")


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workshop = Workshop.build(tmp_path_factory.mktemp("grid"), {"alpha": ["disc"]})
    workshop.edit(lambda values: values.update(detectors={"bright": values["detectors"]["bright"]}))
    assert not workshop.refresh().failed
    return workshop.home


@pytest.fixture
def workshop(refreshed: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(refreshed, tmp_path / "home")
    return Workshop(tmp_path / "home")


def stale(workshop: Workshop) -> dict[tuple[str, str], list[str]]:
    with open_instance(workshop.project) as instance:
        return stale_for_dagster(workshop.project, instance, [CELL])


def last_event(workshop: Workshop, asset: str) -> dg.AssetMaterialization:
    with open_instance(workshop.project) as instance:
        return materializations(instance, workshop.project, asset, CELL.key)[0]


def run_alone(workshop: Workshop, *assets: str) -> None:
    """What a click on these assets of the cell does."""
    with open_instance(workshop.project) as instance:
        runner = CellRunner(workshop.project, instance, "click")
        assert not runner.run(CellTask(CELL, assets)).failed


def gamma(value: float) -> Any:
    return lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=value)


def test_after_a_refresh_dagster_agrees_that_all_is_fresh(workshop: Workshop) -> None:
    assert stale(workshop) == {}
    plan = workshop.plan()
    assert (plan.stale, plan.rerecorded) == ((), ())


def test_a_stage_run_alone_below_an_older_record_is_recorded_again(workshop: Workshop) -> None:
    workshop.edit(gamma(1.2))
    workshop.refresh()
    workshop.edit(gamma(1.0))
    run_alone(workshop, *STAGES[1:])  # Dagster's last word on the bank is still gamma 1.2
    plan = workshop.plan()
    assert [node.asset for node in plan.stale if node.category] == ["memory_bank"]
    assert [(r.asset, r.category, r.detector) for r in plan.rerecorded] == [
        ("score_table", "alpha/disc", "bright")
    ]
    run_alone(workshop, "memory_bank")
    assert set(stale(workshop)) == {("score_table", CELL.key)}  # so it would stay without us

    shown = last_event(workshop, "score_table").metadata
    result = workshop.refresh()
    assert computed(result) == set()
    assert result.to_json()["restamped"] == json.loads(json.dumps([r.to_json() for r in plan.rerecorded]))
    assert stale(workshop) == {}
    event = last_event(workshop, "score_table")
    assert {**shown, "recorded_again": dg.MetadataValue.bool(True)} == dict(event.metadata)
    again = workshop.plan()
    assert (again.stale, again.rerecorded) == ((), ())


def test_an_edited_mask_leaves_the_images_fresh(workshop: Workshop) -> None:
    _, mask = defective_image(0)
    mask[:4] = 255
    write_image(workshop.home / "data/alpha/disc/ground_truth/scratch/000_mask.png", mask)
    result = workshop.refresh()
    assert computed(result) == {("metrics_report", "alpha/disc", "bright")}
    assert [(r.asset, r.detector) for r in result.rerecorded] == [
        ("normal_images", None),
        ("test_images", None),
    ]
    assert stale(workshop) == {}
    assert workshop.plan().rerecorded == ()


def test_a_click_tells_dagster_of_the_inputs_below_a_changed_one(workshop: Workshop) -> None:
    _, mask = defective_image(0)
    mask[:6] = 255
    write_image(workshop.home / "data/alpha/disc/ground_truth/scratch/000_mask.png", mask)
    run_alone(workshop, "metrics_report")
    assert stale(workshop) == {}


def test_a_new_detector_is_announced(workshop: Workshop) -> None:
    def add(values: dict[str, Any]) -> None:
        values["detectors"]["second"] = values["detectors"]["bright"]

    assert workshop.plan().new == ()
    workshop.edit(add)
    assert workshop.plan().new == ("second",)
