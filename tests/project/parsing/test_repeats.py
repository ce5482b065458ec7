"""``repeats`` of a detector: what it expands into, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from uad_orchestrator.project import Project, ProjectError
from uad_orchestrator.project.catalogue import installed_catalogue
from uad_orchestrator.project.parsing.names import name_fault
from uad_orchestrator.project.parsing.reading import project_from_text

FEW = "few: {model: vision_patchcore, references: {k: 2}, repeats: {seeds: [0, 3]}}"


def read(*entries: str, home: Path = Path("/nowhere")) -> Project:
    text = "\n  ".join(["datasets: {demo: {layout: demo}}\ndetectors:", *entries])
    return project_from_text(text, home, installed_catalogue())


def faults(*entries: str) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        read(*entries)
    return [str(problem) for problem in caught.value.problems]


def test_an_entry_becomes_a_detector_per_seed_with_every_seed_set() -> None:
    project = read(FEW, "plain: {model: vision_patchcore}")
    assert list(project.detectors) == ["few@seed0", "few@seed3", "plain"]
    assert project.repeats() == {"few": ("few@seed0", "few@seed3")}
    assert all(name_fault(name) is None for name in project.detectors)
    third = project.detectors["few@seed3"]
    assert (third.name, third.repeat_of, third.model) == ("few@seed3", "few", "vision_patchcore")
    assert (third.fit.references.seed, third.fit.seed, third.scoring.calibration.seed) == (3, 3, 3)
    assert third.fit.references.k == 2
    zero, plain = (
        project.detectors["few@seed0"],
        read(FEW.split(", repeats", maxsplit=1)[0] + "}").detectors["few"],
    )
    assert (zero.fit, zero.scoring, zero.maps) == (plain.fit, plain.scoring, plain.maps)
    assert len(project.cells()) == 3 * len(project.category_keys())


@pytest.mark.parametrize(
    "entry",
    [
        "d: {model: vision_anomalydino, repeats: {seeds: [0, 1]}}",
        "d: {model: vision_patchcore, coreset: {method: none}, repeats: {seeds: [0, 1]}}",
        "d: {model: vision_patchcore, coreset: {ratio: 1.0}, repeats: {seeds: [0, 1]}}",
    ],
)
def test_repeats_of_what_no_seed_changes_are_refused(entry: str) -> None:
    [fault] = faults(entry)
    assert "detectors.d.repeats" in fault and "no seed of vision_" in fault and "references" in fault


@pytest.mark.parametrize(
    "entry",
    [
        "d: {model: vision_anomalydino, references: {k: 2}, repeats: {seeds: [0, 1]}}",
        "d: {model: vision_anomalydino, coreset: {method: random}, repeats: {seeds: [0, 1]}}",
        "d: {model: vision_patchcore, repeats: {seeds: [0, 1]}}",
    ],
)
def test_few_shot_and_sampled_detectors_may_be_repeated(entry: str) -> None:
    assert list(read(entry).detectors) == ["d@seed0", "d@seed1"]


@pytest.mark.parametrize(
    ("entry", "place", "word"),
    [
        (
            "d: {model: vision_patchcore, seed: 1, repeats: {seeds: [0, 1]}}",
            "detectors.d.seed",
            "once per seed",
        ),
        (
            "d: {model: vision_patchcore, references: {k: 2, seed: 1}, repeats: {seeds: [0, 1]}}",
            "detectors.d.references.seed",
            "once per seed",
        ),
        ("d: {model: vision_patchcore, repeats: {seeds: [0]}}", "detectors.d.repeats.seeds", "2"),
        ("d: {model: vision_patchcore, repeats: {seeds: [0, 0]}}", "detectors.d.repeats.seeds", "twice"),
        ("d: {model: vision_patchcore, repeats: {seed: [0, 1]}}", "detectors.d.repeats.seed", "seeds"),
        ("d@seed1: {model: vision_patchcore}", "detectors.d@seed1", "rename"),
    ],
)
def test_faults_name_their_key(entry: str, place: str, word: str) -> None:
    found = faults(entry)
    assert any(place in fault and word in fault for fault in found), found


def test_a_missing_weight_file_is_said_once(tmp_path: Path) -> None:
    entry = FEW.replace("references", "embedder: {name: resnet18, weights: none.pth}, references")
    with pytest.raises(ProjectError) as caught:
        read(entry, home=tmp_path)
    [problem] = caught.value.problems
    assert problem.place == ("detectors", "few", "embedder", "weights") and problem.line
