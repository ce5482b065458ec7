"""Tiled cells and finished maps in the graph: the library's figures, and what each key recomputes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.orchestration.workshop import EMBEDDER, Workshop
from uad_orchestrator.detectors.create import build_detector
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.detectors.protocol.spec import StageSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.inference import infer, load_bundle, save_bundle
from uad_orchestrator.orchestration.cells.artifact_files import (
    MAPS,
    read_map_scale,
    read_normal_maps,
    read_operating_point,
)
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.services.cell_bundle import cell_bundle
from uad_orchestrator.orchestration.services.project_check.disk import disk_need
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.input_contents import scoring_settings
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.postprocess.map_set import MapSet

CELL = Cell("alpha/disc", "tiled")
TILED: dict[str, Any] = {
    "model": "vision_patchcore",
    "embedder": {**EMBEDDER, "image_size": 32},
    "tiling": {"tile_size": 32, "stride": 24},
    "maps": {"normalisation": "normal_maps", "morphology": {"operation": "opening"}, "min_area": 12},
}


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workshop = Workshop.build(tmp_path_factory.mktemp("tiled"), {"alpha": ["disc"]}, train=4)
    workshop.edit(lambda values: values.update(detectors={"tiled": TILED}))
    result = workshop.refresh()
    assert not result.failed
    assert result.embedded_images == 8
    assert {n.asset: n.embedded_views for n in result.materialized if n.embedded_views} == {
        "memory_bank": 4 * 9,
        "score_table": 4 * 9,  # the test images' tiles; the normals' are known
    }
    return workshop.home


@pytest.fixture
def workshop(refreshed: Path, tmp_path: Path) -> Workshop:
    home = tmp_path / "home"
    shutil.copytree(refreshed, home)
    return Workshop(home)


def library_detector(run: CellRun) -> Detector:
    entry = run.entry
    stages = StageSettings(entry.fit, entry.scoring, entry.maps, entry.tiling)
    return build_detector(entry.model, stages, open_stream(entry.embedder))


def test_the_library_makes_the_cells_scores_thresholds_and_maps(workshop: Workshop) -> None:
    project = workshop.project
    run = CellRun(CELL, open_state(project), open_store(project))
    manifest = run.state.manifest(CELL.category)
    scores, maps = run.directory("score_table"), run.directory("anomaly_maps")
    fitted = library_detector(run).fit(list(manifest.sources(manifest.train)))
    assert fitted.threshold_ == read_operating_point(scores).threshold
    assert fitted.pixel_threshold_ == read_operating_point(maps).threshold
    assert fitted.map_scale_ == read_map_scale(maps)
    assert read_normal_maps(maps)["mean"] == pytest.approx(0, abs=0.2)  # opened after it was normalised

    state = DetectorState.load(run.directory("memory_bank"))
    points = read_operating_point(scores), read_operating_point(maps)
    restored = library_detector(run).restore(state, *points, read_map_scale(maps))
    for record in manifest.test:
        stored = MapSet(maps / MAPS).read(record.path, record.defect_type)
        for detector in (fitted, restored):
            assert np.array_equal(detector.get_anomaly_map(manifest.root / record.path), stored)


@pytest.mark.parametrize(
    ("place", "value", "stages"),
    [
        ("tiling", {"stride": 20}, STAGES),
        ("tiling", {"padding": "edge"}, STAGES),
        ("tiling", {"score_reduce": "mean"}, STAGES[1:]),
        ("tiling", {"topk": 0.5}, STAGES[1:]),
        ("tiling", {"blend": "max"}, STAGES[2:]),
        ("maps", {"min_area": 0}, STAGES[2:]),
    ],
)
def test_each_key_recomputes_the_stage_that_reads_it(
    workshop: Workshop, place: str, value: dict[str, Any], stages: tuple[str, ...]
) -> None:
    workshop.edit(lambda values: values["detectors"]["tiled"][place].update(value))
    assert {node.asset for node in workshop.plan().stale} == {*stages, "leaderboard"}


def test_what_is_a_default_may_be_said(workshop: Workshop) -> None:
    said = {"padding": "reflect", "score_reduce": "max", "topk": 0.1, "blend": "hann"}
    workshop.edit(lambda values: values["detectors"]["tiled"]["tiling"].update(said))
    workshop.edit(lambda values: values["detectors"]["tiled"]["tiling"].pop("stride"))  # 24 is its default
    workshop.edit(lambda values: values["detectors"]["tiled"]["maps"].update(clip=None))
    assert workshop.plan().stale == ()


def test_masked_tiles_alone_have_another_version_than_when_each_was_masked_by_itself(
    workshop: Workshop,
) -> None:
    dino = {"model": "vision_anomalydino", "embedder": EMBEDDER}
    tiled, masked = {"tiling": {"tile_size": 32}}, {"object_mask": True}
    entries = {"plain": dino, "tiled": dino | tiled, "masked": dino | masked, "both": dino | tiled | masked}
    workshop.edit(lambda values: values.update(detectors=entries))
    found = {name: scoring_settings(entry) for name, entry in workshop.project.detectors.items()}
    assert [name for name, content in found.items() if "object_mask_version" in content] == ["both"]


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A tiled detector of a corner of images that are stretched first; one of all of them, not yet refreshed."""
    workshop = Workshop.build(tmp_path_factory.mktemp("part"), {"alpha": ["disc"]}, train=4)
    stretch = {"resize": {"method": "squash", "height": 80, "width": 56}}
    corner = {"roi": {"left": 36, "right": 64, "bottom": 40, "unit": "pixels"}}

    def change(values: dict[str, Any]) -> None:
        values["presets"] = {"corner": [stretch, corner], "stretched": [stretch]}
        values["detectors"] = {
            "tiled": {**TILED, "preset": "corner"},
            "all": {**TILED, "preset": "stretched"},
        }

    workshop.edit(change)
    assert not workshop.refresh(Selection(detectors=("tiled",))).failed
    return workshop


def test_tiles_outside_are_not_embedded_and_those_inside_are_shared(part: Workshop) -> None:
    run = CellRun(CELL, open_state(part.project), open_store(part.project))
    counted = [run.provenance(asset).facts["embedded_views"] for asset in ("memory_bank", "score_table")]
    assert counted == [4 * 2, 4 * 2]  # the upper two on the right, of three rows of two
    result = part.refresh(Selection(detectors=("all",)))
    assert sum(node.embedded_views for node in result.materialized) == 8 * (6 - 2)
    assert part.plan().stale == ()


def test_a_bundle_of_a_part_of_stretched_images_answers_as_its_cell(part: Workshop) -> None:
    run = CellRun(CELL, open_state(part.project), open_store(part.project))
    folder = save_bundle(cell_bundle(run), part.home / "bundle")
    manifest, scores = run.state.manifest(CELL.category), run.directory("score_table")
    rows = {row.image: row for row in read_scores(scores) if row.role == "test"}
    maps = MapSet(run.directory("anomaly_maps") / MAPS)
    results = infer(folder, [manifest.root / record.path for record in manifest.test])
    for record, result in zip(manifest.test, results, strict=True):
        assert result.score == rows[record.path].score
        assert result.anomaly_map.shape == (64, 64)
        assert np.array_equal(result.anomaly_map, maps.read(record.path, record.defect_type))
    assert load_bundle(folder).detector().threshold_ == read_operating_point(scores).threshold


def test_the_disk_a_tiled_detector_needs_grows_with_its_tiles(workshop: Workshop) -> None:
    def of_preset(*steps: object) -> int:
        workshop.edit(lambda values: values.update(presets={"own": list(steps)}))
        workshop.edit(lambda values: values["detectors"]["tiled"].update(preset="own"))
        return disk_need(workshop.project).bytes

    tiled = of_preset()
    assert of_preset({"resize": {"factor": 3}}) > 5 * tiled, "tiles are counted where they are cut"
    assert of_preset() == tiled
    workshop.edit(lambda values: values["detectors"]["tiled"].pop("tiling"))
    assert tiled > 5 * disk_need(workshop.project).bytes
