"""Any detector on tiles: large images at their full resolution, one tile at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import compress, islice
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.embedding.placement import PatchCells, nothing_inspected
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.detectors.protocol.calibration import CalibrationImages
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.maps import MapRecipe
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.detectors.protocol.tiling_settings import TilingSettings
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiff_bands import TiffBands
from uad_orchestrator.images.tiles import TileGrid, TileSource, tile_grid

CELLS = "tile_cells"
"""The fact of a state that says where a tile's patches lie, where there is a region of interest."""

LIKELY_GRID = (32, 32)
"""Patches of a tile, as far as can be said before one is embedded."""


class TiledDetector(Detector):
    """A detector that sees images in overlapping tiles: fitted, calibrated and scoring through the same ones.

    Tiles are cut of what the preset makes of an image, of the size it brings it to. A tile is an image of its own,
    in the embedding cache too, and belongs to its image's group: where an image is left out, all its tiles are.
    Few-shot references are whole images. Tiles without a patch inside the preset's region of interest are neither
    fitted nor scored. The image score is made of the tiles' scores, the map of their maps. Memory grows with the
    batch of tiles, with the image's pixels and with its map, not with the number of tiles.

    Args:
        detector: not fitted.
        tiling: the ``tiling:`` settings, e.g. ``tile_size=512, stride=384``.

    Raises:
        ValueError: the detector is fitted already (on whole images: another scale than tiles), it tiles
            already, or a setting is unknown or not allowed.

    >>> from uad_orchestrator.detectors import create_detector
    >>> tiled = TiledDetector(create_detector("vision_patchcore", contamination=0.2), tile_size=64, stride=48)
    >>> normals = np.random.default_rng(0).integers(90, 110, (5, 96, 128, 3), dtype=np.uint8)
    >>> tiled.fit(normals).get_anomaly_map(normals[0]).shape
    (96, 128)
    """

    def __init__(self, detector: Detector, **tiling: Any) -> None:
        if hasattr(detector, "state_"):
            raise ValueError(
                f"this {type(detector).__name__} was fitted on whole images: tiles show another scale. Hand in "
                "one that is not fitted, and fit the TiledDetector"
            )
        if isinstance(detector, TiledDetector):
            raise ValueError("this detector works on tiles already: choose one tile_size")
        super().__init__(
            detector.stream, detector.fit_settings, detector.scoring_settings, detector.map_settings
        )
        self.detector = detector
        self.transductive = detector.transductive
        self.tiling = TilingSettings.model_validate(tiling)
        self._embedded_images = 0

    @property
    def map_recipe(self) -> MapRecipe:
        """How maps are made of responses: the detector's, its tiles blended."""
        return MapRecipe.of(self.map_settings, self.tiling)

    @property
    def embedded_images(self) -> int:
        """Images of which a tile was read so far; the tiles are their views."""
        return self._embedded_images

    @property
    def embedded_views(self) -> int:
        """Tiles, and rotated views of them, sent through the embedder so far."""
        return self.detector.embedded_views

    @property
    def device(self) -> str:
        """Where the detector's network ran."""
        return self.detector.device

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The detector's state, fitted on the tiles of the images; with a region of interest its facts say where
        a tile's patches lie (``tile_cells``).

        Args:
            images: the normals, whole.

        Returns:
            The state; its fact ``images`` names tiles, with the image each is cut from.

        Raises:
            ValueError: no images; the region of interest does not fit an image, or leaves nothing of it.
        """
        with self.stream.caching():
            cuts = [self._cut(image) for image in images]
            cells = self._cells_of_a_tile(cuts)
            state = self.detector.fit_state([t for cut in cuts for t in self._narrowed(cut, cells).tiles])
        if cells is None:
            return state
        return replace(state, facts={**state.facts, CELLS: cells._asdict()})

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """Respond to whole images, one at a time, in order.

        Args:
            state: from ``fit_state``.
            images: cut into tiles, which are consumed a batch at a time.
            leave_out: as in ``Detector.respond``; with an image all its tiles are left out.

        Returns:
            A response per image: the tiles' patch grids stacked, ``(tiles, gh, gw)``, and their scores reduced to one.
        """
        waiting: deque[_CutImage] = deque()
        cells = _cells(state)

        def tiles() -> Iterator[ImageSource]:
            for image in images:
                waiting.append(self._narrowed(self._cut(image), cells))
                yield from waiting[-1].tiles

        responses = self.detector.respond(state, tiles(), leave_out)
        for first in responses:
            cut = waiting.popleft()
            yield self._joined(cut, [first, *islice(responses, len(cut.tiles) - 1)])

    def calibration_images(
        self, state: DetectorState, train: Sequence[ImageSource], validation: Sequence[ImageSource] = ()
    ) -> CalibrationImages:
        """The detector's own choice, of whole images.

        Args:
            state: as in ``Detector.calibration_images``, as the next two are.
            train: whole images.
            validation: whole images.

        Returns:
            As there.
        """
        return self.detector.calibration_images(state, train, validation)

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether the detector can leave out all tiles of an image's group.

        Args:
            state: from ``fit_state``.

        Returns:
            A function of a whole image.
        """
        return self.detector.can_leave_out(state)

    def groups_to_refill(self, state: DetectorState) -> int:
        """As the detector says.

        Args:
            state: from ``fit_state``.

        Returns:
            As there.
        """
        return self.detector.groups_to_refill(state)

    def states_without(
        self, state: DetectorState, fitted: Sequence[ImageSource], groups: Sequence[str]
    ) -> Iterator[DetectorState]:
        """The detector's states without all tiles of a group's images.

        Args:
            state: from ``fit_state``.
            fitted: whole images.
            groups: of them.

        Returns:
            As in ``Detector.states_without``.
        """
        cells = _cells(state)
        tiles = [tile for image in fitted for tile in self._narrowed(self._cut(image), cells).tiles]
        return self.detector.states_without(state, tiles, groups)

    def _cut(self, image: ImageSource) -> _CutImage:
        """Where the image's tiles lie, and a source for each of them; no pixel is decoded before one is read."""
        size, opened = image.size(), False

        def opening() -> None:
            nonlocal opened
            self._embedded_images += not opened
            opened = True

        def read() -> RgbImage:
            opening()
            return image.read()

        def bands() -> TiffBands | None:
            opening()
            return None if image.bands is None else image.bands()

        whole = replace(image, read=read, measure=lambda: size, bands=image.bands and bands)
        grid = tile_grid(self.stream.size_after(size), self.tiling.tile_size, self.tiling.resolved_stride)
        tiles = [TileSource.cut_from(whole, box, self.tiling.padding) for box in grid.boxes()]
        return _CutImage(image.name, size, grid, tiles, [True] * len(tiles))

    def _cells_of_a_tile(self, cuts: Sequence[_CutImage]) -> PatchCells | None:
        """Where the patches of every tile lie on it, which only its embedding says: one is embedded before the
        others are chosen, a tile that is likely to be among them. None: there is no region of interest to choose by.
        """
        roi = self.stream.roi
        if roi is None or not cuts:
            return None
        side = self.tiling.tile_size
        likely = PatchCells((side, side), Region(0, 0, side, side), LIKELY_GRID)
        return self.detector.cells(max(cuts[0].tiles, key=lambda t: roi.inspected(t, likely).sum()))

    def _narrowed(self, cut: _CutImage, cells: PatchCells | None) -> _CutImage:
        """The image with its inspected tiles alone: those with a patch inside the region of interest."""
        roi = self.stream.roi
        if roi is None or cells is None:
            return cut
        inside = [bool(roi.inspected(tile, cells).any()) for tile in cut.tiles]
        if not any(inside):
            raise nothing_inspected(cut.name, f"its tiles' {cells.grid_shape} grids")
        return cut._replace(tiles=list(compress(cut.tiles, inside)), inside=inside)

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
            patch_grid=self._spread(cut, np.stack(grids), first) if grids else None,
            region=first.region,
            original_size=cut.size,
            input_size=first.input_size,
            seconds=sum(part.seconds for part in parts),
            tiles=cut.grid,
        )

    def _spread(self, cut: _CutImage, grids: np.ndarray, first: Response) -> np.ndarray:
        """The inspected tiles' grids among those of all tiles, ``(tiles, gh, gw)``: what is not inspected gets the
        image's lowest score."""
        roi = self.stream.roi
        if roi is None:
            return grids
        cells = PatchCells(first.original_size, first.region, grids.shape[1:])
        inspected = np.stack([roi.inspected(tile, cells) for tile in cut.tiles]).reshape(grids.shape)
        if not inspected.any():
            raise nothing_inspected(cut.name, f"its tiles' {cells.grid_shape} grids")
        lowest = grids[inspected].min()
        spread = np.full((len(cut.grid), *cells.grid_shape), lowest)
        spread[cut.inside] = np.where(inspected, grids, lowest)
        return spread


class _CutImage(NamedTuple):
    """An image in tiles.

    Attributes:
        name: the image's.
        size: ``(H, W)`` of the image, before its preset.
        grid: where its tiles lie.
        tiles: a source for each of them, in order; where a region of interest is known, for those inside.
        inside: which of all tiles these are.
    """

    name: str
    size: tuple[int, int]
    grid: TileGrid
    tiles: list[TileSource]
    inside: list[bool]


def _cells(state: DetectorState) -> PatchCells | None:
    """What ``fit_state`` noted, from JSON, too."""
    if CELLS not in state.facts:
        return None
    size, region, shape = (state.facts[CELLS][name] for name in PatchCells._fields)
    return PatchCells(tuple(size), Region(*region), tuple(shape))
