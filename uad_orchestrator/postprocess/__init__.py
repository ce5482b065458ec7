"""From patch grids to anomaly maps, from maps to defects, and the map sets on disk.

All but ``display_map`` takes and gives raw maps, ``(H, W)`` float32, whose values mean the same in every image
of a cell, so that pixel metrics can be pooled over them.
"""

from uad_orchestrator.postprocess.anomaly_map import anomaly_map, gaussian_blur, resize_to_image
from uad_orchestrator.postprocess.blending import blend_tiles
from uad_orchestrator.postprocess.display import display_map
from uad_orchestrator.postprocess.finishing import (
    MapScale,
    clipped,
    morphology,
    normalised,
    without_small_regions,
)
from uad_orchestrator.postprocess.map_set import MapSet, NormalMapStatistics, write_map
from uad_orchestrator.postprocess.regions import DefectRegion, find_regions

__all__ = [
    "DefectRegion",
    "MapScale",
    "MapSet",
    "NormalMapStatistics",
    "anomaly_map",
    "blend_tiles",
    "clipped",
    "display_map",
    "find_regions",
    "gaussian_blur",
    "morphology",
    "normalised",
    "resize_to_image",
    "without_small_regions",
    "write_map",
]
