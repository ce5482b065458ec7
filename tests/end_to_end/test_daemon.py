"""The real daemon at work: a new checkpoint appears, and its cells and only they are refreshed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.ui_process import Server, running_ui, wait_for
from tests.orchestration.workshop import SIDE, Workshop
from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS

torch = pytest.importorskip("torch", reason="needs the torch extra: a checkpoint is a file of its weights")
torchvision = pytest.importorskip("torchvision", reason="needs the torch extra")
pytestmark = pytest.mark.end_to_end

WEIGHTS = "weights/resnet18.pth"
CATEGORIES = ["alpha/disc", "alpha/ring"]
PATIENCE = 400.0
"""Seconds; a busy machine needs them, an idle one a tenth."""


def test_a_new_checkpoint_refreshes_its_cells_and_only_they(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc", "ring"]})
    workshop.edit(one_detector_with_weights)
    write_checkpoint(workshop.home / WEIGHTS, seed=0)
    first = workshop.refresh()
    assert not first.failed
    before = versions(workshop)

    with running_ui(workshop.home) as server:
        wait_for(lambda: looks(server) >= 2, PATIENCE, "the sensor has looked at the file as it is")
        assert runs(server) == [], "a file that did not change asks for nothing"
        write_checkpoint(workshop.home / WEIGHTS, seed=1)
        ended = wait_for(lambda: settled(server), PATIENCE, "the runs that the sensor asked for end")
        seen = looks(server)
        wait_for(lambda: looks(server) >= seen + 2, PATIENCE, "the sensor looks again")
        assert runs(server) == ended, "each change asks for its cells once"

    assert {run["status"] for run in ended} == {"SUCCESS"}, (workshop.home / "ui.log").read_text()
    assert sorted(run["cell"] for run in ended) == [f"{category}|cnn" for category in CATEGORIES]
    after = versions(workshop)
    changed = {place for place in before if before[place] != after[place]}
    assert changed == {(asset, f"{category}|cnn") for asset in CELL_ASSETS for category in CATEGORIES}
    stale = {(node.asset, node.detector) for node in workshop.plan().stale}
    assert stale <= {("leaderboard", None)}, "the command line finds the daemon's work up to date"


def one_detector_with_weights(values: dict[str, Any]) -> None:
    """A detector that reads a weight file, and one that has none."""
    patchcore = values["detectors"]["patchcore"]
    embedder = {"name": "resnet18", "weights": WEIGHTS, "image_size": SIDE, "layers": ["layer1"]}
    values["detectors"] = {"plain": patchcore, "cnn": patchcore | {"embedder": embedder}}
    values["automation"] = {"watch_checkpoints": 1}


def write_checkpoint(path: Path, seed: int) -> None:
    """Random weights of resnet18, written aside and renamed, as a training job should."""
    torch.manual_seed(seed)
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".part")
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), aside)
    os.replace(aside, path)  # noqa: PTH105 - atomic


def versions(workshop: Workshop) -> dict[tuple[str, str], str]:
    """The data version Dagster has of every node of every cell."""
    from uad_orchestrator.orchestration.dagster_instance.event_log import recorded_versions
    from uad_orchestrator.orchestration.dagster_instance.instance import open_instance

    with open_instance(workshop.project) as instance:
        return {
            (asset, cell): version
            for asset in CELL_ASSETS
            for cell, version in recorded_versions(instance, workshop.project, asset).items()
        }


def looks(server: Server) -> int:
    """How often the sensor ticked."""
    found = server.ask(
        "query ($sensor: SensorSelector!) {sensorOrError(sensorSelector: $sensor) {"
        "... on Sensor {sensorState {ticks {status}}}}}",
        sensor={
            "repositoryLocationName": "uad_orchestrator",
            "repositoryName": "__repository__",
            "sensorName": "new_checkpoints",
        },
    )
    return len(found["sensorOrError"].get("sensorState", {}).get("ticks", []))


def runs(server: Server) -> list[dict[str, str]]:
    """Every run since the web server began, by cell; those of the refresh before it left out."""
    found = server.ask("{runsOrError {... on Runs {results {status tags {key value}}}}}")
    shown = []
    for run in found["runsOrError"]["results"]:
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        if "uad/refresh_id" not in tags:
            shown.append({"cell": tags.get("dagster/partition", ""), "status": run["status"]})
    return sorted(shown, key=lambda run: run["cell"])


def settled(server: Server) -> list[dict[str, str]]:
    """The runs, once there are as many as cells to refresh and none is under way."""
    found = runs(server)
    over = all(run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in found)
    return found if over and len(found) >= len(CATEGORIES) else []
