"""Categories with maps, in miniature, as the exports take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uad_orchestrator.datasets.manifest import ImageRecord, Manifest, Split
from uad_orchestrator.export.category_maps import CategoryMaps
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.postprocess.map_set import MapSet

SIZE = (6, 8)


def record(path: str, split: Split, defect_type: str) -> ImageRecord:
    return ImageRecord(path, split, {"good": 0, "unknown": -1}.get(defect_type, 1), defect_type, "00")


def category_maps(
    folder: Path, layout: str, category: str, records: list[ImageRecord], threshold: float = 2.0
) -> CategoryMaps:
    """A category whose maps are drawn by seed, each with its own range."""
    manifest = Manifest(layout, category, layout, folder, tuple(records))
    found = CategoryMaps(
        manifest, MapSet(folder / category), OperatingPoint(threshold, "validation", 20, 0.05), "5f"
    )
    for number, one in enumerate(records):
        if one.split not in ("train", "validation"):
            made = np.random.default_rng(number).normal(2 + number, 1, SIZE).astype(np.float32)
            found.maps.write(one.path, one.defect_type if one.split == "test" else one.split, made)
    return found
