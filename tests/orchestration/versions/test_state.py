"""Versions as arithmetic: what each change on disk or in uad.yaml changes, and what it leaves alone."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.orchestration.edits import (
    Edit,
    below,
    gamma,
    image,
    mask,
    moved,
    renamed_preset,
    section,
    setting,
    touched,
)
from tests.orchestration.versions.test_graph import DESIGN
from tests.orchestration.workshop import EMBEDDER, Workshop, normal_image, write_image
from uad_orchestrator.datasets import load
from uad_orchestrator.detectors.registry import DETECTORS
from uad_orchestrator.metrics.cell import METRICS_VERSION
from uad_orchestrator.metrics.thresholds import CALIBRATION_VERSION
from uad_orchestrator.orchestration.versions import state as state_module
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell, partition_of
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import open_state
from uad_orchestrator.storage.digests import digest_of

DISC, RING = Cell("alpha/disc", "one"), Cell("alpha/ring", "one")
OTHER = Cell("alpha/disc", "two")
NODES = tuple(name for name in DESIGN if name != "leaderboard")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workshop = Workshop.build(tmp_path_factory.mktemp("state"), {"alpha": ["disc", "ring"]}, train=2)
    one = {"model": "vision_patchcore", "embedder": EMBEDDER, "preset": "bright", "coreset": {"ratio": 0.1}}
    workshop.edit(lambda values: values.update(detectors={"one": one, "two": {**one, "preset": "plain"}}))
    return workshop.home


@pytest.fixture
def workshop(original: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(original, tmp_path / "home")
    return Workshop(tmp_path / "home")


def state_of(workshop: Workshop) -> ProjectState:
    return open_state(workshop.project)


def versions(workshop: Workshop, cell: Cell) -> dict[str, str]:
    state = state_of(workshop)
    return {asset: state.version(asset, cell) for asset in NODES}


CHANGES: list[tuple[str, Edit, set[str], set[Cell]]] = [
    # what changes, which inputs, of which cells beside alpha/disc x one
    ("train image", image("train/good/000.png"), {"dataset_category", "normal_images"}, {OTHER}),
    ("new train image", image("train/good/009.png"), {"dataset_category", "normal_images"}, {OTHER}),
    ("test image", image("test/good/000.png"), {"dataset_category", "test_images"}, {OTHER}),
    (
        "new test image",
        image("test/good/009.png"),
        {"dataset_category", "test_images", "ground_truth"},
        {OTHER},
    ),
    ("mask", mask, {"dataset_category", "ground_truth"}, {OTHER}),
    ("preset", gamma, {"preprocessing_preset"}, {RING}),
    ("model", setting(model="vision_softpatch"), {"fit_settings", "scoring_settings"}, {RING}),
    ("fit", setting(coreset={"ratio": 0.2}), {"fit_settings"}, {RING}),
    ("embedder", setting(embedder={**EMBEDDER, "image_size": 32}), {"fit_settings"}, {RING}),
    ("scoring", setting(n_neighbors=2), {"scoring_settings"}, {RING}),
    ("maps", setting(maps={"gaussian_sigma": 9}), {"map_settings"}, {RING}),
    (
        "tiling",
        setting(tiling={"tile_size": 32}),
        {"fit_settings", "scoring_settings", "map_settings"},
        {RING},
    ),
    ("protocol", section("evaluation", aupro_limits=[0.2]), {"evaluation_protocol"}, {RING, OTHER}),
    ("roi pixels", section("evaluation", roi_metrics="include"), {"evaluation_protocol"}, {RING, OTHER}),
    ("device", section("runtime", device="cpu", batch_size=3), set(), set()),
    ("data moved", moved, set(), set()),
    ("preset renamed", renamed_preset, set(), set()),
    ("files touched", touched, set(), set()),
]


@pytest.mark.parametrize(
    ("change", "inputs", "others"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_a_change_changes_what_depends_on_it_and_nothing_else(
    workshop: Workshop, change: Edit, inputs: set[str], others: set[Cell]
) -> None:
    before = {cell: versions(workshop, cell) for cell in (DISC, RING, OTHER)}
    change(workshop)
    for cell, old in before.items():
        new = versions(workshop, cell)
        changed = {asset for asset in NODES if old[asset] != new[asset]}
        assert changed == (inputs | below(inputs) if cell == DISC or cell in others else set())


def test_a_version_is_the_digest_of_the_recipe(workshop: Workshop) -> None:
    """To the letter: a computed project stays fresh only while this stays so."""
    state = state_of(workshop)
    spec = DETECTORS["vision_patchcore"].versions
    stage_versions = {
        "memory_bank": spec["fit"],
        "score_table": spec["scoring"] + CALIBRATION_VERSION,
        "anomaly_maps": spec["maps"],
        "metrics_report": METRICS_VERSION,
    }
    for asset in NODES:
        if asset in STAGES:
            recipe = {
                "asset": asset,
                "stage_version": stage_versions[asset],
                "reads": {name: state.version(name, DISC) for name in DESIGN[asset][1]},
            }
            assert state.stage_version(asset, DISC) == stage_versions[asset]
            assert state.reads(asset, DISC) == recipe["reads"]
            assert state.version(asset, DISC) == digest_of(recipe)
        else:
            found = state.input(asset, DISC)
            assert state.version(asset, DISC) == found.version == digest_of(found.content)
            assert (found.asset, found.partition) == (asset, partition_of(asset, DISC))
            assert dict(found.reads) == {name: state.version(name, DISC) for name in DESIGN[asset][1]}


def test_each_file_is_fingerprinted_once(workshop: Workshop) -> None:
    read: Counter[Path] = Counter()

    def digests(path: Path) -> str:
        read[path] += 1
        return hashlib.sha256(path.read_bytes()).hexdigest()

    state = ProjectState(workshop.project, digests)
    assert set(state.cells) == {DISC, OTHER, RING, Cell("alpha/ring", "two")}
    for _ in range(2):
        for cell in state.cells:
            assert state.version("metrics_report", cell)
            assert state.version("dataset_category", cell)
    images = {path.resolve() for path in (workshop.home / "data").rglob("*.png")}
    assert {path.resolve() for path in read} == images
    assert set(read.values()) == {1}


def test_a_root_is_listed_once_for_all_its_categories(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []

    def counted(layout: str, root: Path, settings: object) -> list[str]:
        listed.append(root)
        return load.find_categories(layout, root, settings)

    def refused(*given: object) -> None:
        raise AssertionError("the root was listed for one category")

    monkeypatch.setattr(state_module, "find_categories", counted)
    monkeypatch.setattr(load, "_check_category", refused)
    state = open_state(workshop.project)
    assert {state.manifest(cell.category).category for cell in state.cells} == {"disc", "ring"}
    assert listed == [workshop.home / "data/alpha"]


def test_what_cannot_be_read_names_asset_place_and_file_every_time(workshop: Workshop) -> None:
    (workshop.home / "data/alpha/disc/train/good/000.png").unlink()
    (workshop.home / "data/alpha/disc/train/good/001.png").unlink()
    state = state_of(workshop)
    for _ in range(2):
        with pytest.raises(
            InputUnavailable, match=r"(?s)^normal_images of alpha/disc: .*train/good: no images"
        ):
            state.version("normal_images", DISC)
        with pytest.raises(InputUnavailable, match=r"alpha/disc"):
            state.version("metrics_report", DISC)
    assert state.version("metrics_report", RING), "the other category is computed as ever"
    assert state.version("fit_settings", DISC)


def test_what_is_not_in_the_project_is_named_with_what_is(workshop: Workshop) -> None:
    state = state_of(workshop)
    with pytest.raises(InputUnavailable, match=r"^detector 'three' is not in uad.yaml \(there: one, two\)$"):
        state.entry(Cell("alpha/disc", "three"))
    with pytest.raises(InputUnavailable, match=r"dataset 'gamma' is not in uad\.yaml"):
        state.version("normal_images", Cell("gamma/disc", "one"))
    for ask in (state.checkpoint, state.calibration_folder, state.weights):
        with pytest.raises(InputUnavailable, match="'three'"):
            ask(Cell("alpha/disc", "three"))
    with pytest.raises(InputUnavailable, match=r"^fit_settings of three: detector 'three'"):
        state.version("fit_settings", Cell("alpha/disc", "three"))
    assert state.entry(DISC).preset == "bright"
    manifest = state.manifest("alpha/disc")
    assert (manifest.dataset, manifest.category, manifest.layout) == ("alpha", "disc", "mvtec_ad")
    assert state.manifest("alpha/disc") is state.manifest("alpha/disc")


def test_excluded_images_are_in_no_version(workshop: Workshop) -> None:
    before = versions(workshop, DISC)
    image("train/good/009.png")(workshop)
    assert versions(workshop, DISC)["normal_images"] != before["normal_images"]
    workshop.edit(lambda project: project["datasets"]["alpha"].update(exclude=["disc/train/good/009.png"]))
    assert versions(workshop, DISC) == before


def test_weight_files_are_in_the_version_by_their_content(workshop: Workshop) -> None:
    """A path of a cell's own makes it a version of a cell's own."""
    pytest.importorskip("anomalib", reason="extra anomalib not installed")
    for cell in (DISC, RING):
        path = workshop.home / f"ckpt/{cell.category}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(cell.category)
    write_image(workshop.home / "fresh/alpha/1.png", normal_image(1))
    entry = {
        "model": "vision_padim_anomalib",
        "checkpoint": "ckpt/{dataset}/{category}.pt",
        "calibration": {"folder": "fresh/{dataset}"},
    }
    workshop.edit(lambda values: values.update(detectors={"one": entry}))
    state = state_of(workshop)
    assert state.weights(DISC) is None
    assert state.checkpoint(DISC) == workshop.home / "ckpt/alpha/disc.pt"
    assert state.calibration_folder(RING) == workshop.home / "fresh/alpha"
    content = state.input("checkpoint", DISC).content
    assert content["checkpoint"] == hashlib.sha256(b"alpha/disc").hexdigest()
    assert [found["path"] for found in content["calibration"]] == ["1.png"]
    before = {cell: state.version("memory_bank", cell) for cell in (DISC, RING)}
    assert before[DISC] != before[RING]

    (workshop.home / "ckpt/alpha/disc.pt").write_text("trained anew")
    changed = state_of(workshop)
    assert changed.version("memory_bank", DISC) != before[DISC]
    assert changed.version("memory_bank", RING) == before[RING]
    (workshop.home / "ckpt/alpha/ring.pt").unlink()
    with pytest.raises(InputUnavailable, match=r"^checkpoint of alpha/ring\|one: .*ring\.pt"):
        state_of(workshop).version("memory_bank", RING)


def test_an_embedders_weights_are_found_from_the_project_file(workshop: Workshop) -> None:
    (workshop.home / "w").mkdir()
    (workshop.home / "w/r18.pth").write_bytes(b"weights")
    setting(embedder={"name": "resnet18", "weights": "w/r18.pth"})(workshop)
    state = state_of(workshop)
    assert state.weights(DISC) == workshop.home / "w/r18.pth"
    assert state.input("checkpoint", DISC).content == {
        "embedder_weights": hashlib.sha256(b"weights").hexdigest()
    }
    assert state.weights(OTHER) is None, "the filter bank has none"
