"""What each change must cost: exactly the cells that depend on it, counted in images embedded and artifacts written."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.workshop import Workshop, computed, defective_image, normal_image, write_image
from uad_orchestrator.orchestration.versions.graph import STAGES

DATASETS = {"alpha": ["disc", "ring"], "beta": ["disc", "ring"]}
CATEGORIES = [f"{name}/{category}" for name, categories in DATASETS.items() for category in categories]
DETECTORS = ["patchcore", "bright", "dino"]


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project all of whose cells are up to date; tests work on copies."""
    workshop = Workshop.build(tmp_path_factory.mktemp("grid"), DATASETS)
    result = workshop.refresh()
    assert not result.failed
    assert computed(result) == nodes()
    # 3 detectors share one embedder, two of them the preset too: 10 images x 4 categories x 2 presets
    assert result.embedded_images == 80
    return workshop.home


@pytest.fixture
def workshop(refreshed: Path, tmp_path: Path) -> Workshop:
    home = tmp_path / "home"
    shutil.copytree(refreshed, home)  # mtimes are kept, inodes are not: digests are taken again, values stay
    return Workshop(home)


def nodes(
    assets: tuple[str, ...] = STAGES, categories: list[str] = CATEGORIES, detectors: list[str] = DETECTORS
) -> set[tuple[str, str, str]]:
    return set(itertools.product(assets, categories, detectors))


def test_nothing_changed(workshop: Workshop) -> None:
    assert workshop.plan().stale == ()
    result = workshop.refresh()
    assert (result.materialized, result.embedded_images) == ([], 0)


def test_touched_file_reordered_keys_and_a_comment(workshop: Workshop) -> None:
    (workshop.home / "data/alpha/disc/train/good/000.png").touch()
    workshop.edit(lambda values: values.update(detectors=dict(reversed(values["detectors"].items()))))
    path = workshop.home / "uad.yaml"
    path.write_text("# a comment\n" + path.read_text())
    assert workshop.plan().stale == ()


def test_preset_parameter(workshop: Workshop) -> None:
    workshop.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=1.2))
    reasons = {
        reason for node in workshop.plan().stale for reason in node.reasons if node.asset == "memory_bank"
    }
    assert reasons == {"preset bright changed: gamma 1.0 -> 1.2"}
    result = workshop.refresh()
    assert computed(result) == nodes(detectors=["bright"])
    assert result.embedded_images == 40


def test_back_to_the_earlier_preset(workshop: Workshop) -> None:
    def gamma(value: float) -> None:
        workshop.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=value))

    gamma(1.2)
    workshop.refresh()
    gamma(1.0)
    result = workshop.refresh()
    assert computed(result) == set()
    reused = {(n.asset, n.category, n.detector) for n in result.materialized if n.reused}
    assert reused == nodes(detectors=["bright"])
    assert result.embedded_images == 0
    assert workshop.plan().stale == ()


@pytest.mark.parametrize(
    "setting",
    [{"n_neighbors": 2}, {"aggregation": "mean"}, {"contamination": 0.1}],
    ids=lambda s: next(iter(s)),
)
def test_scoring_setting(workshop: Workshop, setting: dict[str, Any]) -> None:
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(setting))
    result = workshop.refresh()
    assert computed(result) == nodes(STAGES[1:], detectors=["patchcore"])
    assert result.embedded_images == 0


def test_map_setting(workshop: Workshop) -> None:
    workshop.edit(lambda values: values["detectors"]["dino"]["maps"].update(gaussian_sigma=3.0))
    result = workshop.refresh()
    assert computed(result) == nodes(("anomaly_maps", "metrics_report"), detectors=["dino"])
    assert result.embedded_images == 0


def test_aupro_limits(workshop: Workshop) -> None:
    workshop.edit(lambda values: values["evaluation"].update(aupro_limits=[0.3, 0.1]))
    result = workshop.refresh()
    assert computed(result) == nodes(("metrics_report",))
    assert result.embedded_images == 0


def test_edited_mask(workshop: Workshop) -> None:
    path = workshop.home / "data/alpha/ring/ground_truth/scratch/000_mask.png"
    _, mask = defective_image(0)
    mask[:4] = 255
    write_image(path, mask)
    reasons = {reason for node in workshop.plan().stale for reason in node.reasons if node.category}
    assert reasons == {"1 mask changed"}
    assert computed(workshop.refresh()) == nodes(("metrics_report",), ["alpha/ring"])


def test_test_image_added(workshop: Workshop) -> None:
    write_image(workshop.home / "data/alpha/ring/test/good/009.png", normal_image(12345))
    result = workshop.refresh()
    assert computed(result) == nodes(STAGES[1:], ["alpha/ring"])
    assert result.embedded_images == 2  # one per embedder and preset


def test_normal_images_added(workshop: Workshop) -> None:
    for i in range(10):
        write_image(workshop.home / f"data/beta/disc/train/good/1{i:02d}.png", normal_image(20000 + i))
    reasons = {
        reason for node in workshop.plan().stale for reason in node.reasons if node.asset == "memory_bank"
    }
    assert reasons == {"10 new normal images"}
    result = workshop.refresh()
    assert computed(result) == nodes(categories=["beta/disc"])
    assert result.embedded_images == 20  # ten per embedder and preset


def test_images_removed(workshop: Workshop) -> None:
    (workshop.home / "data/beta/disc/train/good/005.png").unlink()
    reasons = {
        reason for node in workshop.plan().stale for reason in node.reasons if node.asset == "memory_bank"
    }
    assert reasons == {"1 normal image removed"}
    assert computed(workshop.refresh()) == nodes(categories=["beta/disc"])


def test_second_detector_with_the_same_embedder(workshop: Workshop) -> None:
    def add(values: dict[str, Any]) -> None:
        values["detectors"]["second"] = {**values["detectors"]["patchcore"], "coreset": {"ratio": 0.2}}

    workshop.edit(add)
    result = workshop.refresh()
    assert computed(result) == nodes(detectors=["second"])
    assert result.embedded_images == 0


def test_detector_and_category_taken_away(workshop: Workshop) -> None:
    def take_away(values: dict[str, Any]) -> None:
        del values["detectors"]["bright"]
        values["datasets"]["beta"]["categories"] = ["disc"]

    workshop.edit(take_away)
    result = workshop.refresh()
    assert [node.asset for node in result.materialized] == ["leaderboard"]


def test_artifact_missing_from_the_store(workshop: Workshop) -> None:
    shutil.rmtree(workshop.home / ".uad/artifacts/anomaly_maps/alpha/disc/dino")
    assert [(n.asset, n.reasons) for n in workshop.plan().stale if n.category] == [
        ("anomaly_maps", ("artifact missing from the store",))
    ]
    assert computed(workshop.refresh()) == {("anomaly_maps", "alpha/disc", "dino")}


def test_failed_cell_does_not_stop_the_others(workshop: Workshop) -> None:
    (workshop.home / "data/alpha/disc/train/good/000.png").write_bytes(b"not an image")
    (workshop.home / "data/alpha/ring/train/good/000.png").unlink()
    result = workshop.refresh()
    assert {node.category for node in result.failed} == {"alpha/disc"}
    assert all("000.png" in node.error for node in result.failed)
    assert {node.category for node in result.skipped} == {"alpha/disc"}
    assert computed(result) == nodes(categories=["alpha/ring"])


def test_removed_dataset_is_an_error_not_all_images_removed(workshop: Workshop) -> None:
    shutil.rmtree(workshop.home / "data/beta")
    stale = [node for node in workshop.plan().stale if node.category]
    assert {node.category for node in stale} == {"beta/disc", "beta/ring"}
    assert all("cannot be computed" in reason for node in stale for reason in node.reasons)
