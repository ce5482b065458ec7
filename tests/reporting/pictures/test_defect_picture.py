"""Pictures of defects: the heat where the map is high, a line around what is above the threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.images.decode import read_image
from uad_orchestrator.inference.results import InferenceResult, InferenceTimings
from uad_orchestrator.postprocess.regions import find_regions
from uad_orchestrator.reporting.pictures.defect_picture import OUTLINE, defect_picture, write_picture
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale

SCALE = HeatmapScale(floor=0.0, limit=1.0)


def result(image: np.ndarray | None) -> InferenceResult:
    anomaly_map = np.zeros((40, 60), np.float32)
    anomaly_map[10:20, 30:40] = 3.0
    mask = anomaly_map > 1
    regions = find_regions(anomaly_map, mask)
    return InferenceResult("x.png", 1.0, 1, anomaly_map, mask, regions, InferenceTimings(0, 0), image=image)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_outline_and_heat(depth: type) -> None:
    image = np.full((40, 60, 3), np.iinfo(depth).max // 2, depth)
    picture = defect_picture(result(image), SCALE)
    assert picture.dtype == np.uint8
    assert (picture[10, 30:40] == OUTLINE).all() and (picture[10:20, 30] == OUTLINE).all()
    inside, outside = picture[15, 35].astype(int), picture[30, 5].astype(int)
    assert inside[0] - inside[2] > 60, "red"
    assert np.ptp(outside) == 0, "the image shows through"


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c/d.jpeg"])
def test_written_by_extension(tmp_path: Path, name: str) -> None:
    picture = defect_picture(result(np.full((40, 60, 3), 90, np.uint8)), SCALE)
    write_picture(tmp_path / name, picture)
    back = read_image(tmp_path / name)
    assert np.abs(back.astype(int) - picture).mean() < (1 if name.endswith("png") else 6)


def test_other_extensions_and_missing_images_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.gif"):
        write_picture(tmp_path / "a.gif", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"x\.png: no picture.*not asked for"):
        defect_picture(result(None), SCALE)
