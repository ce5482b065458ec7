"""Any detector on tiles: large images at their full resolution, one tile at a time."""

from __future__ import annotations

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.aggregation import aggregate
from uad_orchestrator.detectors.bank import select_references
from uad_orchestrator.detectors.base import Detector
from uad_orchestrator.detectors.embedding_stream import ImagePreset
from uad_orchestrator.detectors.maps import MapRecipe
from uad_orchestrator.detectors.stages import DetectorState, Response, fitted_images
from uad_orchestrator.detectors.tiling_settings import TilingSettings
from uad_orchestrator.images.source import ImageSource, RgbImage
from uad_orchestrator.images.tiles import Box, TileGrid, cut_tile, tile_grid


class TiledDetector(Detector):
    """A detector that sees images in overlapping tiles: fitted, calibrated and scoring through the same ones.

    The preset goes over the whole image before it is cut, once. A tile is an image of its own, in the
    embedding cache too, and belongs to its image's group: where an image is left out, all its tiles are. The
    image score is made of the tiles' scores, the map of their maps. Memory grows with the batch of tiles and
    with the map, not with the number of tiles.

    Args:
        detector: not fitted; it is left as it is. Its few-shot references are whole images.
        tiling: the ``tiling:`` settings, e.g. ``tile_size=512, stride=384``.

    Raises:
        ValueError: the detector is fitted already (on whole images: another scale than tiles), it tiles
            already, or a setting is unknown or not allowed.
    """

    def __init__(self, detector: Detector, **tiling: Any) -> None:
        if hasattr(detector, "state_"):
            raise ValueError(
                f"this {type(detector).__name__} was fitted on whole images: tiles show another scale. Hand in "
                "one that is not fitted, and fit the TiledDetector"
            )
        if isinstance(detector, TiledDetector):
            raise ValueError("this detector works on tiles already: choose one tile_size")
        self.tiling = TilingSettings.model_validate(tiling)
        self.preset = detector.stream.preset
        self.detector = _for_tiles(detector)
        super().__init__(
            self.detector.stream, detector.fit_settings, detector.scoring_settings, detector.map_settings
        )
        self._opened: set[str] = set()

    @property
    def map_recipe(self) -> MapRecipe:
        """How maps are made of responses: the detector's, its tiles blended."""
        return MapRecipe(self.map_settings, self.tiling.blend)

    @property
    def embedded_images(self) -> int:
        """Distinct images of which a tile was sent through the embedder so far; the tiles are its views."""
        return len(self._opened)

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The detector's state, fitted on the tiles of the images; fact ``tiles`` names those, ``images`` the
        images they were cut from."""
        references = select_references(images, getattr(self.fit_settings, "references", None))
        cutter = self._cutter()
        cut = [(tile, image) for image in references for tile in cutter.cut(image).tiles]
        state = self.detector.fit_state([tile for tile, _ in cut])
        image_of = {
            tile.digest: image for tile, image in reversed(cut)
        }  # of equal images the first is fitted
        tiles = state.facts["images"]
        fitted = {image.digest: image for image in (image_of[tile["digest"]] for tile in tiles)}
        return replace(state, facts={**state.facts, "images": fitted_images(fitted.values()), "tiles": tiles})

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """The tiles' patch grids, stacked, and their scores reduced to the image's."""
        cutter = self._cutter()
        waiting: deque[CutImage] = deque()

        def tiles() -> Iterator[ImageSource]:
            for image in images:
                waiting.append(cutter.cut(image))
                yield from waiting[-1].tiles

        responses = self.detector.respond(_state_of_tiles(state), tiles(), leave_out)
        for first in responses:
            cut = waiting.popleft()
            yield self._joined(cut, [first, *islice(responses, len(cut.tiles) - 1)])

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether the detector can leave out all tiles of the image's group."""
        can = self.detector.can_leave_out(_state_of_tiles(state))
        cutter = self._cutter()
        return lambda image: can(cutter.first_tile(image))

    def _cutter(self) -> _Cutter:
        return _Cutter(self.tiling, self.preset, self._opened)

    def _joined(self, cut: CutImage, parts: list[Response]) -> Response:
        first = parts[0]
        shapes = {part.patch_grid.shape for part in parts}
        if len(shapes) > 1:
            raise ValueError(
                f"{cut.image.name}: its tiles, all of one size, have patch grids of shapes {sorted(shapes)}"
            )
        scores = np.array([part.score for part in parts])
        return Response(
            name=cut.image.name,
            score=aggregate(scores, self.tiling.score_reduce, self.tiling.topk),
            patch_grid=np.stack([part.patch_grid for part in parts]),
            region=first.region,
            original_size=cut.size,
            input_size=first.input_size,
            seconds=sum(part.seconds for part in parts),
            tiles=cut.grid,
        )


class CutImage(NamedTuple):
    """An image with its size ``(H, W)``, where its tiles lie, and a source for each of them, in order."""

    image: ImageSource
    size: tuple[int, int]
    grid: TileGrid
    tiles: list[ImageSource]


class _Cutter:
    """Cuts images after their preset; the one cut last is kept while its tiles are read.

    Args:
        tiling: how.
        preset: what goes over the whole image first.
        opened: takes the digest of each image whose pixels were asked for.
    """

    def __init__(self, tiling: TilingSettings, preset: ImagePreset | None, opened: set[str]) -> None:
        self.tiling = tiling
        self.preset = preset
        self.opened = opened
        self._latest: tuple[str, RgbImage] | None = None

    def cut(self, image: ImageSource) -> CutImage:
        """The image's tiles, as sources: no pixel is decoded before one of them is read."""
        size = image.size()
        grid = tile_grid(size, self.tiling.tile_size, self.tiling.resolved_stride)
        return CutImage(image, size, grid, [self._tile(image, size, box) for box in grid.boxes()])

    def first_tile(self, image: ImageSource) -> ImageSource:
        """The tile at the top left, which every image has, whatever its size."""
        side = self.tiling.tile_size
        return self._tile(image, (side, side), Box(0, 0, side, side))

    def _tile(self, image: ImageSource, size: tuple[int, int], box: Box) -> ImageSource:
        """One tile; its digest follows from the image's and from how it is cut."""
        side, padding = self.tiling.tile_size, self.tiling.padding
        recipe = f"{image.digest} tile of {side} at {box.top} {box.left}, {padding}"
        return ImageSource(
            name=f"{image.name} (tile at {box.top}, {box.left})",
            digest=hashlib.sha256(recipe.encode()).hexdigest(),
            group=image.group,
            read=lambda: cut_tile(self._prepared(image, size), box, padding),
            measure=lambda: (side, side),
        )

    def _prepared(self, image: ImageSource, size: tuple[int, int]) -> RgbImage:
        """The whole image after its preset, decoded once for all tiles that are read one after the other."""
        if self._latest is None or self._latest[0] != image.digest:
            self._latest = None  # let go of the last one before the next is decoded
            pixels = image.read()
            pixels = self.preset.apply(pixels) if self.preset is not None else pixels
            if pixels.shape[:2] != size:
                raise ValueError(
                    f"{image.name}: {size[0]} x {size[1]} pixels, but {pixels.shape[0]} x {pixels.shape[1]} after "
                    "its preset: tiles need a preset that keeps an image's size"
                )
            self._latest = image.digest, pixels
            self.opened.add(image.digest)
        return self._latest[1]


def _for_tiles(detector: Detector) -> Detector:
    """A copy that takes tiles as they are: no preset (the whole image has had it), no references (images are
    chosen, not tiles)."""
    inner = copy.copy(detector)
    inner.stream = copy.copy(detector.stream)
    inner.stream.preset = None
    if getattr(detector.fit_settings, "references", None) is not None:
        inner.fit_settings = detector.fit_settings.model_copy(update={"references": None})
    return inner


def _state_of_tiles(state: DetectorState) -> DetectorState:
    """The state as the detector fitted it: on tiles."""
    return replace(state, facts={**state.facts, "images": state.facts["tiles"]})
