"""What the inputs hold, to the last key: the digest of it is their version, so that no key may come or go unseen."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.workshop import EMBEDDER, Workshop, normal_image, write_image
from uad_orchestrator.datasets.defects_config import DefectKind
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest, MaskFile
from uad_orchestrator.detectors.protocol.settings import Settings
from uad_orchestrator.detectors.registry import DETECTORS
from uad_orchestrator.embedders.create import embedder_recipe
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.orchestration.versions import input_contents
from uad_orchestrator.project import DetectorEntry

HOLE = DefectKind("hole", 255, 0.5, True)


def record(
    path: str, split: Any, label: int, kind: str, *masks: MaskFile, group: str | None = None
) -> ImageRecord:
    return ImageRecord(path, split, label, kind, f"digest of {path}", masks, group)


MASK = MaskFile("m/dent.png", "digest of the mask")
MANIFEST = Manifest(
    "parts",
    "disc",
    "mvtec_ad",
    Path("/anywhere"),
    (
        record("disc/train/1.png", "train", 0, "good", group="part 7"),
        record("disc/train/odd.png", "train", 1, "dent"),
        record("disc/validation/2.png", "validation", 0, "good"),
        record("disc/test/good/3.png", "test", 0, "good"),
        record("disc/test/dent/4.png", "test", 1, "dent", MASK),
        record("disc/private/5.png", "test_private", -1, "unknown"),
    ),
)


def row(path: str, split: str, group: str | None = None) -> dict[str, Any]:
    return {"path": path, "sha256": f"digest of {path}", "split": split, "group": group}


GOOD, DENT = ({"label": i, "defect_type": kind} for i, kind in enumerate(("good", "dent")))
UNKNOWN = {"label": -1, "defect_type": "unknown"}
MASKS = [{"path": "m/dent.png", "sha256": "digest of the mask"}]


def test_a_category_is_all_rows_of_its_manifest() -> None:
    assert input_contents.dataset_category(MANIFEST) == {
        "layout": "mvtec_ad",
        "images": [
            row("disc/train/1.png", "train", "part 7") | GOOD,
            row("disc/train/odd.png", "train") | DENT,
            row("disc/validation/2.png", "validation") | GOOD,
            row("disc/test/good/3.png", "test") | GOOD,
            row("disc/test/dent/4.png", "test") | DENT,
            row("disc/private/5.png", "test_private") | UNKNOWN,
        ],
        "masks": MASKS,
    }


def test_boxes_belong_to_the_ground_truth_and_to_nothing_that_is_computed_before_it() -> None:
    boxed = replace(MANIFEST.test[-1], masks=(), boxes=((1.0, 2.0, 3.0, 4.0),))
    manifest = replace(MANIFEST, records=(*MANIFEST.records[:-2], boxed))
    expected = [{"path": boxed.path, "boxes": ((1.0, 2.0, 3.0, 4.0),)}]
    assert input_contents.ground_truth(manifest)["boxes"] == expected
    assert input_contents.dataset_category(manifest)["boxes"] == expected
    assert "boxes" not in input_contents.ground_truth(MANIFEST)
    unboxed = replace(manifest, records=(*manifest.records[:-1], replace(boxed, boxes=())))
    assert input_contents.test_images(manifest) == input_contents.test_images(unboxed)


def test_normals_are_those_of_training_and_validation_without_labels() -> None:
    assert input_contents.normal_images(MANIFEST) == {
        "images": [
            row("disc/train/1.png", "train", "part 7"),
            row("disc/validation/2.png", "validation"),
        ]
    }


def test_what_is_scored_has_its_labels_and_no_masks() -> None:
    assert input_contents.test_images(MANIFEST) == {
        "images": [
            row("disc/test/good/3.png", "test") | GOOD,
            row("disc/test/dent/4.png", "test") | DENT,
            row("disc/private/5.png", "test_private") | UNKNOWN,
        ]
    }


def test_the_ground_truth_is_labels_and_masks_and_what_their_values_mean() -> None:
    truth = {
        "labels": [{"path": "disc/test/good/3.png"} | GOOD, {"path": "disc/test/dent/4.png"} | DENT],
        "masks": MASKS,
    }
    assert input_contents.ground_truth(MANIFEST) == truth
    in_channels = Manifest("parts", "disc", "mvtec_loco", Path("/a"), MANIFEST.records, defects=(HOLE,))
    meaning = {
        "name": "hole", "pixel_value": 255, "saturation_threshold": 0.5, "relative_saturation": True,
    }  # fmt: skip
    assert input_contents.ground_truth(in_channels) == truth | {"defects": [meaning]}
    assert input_contents.dataset_category(in_channels)["defects"] == [meaning]


def test_where_the_files_lie_is_no_part_of_it() -> None:
    elsewhere = Manifest(
        "parts", "disc", "mvtec_ad", Path("/elsewhere"), MANIFEST.records, ("a.png",), ("note",)
    )
    for content in ("dataset_category", "normal_images", "test_images", "ground_truth"):
        assert getattr(input_contents, content)(elsewhere) == getattr(input_contents, content)(MANIFEST)


def test_what_changes_pixels_is_part_of_what_reads_images_and_nothing_else_is() -> None:
    deep = replace(MANIFEST, reading=ReadingSettings(bit_depth=12, max_megapixels=7))
    large = replace(MANIFEST, reading=ReadingSettings(max_megapixels=7))
    for content in (
        input_contents.dataset_category,
        input_contents.normal_images,
        input_contents.test_images,
    ):
        assert content(large) == content(MANIFEST)
        assert content(deep) == {**content(MANIFEST), "reading": {"bit_depth": 12}}
    assert input_contents.ground_truth(deep) == input_contents.ground_truth(MANIFEST)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_a_checkpoint_is_the_contents_of_its_files(tmp_path: Path) -> None:
    weights, trained = written(tmp_path / "w.pth", "w"), written(tmp_path / "model.ckpt", "ckpt")
    assert input_contents.checkpoint(None, None, sha256) == {"embedder_weights": None}
    assert input_contents.checkpoint(weights, None, sha256) == {"embedder_weights": sha256(weights)}
    assert input_contents.checkpoint(None, trained, sha256) == {
        "embedder_weights": None,
        "checkpoint": sha256(trained),
    }
    graph, beside = written(tmp_path / "model.xml", "graph"), written(tmp_path / "model.bin", "tensors")
    assert input_contents.checkpoint(weights, graph, sha256) == {
        "embedder_weights": sha256(weights),
        "checkpoint": sha256(graph),
        "checkpoint.bin": sha256(beside),
    }


def test_a_calibration_folder_is_its_images_by_name_and_content(tmp_path: Path) -> None:
    assert input_contents.calibration(None, sha256) == {}
    for seed in (2, 1):
        write_image(tmp_path / f"fresh/{seed}.png", normal_image(seed))
    assert input_contents.calibration(tmp_path / "fresh", sha256) == {
        "calibration": [
            {"path": f"{seed}.png", "sha256": sha256(tmp_path / f"fresh/{seed}.png")} for seed in (1, 2)
        ]
    }


def entry_of(home: Path, **values: Any) -> tuple[Workshop, DetectorEntry]:
    workshop = Workshop.build(home, {"alpha": ["disc"]}, train=1)
    entry = {"model": "vision_patchcore", "embedder": EMBEDDER, **values}
    workshop.edit(lambda project: project.update(detectors={"one": entry}))
    return workshop, workshop.project.detectors["one"]


def test_settings_are_cut_by_the_stage_that_reads_them(tmp_path: Path) -> None:
    _, entry = entry_of(tmp_path, coreset={"ratio": 0.25}, n_neighbors=3, maps={"gaussian_sigma": 7})
    fit, scoring, maps = (
        getattr(input_contents, f"{stage}_settings")(entry) for stage in ("fit", "scoring", "map")
    )
    assert set(fit) == {"model", "stage_version", "embedder", "settings"}
    assert (fit["model"], fit["stage_version"]) == (
        "vision_patchcore",
        DETECTORS["vision_patchcore"].versions["fit"],
    )
    assert fit["embedder"] == dict(embedder_recipe(entry.embedder)) and fit["embedder"]["image_size"] == 64
    assert fit["settings"]["coreset"]["ratio"] == 0.25 and "n_neighbors" not in fit["settings"]
    assert set(scoring) == {"settings"}
    assert scoring["settings"]["n_neighbors"] == 3 and "coreset" not in scoring["settings"]
    assert maps == {"settings": entry.maps.recipe()} and "7" in str(maps)


def test_tiling_adds_each_stages_own_keys(tmp_path: Path) -> None:
    _, entry = entry_of(tmp_path, tiling={"tile_size": 32, "score_reduce": "mean", "blend": "mean"})
    fit, scoring, maps = (
        getattr(input_contents, f"{stage}_settings")(entry) for stage in ("fit", "scoring", "map")
    )
    assert set(fit["tiling"]) == {"version", "tile_size", "stride", "padding"}
    assert (fit["tiling"]["tile_size"], fit["tiling"]["stride"]) == (32, 24)
    assert scoring["tiling"] == {"version": 1, "score_reduce": "mean", "topk": 0.1}
    assert maps["tiling"] == {"version": 1, "blend": "mean"}
    assert scoring == {
        "settings": entry.scoring.model_dump(mode="json"),
        "tiling": scoring["tiling"],
        **entry.scoring.on_tiles(),
    }


def test_a_version_of_some_settings_alone_is_part_of_its_stage_whichever_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, entry = entry_of(tmp_path)
    before = {
        stage: getattr(input_contents, f"{stage}_settings")(entry) for stage in ("fit", "scoring", "map")
    }
    monkeypatch.setattr(Settings, "versions", lambda settings: {"of_these": 2})
    for stage, content in before.items():
        assert getattr(input_contents, f"{stage}_settings")(entry) == {**content, "of_these": 2}


def test_a_model_of_another_package_brings_the_packages_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("anomalib", reason="extra anomalib not installed")
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]}, train=1)
    workshop.edit(
        lambda project: project.update(detectors={"one": {"model": "vision_padim_anomalib", "train": {}}})
    )
    entry = workshop.project.detectors["one"]
    content = input_contents.fit_settings(entry)
    assert content["package"] == {"anomalib": version("anomalib")}
    assert content["embedder"] is None
    monkeypatch.setattr("uad_orchestrator.extras.find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"vision_padim_anomalib needs anomalib.*uad_orchestrator\[anomalib\]"
    ):
        input_contents.fit_settings(entry)


def test_a_preset_is_its_steps_and_not_its_name(tmp_path: Path) -> None:
    workshop, _ = entry_of(tmp_path)
    workshop.edit(lambda project: project["presets"].update(same=project["presets"]["bright"]))
    project, one = workshop.project, workshop.project.detectors["one"]
    bright, same = (
        input_contents.preprocessing_preset(project, one.model_copy(update={"preset": name}))
        for name in ("bright", "same")
    )
    assert bright == same != input_contents.preprocessing_preset(project, one)
    assert [step["step"] for step in bright["steps"]] == ["illumination"]
    assert bright["steps"][0]["gamma"] == 1.0


def test_the_protocol_is_what_is_measured_and_of_which_pixels(tmp_path: Path) -> None:
    workshop, _ = entry_of(tmp_path)
    assert input_contents.evaluation_protocol(workshop.project, "alpha") == {
        "settings": {"aupro_limits": [0.3, 0.05]}
    }
    workshop.edit(lambda project: project["evaluation"].update(roi_metrics="include", aupimo=True))
    assert input_contents.evaluation_protocol(workshop.project, "alpha") == {
        "settings": {"aupro_limits": [0.3, 0.05], "aupimo": True, "roi_metrics": "include"}
    }
