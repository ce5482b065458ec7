"""What the inputs hold right now, as JSON: the content whose digest is their version.

Each function returns plain JSON values holding all that may change a result, and nothing else: not where a
file lies, not what a preset is called, not the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from uad_orchestrator.datasets.layouts.registry import PLUGINS, find_layout
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest
from uad_orchestrator.detectors.anomalib.calibration_folder import calibration_files
from uad_orchestrator.detectors.anomalib.trusted_files import checkpoint_files
from uad_orchestrator.detectors.registry import detector_spec, required_packages
from uad_orchestrator.embedders.create import embedder_recipe
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.project import DetectorEntry, Project

Content = Mapping[str, Any]
Digests = Callable[[Path], str]
"""SHA-256 (hex) of a file's bytes."""


def dataset_category(manifest: Manifest) -> Content:
    """All rows of the manifest; the version of the package that reads its layout, where that is not this one."""
    return {
        "layout": manifest.layout,
        "images": [_row(r) | _labels(r) for r in manifest.records],
        "masks": _masks(manifest.records),
        **_reading(manifest),
        **_boxes(manifest.records),
        **_defects(manifest),
        **_layout_package(manifest.layout),
    }


def normal_images(manifest: Manifest) -> Content:
    """The training and validation normals."""
    return {"images": [_row(r) for r in (*manifest.train, *manifest.validation)], **_reading(manifest)}


def test_images(manifest: Manifest) -> Content:
    """All that is scored. Label and defect type belong to it: they stand in the score table and name the maps."""
    return {"images": [_row(r) | _labels(r) for r in manifest.scored], **_reading(manifest)}


def ground_truth(manifest: Manifest) -> Content:
    """Labels, defect types and masks of the labelled test images."""
    return {
        "labels": [{"path": r.path} | _labels(r) for r in manifest.test],
        "masks": _masks(manifest.test),
        **_boxes(manifest.test),
        **_defects(manifest),
    }


def preprocessing_preset(project: Project, entry: DetectorEntry) -> Content:
    """The preset's steps with every parameter; its name is not part of it."""
    return dict(resolve_preset(entry.preset, project.presets).recipe())


def checkpoint(weights: Path | None, trained: Path | None, digests: Digests) -> Content:
    """The contents of the weight files a cell loads: its embedder's, and those of a trained model."""
    content: dict[str, Any] = {"embedder_weights": None if weights is None else digests(weights)}
    if trained is not None:
        first, *beside = checkpoint_files(trained)
        content |= {"checkpoint": digests(first)} | {f"checkpoint{f.suffix}": digests(f) for f in beside}
    return content


def calibration(folder: Path | None, digests: Digests) -> Content:
    """The images of the folder that the checkpoint is calibrated on; nothing where it names none.

    It goes with the checkpoint: which normals are new depends on what that one was trained on. The memory bank of
    a checkpoint is the file itself, so that reading it once more costs next to nothing.
    """
    if folder is None:
        return {}
    rows = [{"path": path.name, "sha256": digests(path)} for path in calibration_files(folder)]
    return {"calibration": rows}


def fit_settings(entry: DetectorEntry) -> Content:
    """What the memory bank depends on: model, stage version, embedder, fit settings; for a model that another
    package brings, the version of that package.

    Raises:
        ImportError: that package is not installed, or cannot be used.
    """
    packages = required_packages(entry.model)
    content: dict[str, Any] = {
        "model": entry.model,
        "stage_version": detector_spec(entry.model).versions["fit"],
        "embedder": None if entry.embedder is None else dict(embedder_recipe(entry.embedder)),
        "settings": entry.fit.model_dump(mode="json"),
        **entry.fit.versions(),
        **_tiling(entry, "fit"),
    }
    return {**content, "package": packages} if packages else content


def scoring_settings(entry: DetectorEntry) -> Content:
    """What the score table depends on beyond the bank."""
    on_tiles = {} if entry.tiling is None else entry.scoring.on_tiles()
    settings = {"settings": entry.scoring.model_dump(mode="json"), **entry.scoring.versions()}
    return {**settings, **_tiling(entry, "scoring"), **on_tiles}


def map_settings(entry: DetectorEntry) -> Content:
    """What the anomaly maps depend on beyond the scores."""
    return {"settings": entry.maps.recipe(), **entry.maps.versions(), **_tiling(entry, "maps")}


def evaluation_protocol(project: Project, dataset: str) -> Content:
    """Which metrics, up to which limits, of which pixels."""
    roi = project.evaluation.model_dump(include={"roi_metrics"})  # empty where it is the usual
    return {"settings": project.protocol(dataset).recipe() | roi}


def _tiling(entry: DetectorEntry, stage: Literal["fit", "scoring", "maps"]) -> dict[str, Any]:
    """The stage's share of the ``tiling:`` settings; nothing where images are inspected whole."""
    return {} if entry.tiling is None else {"tiling": entry.tiling.recipe(stage)}


def _row(record: ImageRecord) -> dict[str, Any]:
    return {
        "path": record.path,
        "sha256": record.digest,
        "split": record.split,
        "group": record.group_id,
    }


def _labels(record: ImageRecord) -> dict[str, Any]:
    return {"label": record.label, "defect_type": record.defect_type}


def _layout_package(layout: str) -> dict[str, Any]:
    package, found = PLUGINS.package_of(layout), find_layout(layout)
    return {"layout_version": found.version, "package": package} if package and found else {}


def _reading(manifest: Manifest) -> dict[str, Any]:
    """What changes pixels beside the files; nothing where they are read as they say themselves."""
    recipe = manifest.reading.recipe()
    return {"reading": recipe} if recipe else {}


def _defects(manifest: Manifest) -> dict[str, Any]:
    """What the pixel values of masks mean, where a dataset says so."""
    return {"defects": [asdict(kind) for kind in manifest.defects]} if manifest.defects else {}


def _masks(records: tuple[ImageRecord, ...]) -> list[dict[str, str]]:
    return [{"path": m.path, "sha256": m.digest} for r in records for m in r.masks]


def _boxes(records: tuple[ImageRecord, ...]) -> dict[str, Any]:
    """Which images are known by boxes only, where some are."""
    boxes = [{"path": r.path, "boxes": r.boxes} for r in records if r.boxes]
    return {"boxes": boxes} if boxes else {}
