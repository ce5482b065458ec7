"""A training that is killed with SIGKILL in the middle of an epoch, in a process of its own, and the next refresh."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.detectors.anomalib_models import training
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.services.housekeeping import current_artifacts
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.storage.collect import collect_garbage

pytest.importorskip("anomalib", reason="extra anomalib not installed")

CELL = Cell("alpha/disc", "ganomaly")
READS_PER_EPOCH = 8
"""Six images to train on, two to validate."""

STALLING = f"""
import sys, time
from pathlib import Path
from tests.orchestration.workshop import Workshop
from uad_orchestrator.detectors.anomalib.training.normal_images import NormalImages

home = Path(sys.argv[1])
read, count = NormalImages.__getitem__, 0

def read_or_stall(images, index):
    global count
    count += 1
    if count > {2 * READS_PER_EPOCH + 5}:
        (home / "stalled").touch()
        time.sleep(600)
    return read(images, index)

NormalImages.__getitem__ = read_or_stall
Workshop(home).refresh()
"""


def kill_in_the_third_epoch(home: Path) -> None:
    """Refresh in another process, which has no chance to tidy up."""
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen([sys.executable, "-c", STALLING, str(home)], env=environment, cwd=root) as process:
        try:
            until = time.monotonic() + 240
            while not (home / "stalled").exists():
                assert process.poll() is None, "it ended before it could be killed"
                assert time.monotonic() < until
                time.sleep(0.1)
        finally:
            process.kill()


def test_a_training_killed_in_the_middle_of_an_epoch_goes_on_and_leaves_nothing(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]}, train=READS_PER_EPOCH)
    detectors = {
        "ganomaly": {"model": "vision_ganomaly_anomalib", "train": training("ganomaly", max_epochs=4)}
    }
    workshop.edit(lambda values: values.update(detectors=detectors))
    kill_in_the_third_epoch(tmp_path)

    store, state = open_store(workshop.project), open_state(workshop.project)
    run = CellRun(CELL, state, store)
    (left,) = (tmp_path / ".uad/training").iterdir()
    assert left.name == run.key("memory_bank").version and (left / "model.ckpt").is_file()
    made = {key.asset for key in store.list_folders()}
    assert made and not made & set(STAGES), "nothing half-written is an artifact"
    assert {node.asset for node in workshop.plan().stale} >= set(STAGES)
    assert len(list(store.location.scratch.iterdir())) == 1, "the draft of the killed process"

    result = workshop.refresh()
    assert not result.failed
    facts = run.provenance("memory_bank").facts
    assert facts["resumed"] and facts["epochs"] == 4
    steps = [step for step, _ in facts["curves"]["generator_loss_step"]]
    assert steps == sorted(set(steps)) and steps[0] == 0 and len(steps) == 8, "two of six images a step"
    assert not list((tmp_path / ".uad/training").iterdir())
    assert not workshop.plan().stale

    collect_garbage(store, current_artifacts(workshop.project)[0], min_age_seconds=0)
    assert not list(store.location.scratch.iterdir()), "the draft goes with the garbage"
