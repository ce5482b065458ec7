"""The files inside a cell's artifacts: their names, and how the small ones are written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from uad_orchestrator.detectors.protocol.maps import NormalMaps
from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.postprocess.finishing import MapScale
from uad_orchestrator.storage.array_file import read_array, read_arrays, write_arrays

OPERATING_POINT = "operating_point.json"
MAPS = "maps"
NORMAL_MAPS = "normal_maps.json"
METRICS_FILE = "metrics.json"
CURVES = "pixel_curves.npz"
EMBEDDINGS = "embeddings"
"""Below the local folder: a folder per space of the embedding cache, called by it."""
TRAININGS = "training"
"""Below the local folder: a folder per memory bank that is being trained, called by its version."""
CONTACT_SHEET = "contact_sheet.jpg"
REPLICATES = "image_auroc_replicates.npy"


def write_operating_point(point: OperatingPoint, directory: Path) -> None:
    """Keep a threshold with where it comes from; NaN is written as null."""
    (directory / OPERATING_POINT).write_text(json.dumps(point.stored(), indent=1))


def read_operating_point(directory: Path) -> OperatingPoint:
    """Read what ``write_operating_point`` wrote."""
    return OperatingPoint.from_json(json.loads((directory / OPERATING_POINT).read_text()))


def write_normal_maps(normals: NormalMaps, directory: Path) -> None:
    """Keep the statistics of the calibration normals' maps, and the scale that normalisation took from them."""
    scale = {} if normals.scale is None else {"scale": normals.scale._asdict()}
    (directory / NORMAL_MAPS).write_text(json.dumps({**normals.summary, **scale}, indent=1))


def read_normal_maps(directory: Path) -> dict[str, float | int | None]:
    """Statistics of the calibration normals' maps, as ``NormalMapStatistics.summary`` gave them."""
    values = json.loads((directory / NORMAL_MAPS).read_text())
    return {name: value for name, value in values.items() if name != "scale"}


def read_map_scale(directory: Path) -> MapScale | None:
    """What normalisation took from the calibration normals' maps; None where maps are not normalised."""
    scale = json.loads((directory / NORMAL_MAPS).read_text()).get("scale")
    return None if scale is None else MapScale(**scale)


def write_curves(curves: Mapping[str, Curve], directory: Path) -> None:
    """Keep the pixel curves."""
    arrays = {f"{name}_{axis}": getattr(c, axis) for name, c in curves.items() for axis in Curve._fields}
    write_arrays(directory / CURVES, arrays, compress=True)


def read_curves(directory: Path) -> dict[str, Curve]:
    """Read what ``write_curves`` wrote."""
    stored = read_arrays(directory / CURVES)
    names = sorted({name.rsplit("_", 1)[0] for name in stored})
    return {name: Curve(*(stored[f"{name}_{axis}"] for axis in Curve._fields)) for name in names}


def write_replicates(replicates: np.ndarray | None, directory: Path) -> None:
    """Keep the bootstrap of the image AUROC, in float32; nothing where there is none."""
    if replicates is not None:
        np.save(directory / REPLICATES, replicates.astype(np.float32), allow_pickle=False)


def read_replicates(directory: Path) -> np.ndarray | None:
    """Read what ``write_replicates`` wrote."""
    try:
        return read_array(directory / REPLICATES)
    except FileNotFoundError:
        return None


def read_contact_sheet(directory: Path) -> bytes | None:
    """The JPEG of best and worst cases; None where there is no test image."""
    path = directory / CONTACT_SHEET
    return path.read_bytes() if path.exists() else None
