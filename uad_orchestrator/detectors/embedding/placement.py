"""Where patches lie on the original image, and which of them a region of interest lets be inspected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from uad_orchestrator.detectors.embedding.views import PLAIN, View
from uad_orchestrator.embedders.protocol import PatchEmbedding, Region
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import Box, Padding, TileSource, cut_tile, whole_of

COVERED = 0.5 - 1e-9
"""Share of a patch's cell inside the region of interest from which on it is inspected: half, sums being inexact."""

REMEMBERED = 2048
"""Images, or tiles and views of them, of which is remembered what is inspected: some megabytes."""


class ImagePreset(Protocol):
    """What is done to an image before it is embedded, and which part of it is inspected; see ``Preset``."""

    @property
    def has_roi(self) -> bool: ...

    def pixel_recipe(self) -> Mapping[str, Any]: ...

    def apply(self, image: RgbImage) -> RgbImage: ...

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]: ...

    def inspected(self, size: tuple[int, int]) -> np.ndarray | None: ...


class PreparedImage(NamedTuple):
    """An image as it goes into the embedder, and the ``(H, W)`` it had before its preset."""

    pixels: RgbImage
    original_size: tuple[int, int]


def on_original(region: Region, image: PreparedImage) -> Region:
    """Where a region of the prepared image lies on the original one.

    >>> on_original(Region(0, 0, 8, 4), PreparedImage(np.zeros((8, 8, 3)), (16, 32)))
    Region(top=0.0, left=0.0, bottom=16.0, right=16.0)
    """
    height, width = image.pixels.shape[:2]
    if (height, width) == image.original_size:
        return region
    down, across = image.original_size[0] / height, image.original_size[1] / width
    return Region(region.top * down, region.left * across, region.bottom * down, region.right * across)


class PatchCells(NamedTuple):
    """Where the patches of an image, or of a tile, lie on it.

    Attributes:
        size: ``(H, W)`` of the image or the tile, in pixels.
        region: the part of it that the grid covers.
        grid_shape: ``(gh, gw)``.
    """

    size: tuple[int, int]
    region: Region
    grid_shape: tuple[int, int]

    @classmethod
    def of(cls, embedding: PatchEmbedding) -> PatchCells:
        """Those of a complete embedding."""
        size = embedding.original_size
        return cls(size, embedding.region or Region(0, 0, *size), embedding.grid_shape)


class _Place(NamedTuple):
    """What decides where a region of interest lies on what is embedded.

    Attributes:
        size: ``(H, W)`` of the whole image.
        view: of it.
        digest: the image's, where the view moves each image another way; else all of a size are alike.
        box, padding: how a tile is cut from the canvas after the preset; None: it is not.
    """

    size: tuple[int, int]
    view: View
    digest: str
    box: Box | None = None
    padding: Padding = "reflect"

    @classmethod
    def of(cls, source: ImageSource, size: tuple[int, int], view: View) -> _Place:
        """That of a view of an image of ``size``, or of a tile."""
        moved = view.augmentation is not None and view.augmentation.settings.rotation
        digest = whole_of(source).digest if moved else ""
        if isinstance(source, TileSource):
            return cls(source.whole.size(), view, digest, source.box, source.padding)
        return cls(size, view, digest)


class RoiPatches:
    """Says which patches are inspected: those with at least half of their cell inside the region of interest.

    What was found for one image is remembered for the others of its size, except where a view moves each image
    another way; so much of it as bounds the memory.

    Args:
        preset: has a region of interest.
    """

    def __init__(self, preset: ImagePreset) -> None:
        self.preset = preset
        self._on_image = lru_cache(maxsize=1)(preset.inspected)
        self._on_canvas = lru_cache(maxsize=2)(self._moved)  # of the images, and of what a view moves
        self._marks = lru_cache(maxsize=REMEMBERED)(self._found)

    def inspected(self, source: ImageSource, cells: PatchCells, view: View = PLAIN) -> np.ndarray:
        """``(gh * gw,)`` bool of a view of ``source``. A tile's patches may all be outside, an image's may not.

        Raises:
            ValueError: the region does not fit the image, or covers no patch of it by half; names the image.
        """
        try:
            found = self._marks(_Place.of(source, cells.size, view), cells)
        except ValueError as error:
            raise ValueError(f"{whole_of(source).name}: {error}") from error
        if not isinstance(source, TileSource) and not found.any():
            raise nothing_inspected(source.name, f"its {cells.grid_shape} grid")
        return found

    def pixels(self, source: ImageSource, size: tuple[int, int], view: View = PLAIN) -> np.ndarray:
        """``(h, w)`` bool: where the region lies on what is embedded of an image of ``size``, or of a tile.

        Raises:
            ValueError: the region does not fit the image; names it.
        """
        try:
            return self._inside(_Place.of(source, size, view))
        except ValueError as error:
            raise ValueError(f"{whole_of(source).name}: {error}") from error

    def _found(self, place: _Place, cells: PatchCells) -> np.ndarray:
        from uad_orchestrator.preprocessing.roi import patch_coverage

        inside = self._inside(place)
        down, across = inside.shape[0] / cells.size[0], inside.shape[1] / cells.size[1]
        top, left, bottom, right = cells.region
        region = (top * down, left * across, bottom * down, right * across)
        return patch_coverage(inside, region, cells.grid_shape).ravel() >= COVERED

    def _inside(self, place: _Place) -> np.ndarray:
        """``(h, w)`` bool, where the region lies on what is embedded."""
        inside = self._on_canvas(place.size, replace(place.view, angle=0.0), place.digest)
        piece = inside if place.box is None else cut_tile(inside, place.box, place.padding)
        return place.view.turned_mask(piece)

    def _moved(self, size: tuple[int, int], view: View, digest: str) -> np.ndarray:
        inside, canvas = self._on_image(size), self.preset.size_after(size)
        return np.ones(canvas, bool) if inside is None else view.mask_on_canvas(inside, canvas, digest)


def nothing_inspected(name: str, grid: str) -> ValueError:
    """What is raised where a region of interest leaves no patch of an image."""
    return ValueError(
        f"{name}: no patch of {grid} lies at least half inside the roi: make the roi larger, or the patches "
        "smaller (embedder.image_size)"
    )
