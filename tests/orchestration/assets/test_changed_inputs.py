"""Files that change while a node is computed from them: nothing wrong is stored, and it is tried again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.orchestration.workshop import EMBEDDER, Workshop, defective_image, normal_image, write_image
from uad_orchestrator.detectors.anomalib import model as anomalib_model
from uad_orchestrator.detectors.anomalib.results import RawResult, whole
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.orchestration.assets import cell as cell_assets
from uad_orchestrator.orchestration.assets.materialize import MAX_RETRIES
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.execution.cell_runs import CellOutcome, CellRunner, CellTask
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project.trust import trust
from uad_orchestrator.storage.failures import FailureLog

CELL = Cell("alpha/disc", "only")
BANK, SCORES, MAPS, METRICS = STAGES
PATCHCORE = {"model": "vision_patchcore", "embedder": EMBEDDER, "coreset": {"ratio": 0.5}}

TRAIN = "data/alpha/disc/train/good/002.png"
TESTED = "data/alpha/disc/test/good/001.png"
MASK = "data/alpha/disc/ground_truth/scratch/000_mask.png"


def build(home: Path, detector: dict[str, Any] | None = None) -> Workshop:
    """One cell, nothing computed yet."""
    workshop = Workshop.build(home, {"alpha": ["disc"]})
    workshop.edit(lambda values: values.update(detectors={"only": detector or PATCHCORE}))
    return workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return build(tmp_path / "home")


def run(workshop: Workshop, *assets: str) -> CellOutcome:
    """What a click on these assets of the cell does."""
    with open_instance(workshop.project) as instance:
        return CellRunner(workshop.project, instance, "click").run(CellTask(CELL, assets))


@contextmanager
def meddling(
    asset: str, change: Callable[[], Any], *, times: int = 1, before: bool = False
) -> Iterator[list[int]]:
    """Call ``change`` when a stage has read its files (or before it does), the first times it is computed.

    Yields:
        the attempts so far.
    """
    attempts: list[int] = []
    stage = cell_assets.COMPUTE[asset]

    def compute(*given: Any) -> Any:
        attempts.append(len(attempts))
        meddle = len(attempts) <= times
        if meddle and before:
            change()
        result = stage(*given)
        if meddle and not before:
            change()
        return result

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(cell_assets.COMPUTE, asset, compute)  # type: ignore[call-overload]
        yield attempts


def replace_image(workshop: Workshop, path: str, seed: int = 4000) -> None:
    write_image(workshop.home / path, normal_image(seed))


def replace_mask(workshop: Workshop) -> None:
    _, mask = defective_image(0)
    mask[:5] = 255
    write_image(workshop.home / MASK, mask)


def versions(workshop: Workshop, asset: str) -> list[str]:
    return open_store(workshop.project).versions(asset, CELL.dataset, CELL.category_name, CELL.detector)


def current(workshop: Workshop) -> CellRun:
    """The cell with every file fingerprinted anew."""
    return CellRun(CELL, open_state(workshop.project, rehash=True), open_store(workshop.project))


def content(workshop: Workshop, asset: str) -> Any:
    """What is stored of a stage in the version it should have now, but for what depends on the clock."""
    directory = current(workshop).directory(asset)
    if asset == SCORES:
        return [(row.image, row.score) for row in read_scores(directory)]
    return {
        path.relative_to(directory): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "provenance.json"
    }


def failure(workshop: Workshop, asset: str) -> str | None:
    """The failure that the leaderboard would show."""
    log = FailureLog(open_store(workshop.project))
    found = log.find(asset, CELL.dataset, CELL.category_name, CELL.detector)
    return None if found is None else found.error


def copied(workshop: Workshop, home: Path) -> Workshop:
    """The same project with the files as they are now, nothing computed."""
    shutil.copytree(workshop.home, home, ignore=shutil.ignore_patterns(".uad"))
    return Workshop(home)


@pytest.mark.parametrize("before", [True, False], ids=["before it is read", "after it was read"])
@pytest.mark.parametrize(("asset", "path"), [(BANK, TRAIN), (SCORES, TESTED)])
def test_an_image_replaced_while_a_stage_computes_is_in_what_is_stored(
    workshop: Workshop, tmp_path: Path, asset: str, path: str, before: bool
) -> None:
    stages = STAGES[: STAGES.index(asset) + 1]
    with meddling(asset, lambda: replace_image(workshop, path), before=before) as attempts:
        outcome = run(workshop, *stages)
    assert len(attempts) == 2 and not outcome.failed
    (stored,) = versions(workshop, asset)
    assert stored == current(workshop).key(asset).version == outcome.materialized[-1].version
    assert failure(workshop, asset) is None

    clean = copied(workshop, tmp_path / "clean")
    assert not run(clean, *stages).failed
    assert content(workshop, asset) == content(clean, asset)
    plan = workshop.plan(rehash=True)
    assert not {node.asset for node in plan.stale} & set(stages)


def test_a_mask_replaced_while_the_metrics_are_taken(workshop: Workshop) -> None:
    assert not run(workshop, *STAGES[:3]).failed
    with meddling(METRICS, lambda: replace_mask(workshop)) as attempts:
        outcome = run(workshop, METRICS)
    assert len(attempts) == 2 and not outcome.failed
    (stored,) = versions(workshop, METRICS)
    assert stored == current(workshop).key(METRICS).version
    result = workshop.refresh()
    assert not {node.asset for node in result.materialized} & set(STAGES), "nothing is left to do"


def test_it_is_tried_a_bounded_number_of_times_and_says_what_kept_changing(workshop: Workshop) -> None:
    seeds = iter(range(4000, 4100))
    with meddling(BANK, lambda: replace_image(workshop, TRAIN, next(seeds)), times=100) as attempts:
        outcome = run(workshop, BANK, SCORES)
    assert len(attempts) == 1 + MAX_RETRIES
    assert [node.asset for node in outcome.failed] == [BANK]
    assert [node.asset for node in outcome.skipped] == [SCORES]
    assert versions(workshop, BANK) == [], "nothing is stored"
    said = failure(workshop, BANK)
    assert said is not None and said.startswith(
        "normal_images changed while memory_bank of alpha/disc|only was computed; nothing was stored"
    )
    assert not run(workshop, BANK).failed
    assert failure(workshop, BANK) is None
    assert versions(workshop, BANK) == [current(workshop).key(BANK).version]


def test_where_the_stage_above_is_stale_now_too_the_run_ends_with_the_command_to_type(
    workshop: Workshop,
) -> None:
    assert not run(workshop, BANK).failed
    with meddling(SCORES, lambda: replace_image(workshop, TRAIN)) as attempts:
        outcome = run(workshop, SCORES)
    assert len(attempts) == 2
    (failed,) = outcome.failed
    assert failed.asset == SCORES and "memory_bank of alpha/disc x only is not there" in failed.error
    assert "uad refresh --category 'alpha/disc' --detector 'only'" in failed.error
    assert versions(workshop, SCORES) == []
    assert not workshop.refresh().failed
    assert versions(workshop, SCORES) == [current(workshop).key(SCORES).version]


def test_maps_are_made_from_scores_alone_whatever_becomes_of_the_images(workshop: Workshop) -> None:
    assert not run(workshop, BANK, SCORES).failed
    expected = current(workshop).key(MAPS).version
    with meddling(MAPS, lambda: replace_image(workshop, TESTED)) as attempts:
        assert not run(workshop, MAPS).failed
    assert len(attempts) == 1
    assert versions(workshop, MAPS) == [expected] != [current(workshop).key(MAPS).version]


def test_an_input_that_goes_away_is_tried_again_and_then_named(workshop: Workshop) -> None:
    data = workshop.home / "data/alpha"
    with meddling(BANK, lambda: data.rename(workshop.home / "elsewhere")) as attempts:
        outcome = run(workshop, BANK)
    assert len(attempts) == 1, "the second time there is nothing to compute from"
    said = failure(workshop, BANK)
    assert said is not None and str(data) in said and str(data) in outcome.failed[0].error
    assert versions(workshop, BANK) == []
    (workshop.home / "elsewhere").rename(data)
    assert not run(workshop, BANK).failed


def test_what_was_embedded_of_the_new_image_is_never_taken_for_the_old_one(
    workshop: Workshop, tmp_path: Path
) -> None:
    """It was fingerprinted before it was replaced and read afterwards; then the old image is put back."""
    old = (workshop.home / TRAIN).read_bytes()
    with meddling(BANK, lambda: replace_image(workshop, TRAIN), before=True):
        assert not run(workshop, BANK).failed
    (workshop.home / TRAIN).write_bytes(old)
    assert not run(workshop, BANK).failed
    assert len(versions(workshop, BANK)) == 2
    check_bank_is_that_of_the_files(workshop, tmp_path / "clean")


def check_bank_is_that_of_the_files(workshop: Workshop, home: Path) -> None:
    """As a project has it that computed nothing before."""
    clean = copied(workshop, home)
    assert not run(clean, BANK).failed
    assert content(workshop, BANK) == content(clean, BANK)


def write_weights(path: Path, seed: int, modified: float) -> None:
    """A ResNet-18 drawn from a seed; files of two seeds are of one size, and here of one age, too."""
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(seed)
    aside = path.with_suffix(".new")
    torch.save(resnet18().state_dict(), aside)
    os.utime(aside, (modified, modified))
    aside.replace(path)


def test_weights_replaced_by_a_file_of_the_same_age(tmp_path: Path) -> None:
    """Before they are loaded, and after it; at last the first ones are put back."""
    pytest.importorskip("torchvision", reason="needs the torch extra")
    embedder = {"name": "resnet18", "weights": "w.pth", "image_size": 64, "layers": ["layer1"]}
    workshop = build(tmp_path / "home", {**PATCHCORE, "embedder": embedder})
    weights = workshop.home / "w.pth"
    for seed, before in ((1, True), (2, False)):
        write_weights(weights, 10 * seed, 1e9)
        with meddling(BANK, lambda seed=seed: write_weights(weights, seed, 1e9), before=before) as attempts:
            assert not run(workshop, BANK).failed
        assert len(attempts) == 2
        check_bank_is_that_of_the_files(workshop, tmp_path / f"clean_{seed}")
    write_weights(weights, 10, 1e9)
    assert not run(workshop, BANK).failed
    check_bank_is_that_of_the_files(workshop, tmp_path / "clean")
    assert len(versions(workshop, BANK)) == 3


@pytest.mark.skipif(find_spec("anomalib") is None, reason="extra anomalib not installed")
def test_a_checkpoint_replaced_while_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Darkest:
        device = "cpu"

        def __init__(self, number: float) -> None:
            self.number = number

        def run(self, images: list[np.ndarray]) -> list[RawResult]:
            return [RawResult(self.number - float(image.min()), None, whole(image)) for image in images]

    def load(
        contents: dict[str, bytes], name: str, network: str | None, device: str, *, safely: bool = False
    ):
        return Darkest(float(contents[name])), network

    monkeypatch.setattr(anomalib_model, "_load", load)
    workshop = build(tmp_path / "home", {"model": "vision_padim_anomalib", "checkpoint": "c.pt"})
    checkpoint = workshop.home / "c.pt"

    def write(number: str) -> None:
        checkpoint.write_text(number)
        trust(workshop.home, [checkpoint])

    write("1")
    with meddling(BANK, lambda: write("20")) as attempts:
        outcome = run(workshop, BANK, SCORES)
    assert len(attempts) == 2 and not outcome.failed
    assert versions(workshop, BANK) == [current(workshop).key(BANK).version]
    scores = {name: score for name, score in content(workshop, SCORES) if "test/good" in name}
    darkest = [int(normal_image(seed).min()) for seed in (500, 501)]
    assert sorted(scores.values()) == sorted(20.0 - value for value in darkest)
