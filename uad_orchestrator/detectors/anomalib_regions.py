"""A preset's region of interest for models that see whole images.

A model that is trained here is trained on images that are one grey outside, and scores such images: nothing of
what lies there is learnt or judged. A checkpoint was trained on whole images, to which the grey would be the
greatest defect of all: it is handed whole images, what its map shows outside is left out, and the image score is
the largest value that is left.
"""

from __future__ import annotations

import numpy as np

from uad_orchestrator.detectors.anomalib_results import RawResult
from uad_orchestrator.detectors.placement import ImagePreset, PreparedImage, RoiPatches, on_original
from uad_orchestrator.detectors.views import PLAIN
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.metrics.thresholds import NO_MAP

GREY = 0.5
"""What lies outside for a model that is trained here, as a share of full scale."""


class InspectedPart:
    """The part of each image that counts.

    Args:
        preset: has a region of interest.
    """

    def __init__(self, preset: ImagePreset) -> None:
        self.preset = preset
        self._patches = RoiPatches()

    def alone(self, source: ImageSource, image: PreparedImage) -> PreparedImage:
        """The image with ``GREY`` outside.

        Raises:
            ValueError: the region does not fit the image; names it.
        """
        try:
            inside = self.preset.inspected(image.original_size)
        except ValueError as error:
            raise ValueError(f"{source.name}: {error}") from error
        if inside is None:
            return image
        shown = PLAIN.of_mask(inside, image.pixels.shape[:2], source.digest)
        grey = round(np.iinfo(image.pixels.dtype).max * GREY)
        return image._replace(pixels=np.where(shown[..., None], image.pixels, image.pixels.dtype.type(grey)))

    def of_result(
        self, source: ImageSource, image: PreparedImage, result: RawResult, *, saw_all: bool
    ) -> RawResult:
        """A model's answer without what its map shows outside, where the lowest value inside stands instead.

        Args:
            saw_all: the model was handed the whole image: its own score is of all of it, and the largest value
                of the map inside takes its place.

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
        shape = result.anomaly_map.shape
        placed = PatchEmbedding(
            result.anomaly_map.reshape(-1, 1),
            (shape[0], shape[1]),
            image.original_size,
            on_original(result.region, image),
        )
        marked = self._patches.marked(placed, self.preset, PLAIN, source)
        inside = marked.inspected_rows[:, 0]
        return result._replace(
            score=float(inside.max()) if saw_all else result.score,
            anomaly_map=marked.spread(inside).reshape(shape),
        )
