"""Three sets in one project, each measured by its own protocol, from files to metrics.json, board and report."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.metrics.made_pixels import brute_force_spro
from tests.orchestration.workshop import EMBEDDER, SIDE, Workshop, defective_image, normal_image, write_image
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.detectors.protocol.scoring import ScoreRow, read_scores
from uad_orchestrator.images.decode import read_mask
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.artifact_files import MAPS, METRICS_FILE, read_normal_maps
from uad_orchestrator.orchestration.cells.board import current_board
from uad_orchestrator.orchestration.cells.cell_report import GroundTruthReader
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.services.reports import save_report
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.postprocess.map_set import MapSet

LOCO, AD2, PLAIN = "mvtec_loco/pins", "mvtec_ad2/vial", "mvtec_ad/disc"
TYPES = ("logical_anomalies", "structural_anomalies")


def write_normals(folder: Path, seed: int, n: int, suffix: str = ".png") -> None:
    for i in range(n):
        write_image(folder / f"{i:03d}{suffix}", normal_image(seed + i))


def write_loco(folder: Path) -> None:
    """Two channels per logical anomaly, which overlap; values 1 and 255; one saturates at 6 pixels."""
    write_normals(folder / "train/good", 0, 5)
    write_normals(folder / "validation/good", 50, 3)
    write_normals(folder / "test/good", 100, 2)
    for k, kind in enumerate(TYPES):
        for i in range(2):
            image, mask = defective_image(200 + 10 * k + i)
            write_image(folder / f"test/{kind}/{i:03d}.png", image)
            channels = folder / f"ground_truth/{kind}/{i:03d}"
            write_image(channels / "000.png", mask)
            if k == 0:
                other = np.zeros_like(mask)
                other[26:34, 26:34] = 1
                write_image(channels / "001.png", other)
    kinds = [
        {
            "defect_name": "scratch",
            "pixel_value": 255,
            "saturation_threshold": 0.5,
            "relative_saturation": True,
        },
        {"defect_name": "gap", "pixel_value": 1, "saturation_threshold": 6, "relative_saturation": False},
    ]
    (folder / "defects_config.json").write_text(json.dumps(kinds))


def write_ad2(folder: Path) -> None:
    """Masks of one bit; the two private splits have images of the same names."""
    write_normals(folder / "train/good", 0, 5)
    write_normals(folder / "validation/good", 50, 4)
    write_normals(folder / "test_public/good", 100, 2)
    for i in range(2):
        image, mask = defective_image(300 + i)
        write_image(folder / f"test_public/bad/{i:03d}.png", image)
        path = folder / f"test_public/ground_truth/bad/{i:03d}_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask > 0).save(path)
    for split, seed, n in (("test_private", 400, 2), ("test_private_mixed", 500, 3)):
        write_normals(folder / split, seed, n)


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    home = tmp_path_factory.mktemp("protocols")
    workshop = Workshop.build(home, {"mvtec_ad": ["disc"]})
    write_loco(home / "data/mvtec_loco/pins")
    write_ad2(home / "data/mvtec_ad2/vial")
    datasets = {name: {"root": f"data/{name}"} for name in ("mvtec_ad", "mvtec_ad2", "mvtec_loco")}
    patchcore = {"model": "vision_patchcore", "embedder": EMBEDDER, "coreset": {"ratio": 0.1}}
    workshop.write(
        {"runtime": {"device": "cpu"}, "datasets": datasets, "detectors": {"patchcore": patchcore}}
    )
    result = workshop.refresh()
    assert not result.failed, result.failed
    return workshop


def run_of(workshop: Workshop, category: str) -> CellRun:
    project = workshop.project
    return CellRun(Cell(category, "patchcore"), open_state(project), open_store(project))


def report_of(workshop: Workshop, category: str) -> MetricsReport:
    directory = run_of(workshop, category).directory("metrics_report")
    return MetricsReport.from_json((directory / METRICS_FILE).read_bytes())


def scored(run: CellRun) -> tuple[list[ScoreRow], dict[str, np.ndarray]]:
    """The rows of a cell, and the maps of all that is not calibration."""
    rows = [row for row in read_scores(run.directory("score_table")) if row.role != "calibration"]
    maps = MapSet(run.directory("anomaly_maps") / MAPS)
    return rows, {row.image: maps.read(row.image, row.map_folder) for row in rows}


def test_locos_spro_is_brute_force_over_all_channels_of_the_files(refreshed: Workshop) -> None:
    root = refreshed.home / "data/mvtec_loco/pins"
    rows, maps = scored(run_of(refreshed, LOCO))
    found = report_of(refreshed, LOCO)
    values = []
    for kind, report in zip(TYPES, found.per_defect, strict=True):
        assert report.defect_type == kind
        chosen = [row.image for row in rows if row.defect_type in ("good", kind)]
        channels: list[list[tuple[np.ndarray, int]]] = []
        for image in chosen:
            own = []
            for name in sorted((root / "ground_truth" / kind / Path(image).stem).glob("*.png")):
                mask = read_mask(name)
                area = int(mask.sum())
                own.append((mask, int(0.5 * area) if name.stem == "000" else min(6, area)))
            channels.append(own if kind in image else [])
        assert sum(map(len, channels)) == (4 if kind == TYPES[0] else 2)
        limits = (0.01, 0.05, 0.1, 0.3, 1)
        expected = brute_force_spro(np.stack([maps[image] for image in chosen]), channels, limits)
        for name, value in expected.items():
            assert report.metrics[name] == pytest.approx(value, abs=1e-5), name
        values.append(expected)
    for name in values[0]:
        assert found.metrics[name] == pytest.approx(np.mean([of[name] for of in values]), abs=1e-5)
    assert not {"aupro_0.3", "aupro_0.05"} & set(found.metrics)


def test_seg_f1_comes_from_the_pixels_of_the_validation_maps(refreshed: Workshop) -> None:
    run, found = run_of(refreshed, AD2), report_of(refreshed, AD2)
    statistics = read_normal_maps(run.directory("anomaly_maps"))
    assert found.segmentation is not None
    assert found.segmentation.threshold == statistics["mean"] + 3 * statistics["std"]  # type: ignore[operator]
    assert (found.segmentation.source, found.segmentation.n) == ("validation", 4)
    rows, maps = scored(run)
    truth = GroundTruthReader(run.state.manifest(AD2))
    hits = false = missed = 0
    for row in rows:
        if row.role == "test":
            of = truth.of(row.image)
            assert of is not None
            called = maps[row.image] > found.segmentation.threshold
            hits += int((called & of.mask).sum())
            false += int((called & ~of.mask).sum())
            missed += int((~called & of.mask).sum())
    assert hits > 0
    assert found.metrics["seg_f1"] == pytest.approx(2 * hits / (2 * hits + false + missed))
    assert "aupro_0.05" in found.metrics and "aupro_0.3" not in found.metrics


def test_private_splits_are_scored_and_have_maps_but_no_metrics(refreshed: Workshop) -> None:
    run, found = run_of(refreshed, AD2), report_of(refreshed, AD2)
    assert [(s.split, s.n, s.reason) for s in found.unlabelled] == [
        ("test_private", 2, "no ground truth published"),
        ("test_private_mixed", 3, "no ground truth published"),
    ]
    counts = found.counts
    assert (counts.n_train, counts.n_validation, counts.n_test_normal, counts.n_test_anomalous) == (
        5,
        4,
        2,
        2,
    )
    assert [report.defect_type for report in found.per_defect] == ["bad"]
    folder = run.directory("anomaly_maps") / MAPS
    written = sorted(str(path.relative_to(folder)) for path in MapSet(folder).paths())
    assert written == [
        "bad/000.tiff", "bad/001.tiff", "good/000.tiff", "good/001.tiff",
        "test_private/000.tiff", "test_private/001.tiff",
        "test_private_mixed/000.tiff", "test_private_mixed/001.tiff", "test_private_mixed/002.tiff",
    ]  # fmt: skip
    rows, maps = scored(run)
    assert {(row.role, row.label) for row in rows if "private" in row.image} == {
        ("test_private", -1), ("test_private_mixed", -1),
    }  # fmt: skip
    assert all(made.shape == (SIDE, SIDE) for made in maps.values())


def test_a_private_image_that_changes_is_scored_again(refreshed: Workshop, tmp_path: Path) -> None:
    workshop = copied(refreshed, tmp_path)
    write_image(workshop.home / "data/mvtec_ad2/vial/test_private/001.png", normal_image(999))
    stale = {(node.asset, node.category) for node in workshop.plan().stale if node.category}
    assert stale == {(asset, AD2) for asset in ("score_table", "anomaly_maps", "metrics_report")}


def test_board_and_report_show_what_each_protocol_measures(refreshed: Workshop, tmp_path: Path) -> None:
    project = refreshed.project
    board = current_board(open_state(project), open_store(project))
    rows = {row.category_key: row for row in board.rows}
    silent = "not measured by this dataset's protocol"
    assert rows[LOCO].value("spro_0.05") is not None and rows[LOCO].reasons["aupro_0.3"] == silent
    assert rows[PLAIN].value("aupro_0.3") is not None and rows[PLAIN].reasons["spro_0.05"] == silent
    assert rows[AD2].value("seg_f1") is not None and rows[AD2].reasons["aupro_0.3"] == silent
    assert len({frozenset(row.model_dump(by_alias=True)) for row in board.rows}) == 1
    for means in board.means:
        assert means.narrower == {}
    page = save_report(project, tmp_path / "report.html").read_text()
    assert "sPRO@0.05" in page and "Saturated per-region overlap" in page
    assert "test_private_mixed: 3 images, no ground truth published" in page


@pytest.mark.parametrize(
    ("evaluation", "changed"),
    [
        ({"aupro_limits": [0.3, 0.05]}, [AD2]),
        ({"spro_limits": [0.05]}, [LOCO]),
        ({"aupimo": True}, [LOCO, AD2, PLAIN]),
        ({"seg_f1": True}, [LOCO, PLAIN]),
        ({"protocol": {"mvtec_ad": "mvtec_ad2"}}, [PLAIN]),
        ({"protocol": "mvtec_ad"}, [LOCO, AD2]),
    ],
    ids=str,
)
def test_only_categories_whose_protocol_changes_are_measured_again(
    refreshed: Workshop, tmp_path: Path, evaluation: dict[str, Any], changed: list[str]
) -> None:
    workshop = copied(refreshed, tmp_path)
    workshop.edit(lambda values: values.update(evaluation=evaluation))
    stale = {(node.asset, node.category) for node in workshop.plan().stale if node.category}
    assert stale == {("metrics_report", category) for category in changed}


def test_the_protocol_of_the_project_file_is_the_one_measured(refreshed: Workshop, tmp_path: Path) -> None:
    workshop = copied(refreshed, tmp_path)
    chosen = {"protocol": {"mvtec_loco": "mvtec_ad"}, "aupimo": True}
    workshop.edit(lambda values: values.update(evaluation=chosen))
    assert not workshop.refresh(Selection(categories=(LOCO,))).failed
    found = report_of(workshop, LOCO)
    assert {"aupro_0.3", "aupro_0.05", "aupimo"} <= set(found.metrics)
    assert "spro_0.05" not in found.metrics
    assert found.reasons["aupimo"].endswith("100000 are needed")


@pytest.fixture
def loco_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "loco/pins"
    write_loco(folder)
    return folder


def change_kind(folder: Path, change: dict[str, Any]) -> None:
    """Change the scratch's entry in defects_config.json."""
    config = folder / "defects_config.json"
    kinds = json.loads(config.read_text())
    kinds[0].update(change)
    config.write_text(json.dumps(kinds))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"saturation_threshold": 0.0001}, "of 'scratch' have the saturation area 0 by defects_config.json"),
        ({"pixel_value": 7}, "a channel has one beside 0, and defects_config.json knows 1, 7"),
    ],
)
def test_a_channel_that_cannot_be_saturated_is_named(
    loco_folder: Path, change: dict[str, Any], said: str
) -> None:
    change_kind(loco_folder, change)
    truth = GroundTruthReader(load_dataset("mvtec_loco", loco_folder.parent, "pins"))
    image = "pins/test/logical_anomalies/000.png"
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        truth.of(image, in_channels=True)
    assert str(caught.value).startswith("pins/ground_truth/logical_anomalies/000/000.png")
    assert truth.of(image) is not None  # as one mask it is what it was


def test_a_channel_of_two_values_or_of_none_is_named(loco_folder: Path) -> None:
    channel = loco_folder / "ground_truth/logical_anomalies/000/000.png"
    for pixels in ([0, 1, 255], [0, 0, 0]):
        write_image(channel, np.resize(np.array(pixels, np.uint8), (SIDE, SIDE)))
        truth = GroundTruthReader(load_dataset("mvtec_loco", loco_folder.parent, "pins"))
        with pytest.raises(ValueError, match=r"000/000\.png has the pixel values (1, 255|0 only)"):
            truth.of("pins/test/logical_anomalies/000.png", in_channels=True)


def test_a_saturation_area_of_0_fails_the_metrics_alone(refreshed: Workshop, tmp_path: Path) -> None:
    workshop = copied(refreshed, tmp_path)
    change_kind(workshop.home / "data/mvtec_loco/pins", {"saturation_threshold": 0.0001})
    [stale] = [node for node in workshop.plan().stale if node.category]
    assert (stale.asset, stale.reasons) == ("metrics_report", ("defects_config.json changed",))
    [failed] = workshop.refresh().failed
    assert failed.asset == "metrics_report"
    assert "saturation area 0" in failed.error


def copied(workshop: Workshop, tmp_path: Path) -> Workshop:
    home = tmp_path / "home"
    shutil.copytree(workshop.home, home)
    return Workshop(home)


def test_a_plain_sets_protocol_has_the_version_it_always_had(refreshed: Workshop) -> None:
    content = open_state(refreshed.project).input("evaluation_protocol", Cell(PLAIN, "")).content
    assert content == {"settings": {"aupro_limits": [0.3, 0.05]}}
    assert yaml.safe_load((refreshed.home / "uad.yaml").read_text()).get("evaluation") is None
