"""Any detector on tiles: large images at their full resolution, one tile at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.aggregation import aggregate
from uad_orchestrator.detectors.base import Detector
from uad_orchestrator.detectors.calibration import CalibrationImages
from uad_orchestrator.detectors.maps import MapRecipe
from uad_orchestrator.detectors.stages import DetectorState, Response
from uad_orchestrator.detectors.tiling_settings import TilingSettings
from uad_orchestrator.images.source import ImageSource, RgbImage
from uad_orchestrator.images.tiles import TileGrid, TileSource, tile_grid


class TiledDetector(Detector):
    """A detector that sees images in overlapping tiles: fitted, calibrated and scoring through the same ones.

    A tile is an image of its own, in the embedding cache too, and belongs to its image's group: where an image
    is left out, all its tiles are. Few-shot references are whole images. The image score is made of the tiles'
    scores, the map of their maps. Memory grows with the batch of tiles, with the image's pixels and with its
    map, not with the number of tiles.

    Args:
        detector: not fitted.
        tiling: the ``tiling:`` settings, e.g. ``tile_size=512, stride=384``.

    Raises:
        ValueError: the detector is fitted already (on whole images: another scale than tiles), it tiles
            already or compares images with each other, or a setting is unknown or not allowed.
    """

    def __init__(self, detector: Detector, **tiling: Any) -> None:
        if hasattr(detector, "state_"):
            raise ValueError(
                f"this {type(detector).__name__} was fitted on whole images: tiles show another scale. Hand in "
                "one that is not fitted, and fit the TiledDetector"
            )
        if isinstance(detector, TiledDetector):
            raise ValueError("this detector works on tiles already: choose one tile_size")
        if detector.stream.preset is not None and detector.stream.preset.has_roi:
            raise ValueError("tiles do not know a region of interest: choose a preset without the step roi")
        if detector.transductive:
            raise ValueError(
                f"{type(detector).__name__} compares whole images with each other: it can not work on tiles"
            )
        super().__init__(
            detector.stream, detector.fit_settings, detector.scoring_settings, detector.map_settings
        )
        self.detector = detector
        self.tiling = TilingSettings.model_validate(tiling)
        self._opened: set[str] = set()

    @property
    def map_recipe(self) -> MapRecipe:
        """How maps are made of responses: the detector's, its tiles blended."""
        return MapRecipe.of(self.map_settings, self.tiling)

    @property
    def embedded_images(self) -> int:
        """Distinct images of which a tile was read so far; the tiles are their views."""
        return len(self._opened)

    @property
    def embedded_views(self) -> int:
        """Tiles, and rotated views of them, sent through the embedder so far."""
        return self.detector.embedded_views

    @property
    def device(self) -> str:
        """Where the detector's network ran."""
        return self.detector.device

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The detector's state, fitted on the tiles of the images."""
        return self.detector.fit_state([tile for image in images for tile in self._cut(image).tiles])

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """The tiles' patch grids, stacked, and their scores reduced to the image's."""
        waiting: deque[_CutImage] = deque()

        def tiles() -> Iterator[ImageSource]:
            for image in images:
                waiting.append(self._cut(image))
                yield from waiting[-1].tiles

        responses = self.detector.respond(state, tiles(), leave_out)
        for first in responses:
            cut = waiting.popleft()
            yield self._joined(cut, [first, *islice(responses, len(cut.grid) - 1)])

    def calibration_images(
        self, state: DetectorState, train: Sequence[ImageSource], validation: Sequence[ImageSource] = ()
    ) -> CalibrationImages:
        """The detector's own choice, of whole images."""
        return self.detector.calibration_images(state, train, validation)

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether the detector can leave out all tiles of an image's group."""
        return self.detector.can_leave_out(state)

    def _cut(self, image: ImageSource) -> _CutImage:
        """Where the image's tiles lie, and a source for each; no pixel is decoded before one is read."""

        def read() -> RgbImage:
            self._opened.add(image.digest)
            return image.read()

        whole = replace(image, read=read)
        grid = tile_grid(image.size(), self.tiling.tile_size, self.tiling.resolved_stride)
        tiles = [TileSource.cut_from(whole, box, self.tiling.padding) for box in grid.boxes()]
        return _CutImage(image.name, grid, tiles)

    def _joined(self, cut: _CutImage, parts: list[Response]) -> Response:
        first = parts[0]
        grids = [part.patch_grid for part in parts if part.patch_grid is not None]
        shapes = {grid.shape for grid in grids}
        if len(shapes) > 1:
            raise ValueError(
                f"{cut.name}: its tiles, all of one size, have patch grids of shapes {sorted(shapes)}"
            )
        scores = np.array([part.score for part in parts])
        return Response(
            name=cut.name,
            score=aggregate(scores, self.tiling.score_reduce, self.tiling.topk),
            patch_grid=np.stack(grids) if grids else None,
            region=first.region,
            original_size=cut.grid.size,
            input_size=first.input_size,
            seconds=sum(part.seconds for part in parts),
            tiles=cut.grid,
        )


class _CutImage(NamedTuple):
    """An image's name, where its tiles lie, and a source for each of them, in order."""

    name: str
    grid: TileGrid
    tiles: list[TileSource]
