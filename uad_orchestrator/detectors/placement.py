"""Where patches lie on the original image, and which of them a region of interest lets be inspected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from uad_orchestrator.detectors.views import View
from uad_orchestrator.embedders.protocol import PatchEmbedding, Region
from uad_orchestrator.images.source import ImageSource, RgbImage

COVERED = 0.5 - 1e-9
"""Share of a patch's cell inside the region of interest from which on it is inspected: half, sums being inexact."""


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


class RoiPatches:
    """Marks the inspected patches: those with at least half of their cell inside the region of interest.

    What was found for one image is kept for the others of its size, except where a view moves each image
    another way.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], np.ndarray] = {}

    def marked(
        self, embedding: PatchEmbedding, preset: ImagePreset, view: View, source: ImageSource
    ) -> PatchEmbedding:
        """A complete embedding of a view of ``source`` with ``inspected`` filled in.

        Raises:
            ValueError: the region does not fit the image, or covers no patch by half; names the image.
        """
        if view.augmentation is not None and view.augmentation.settings.rotation:
            return embedding._replace(inspected=_inspected(embedding, preset, view, source))
        key = (preset, view, embedding.original_size, embedding.region, embedding.grid_shape)
        if key not in self._known:
            self._known[key] = _inspected(embedding, preset, view, source)
        return embedding._replace(inspected=self._known[key])


def _inspected(embedding: PatchEmbedding, preset: ImagePreset, view: View, source: ImageSource) -> np.ndarray:
    from uad_orchestrator.preprocessing.roi import patch_coverage

    size = embedding.original_size
    canvas = preset.size_after(size)
    top, left, bottom, right = embedding.region or Region(0, 0, *size)
    down, across = canvas[0] / size[0], canvas[1] / size[1]
    region = (top * down, left * across, bottom * down, right * across)
    try:
        inside = preset.inspected(size)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    if inside is None:
        return np.ones(len(embedding.patch_embeddings), bool)
    covered = patch_coverage(view.of_mask(inside, canvas, source.digest), region, embedding.grid_shape)
    inspected = covered.ravel() >= COVERED
    if not inspected.any():
        raise ValueError(
            f"{source.name}: no patch of its {embedding.grid_shape} grid lies at least half inside the roi: make "
            "the roi larger, or the patches smaller (embedder.image_size)"
        )
    return inspected
