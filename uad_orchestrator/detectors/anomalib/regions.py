"""A preset's region of interest for models that see whole images.

A model that is trained here is trained on images that are one grey outside, and scores such images: nothing of
what lies there is learnt or judged. A checkpoint was trained on whole images, to which the grey would be the
greatest defect of all: it is handed whole images, what its map shows outside is left out, and the image score is
the largest value that is left.
"""

from __future__ import annotations

import numpy as np

from uad_orchestrator.detectors.anomalib.results import RawResult
from uad_orchestrator.detectors.embedding.placement import PatchCells, PreparedImage, RoiPatches, on_original
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.metrics.thresholds.operating_point import NO_MAP

GREY = 0.5
"""What lies outside for a model that is trained here, as a share of full scale."""


def alone(roi: RoiPatches, source: ImageSource, image: PreparedImage) -> PreparedImage:
    """The image, or the tile, with ``GREY`` outside.

    Raises:
        ValueError: the region does not fit the image; names it.
    """
    shown = roi.pixels(source, image.original_size)
    grey = image.pixels.dtype.type(round(np.iinfo(image.pixels.dtype).max * GREY))
    return image._replace(pixels=np.where(shown[..., None], image.pixels, grey))


def pixel_cells(image: PreparedImage) -> PatchCells:
    """Each pixel that a model sees as a cell of its own."""
    height, width = image.original_size
    return PatchCells((height, width), Region(0.0, 0.0, height, width), image.pixels.shape[:2])


def map_cells(image: PreparedImage, result: RawResult) -> PatchCells:
    """Where the values of a model's map lie on the image; its pixels, where there is no map."""
    if result.anomaly_map is None:
        return pixel_cells(image)
    height, width = result.anomaly_map.shape
    return PatchCells(image.original_size, on_original(result.region, image), (height, width))


def inside_of(
    roi: RoiPatches, source: ImageSource, image: PreparedImage, result: RawResult, *, saw_all: bool
) -> RawResult:
    """A model's answer without what its map shows outside, where the lowest value inside stands instead.

    Args:
        saw_all: the model was handed the whole image: its own score is of all of it, and the largest value of the
            map inside takes its place.

    Raises:
        ValueError: it saw all and gives no map; the region does not fit the image, or covers nothing of it.
    """
    if result.anomaly_map is None:
        if saw_all:
            raise ValueError(
                f"{source.name}: {NO_MAP}, and its score is of the whole image: choose a preset without the step "
                "roi, or train the model here"
            )
        return result
    cells = map_cells(image, result)
    inspected = roi.inspected(source, cells).reshape(cells.grid_shape)
    if not inspected.any():  # a tile that reaches into the region by less than half of the map's cells
        return result
    inside = result.anomaly_map[inspected]
    return result._replace(
        score=float(inside.max()) if saw_all else result.score,
        anomaly_map=np.where(inspected, result.anomaly_map, inside.min()),
    )
