"""``python -m tests.faults`` in short: a few tries of each part, and that the parts see what does not hold."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from dagster import DagsterRun, DagsterRunStatus

from tests.faults.damage import trapped
from tests.faults.damaged_state import try_state
from tests.faults.inputs import Inputs
from tests.faults.kills import try_kills
from tests.faults.outcomes import Outcome, Tally
from tests.faults.soundness import losses
from tests.faults.ticks import try_ticks
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance

pytest.importorskip("torch", reason="needs the torch extra: weight files are among the inputs")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    inputs = Inputs(tmp_path_factory.mktemp("inputs"), ("image", "project", "weights", "bundle"))
    inputs.prepare()
    return inputs


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on a disk, where writing takes time enough to be killed in its midst; ``tmp_path`` may lie in memory."""
    usual = Path("/var/tmp")
    with TemporaryDirectory(dir=usual if usual.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.end_to_end
def test_killed_refreshes_lose_nothing(disk: Path) -> None:
    """The first is the command itself, the parent of two workers, killed while one of them writes."""
    tally = try_kills(2, 192, disk, ["disc"])
    assert not tally.faults, tally
    first = tally.outcomes[0]
    assert (first.what, first.came) == ("the parent of a command", "while an artifact was written")


def test_damaged_files_are_read_right_or_named(inputs: Inputs) -> None:
    tally = Tally("inputs", [inputs.try_one(seed) for seed in range(60)])
    assert not tally.faults, tally
    assert len({outcome.what.partition(":")[0] for outcome in tally.outcomes}) > 10


@pytest.mark.parametrize("seed", [2, 13])
def test_damaged_state_is_mended_or_named(inputs: Inputs, seed: int) -> None:
    outcome = try_state(inputs.grid, inputs.files, random.Random(seed), seed)
    assert outcome.fault is None, outcome


def test_what_is_lost_is_seen(inputs: Inputs, tmp_path: Path) -> None:
    home = Path(shutil.copytree(inputs.grid.home, tmp_path / "home"))
    assert not list(losses(home))
    with open_instance(Workshop(home).project) as instance:
        instance.add_run(DagsterRun(job_name="cell", status=DagsterRunStatus.STARTED))
    shutil.rmtree(home / ".uad/artifacts/fit_settings")
    (home / ".uad/scratch/draft").mkdir()
    with duckdb.connect(str(home / ".uad/uad.duckdb")) as index:
        index.execute("DELETE FROM metric")
    (home / "data/alpha/disc/train/good/000.png").unlink()
    found = "\n".join(losses(home))
    for words in (
        "stale after a refresh",
        "not in the store",
        "draft is left",
        "left STARTED",
        "rows of metric",
    ):
        assert words in found


def test_hours_of_ticks_ask_for_no_run_twice(tmp_path: Path) -> None:
    tally = try_ticks(0.25, 2, tmp_path)
    assert not tally.faults, tally
    for sensor in ("new_checkpoints", "stale_cells"):
        assert int(tally.figures[f"{sensor}: runs asked for"]) > 0


def test_a_trap_goes_off_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(trapped(tmp_path / "canary"))
    assert (tmp_path / "canary").exists()


def test_a_fault_is_told_with_what_repeats_it() -> None:
    tally = Tally("inputs", [Outcome("png: cut", "a crash", 7, "KeyError"), Outcome("png: cut", "named", 8)])
    assert tally.faults == ["FAULT png: cut: KeyError (python -m tests.faults --inputs 1 --seed 7)"]
    assert "2 tried, 1 faults" in str(tally)
