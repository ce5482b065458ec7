"""What a detector asks of an embedder, and what it gets back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from uad_orchestrator.images.decode import RgbImage

Precision = Literal["float16", "float32"]
"""What embeddings are kept in, and rounded to before they are compared."""

LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
"""What is not below it stays float32."""


class Region(NamedTuple):
    """The part of the original image that a patch grid covers, in pixels, half-open: ``[top, bottom)``.

    Attributes:
        top: its upper edge; a fraction of a pixel may be covered, here and below.
        left: its left edge.
        bottom: its lower edge.
        right: its right edge.
    """

    top: float
    left: float
    bottom: float
    right: float


class PatchEmbedding(NamedTuple):
    """An image's patch embeddings and where they lie.

    An injected embedder may return the first three fields as a plain tuple: the grid then covers the whole
    image and the model's input is taken to be of the image's own size.

    Attributes:
        patch_embeddings: ``(gh * gw, d)`` float32, row by row, not normalised.
        grid_shape: ``(gh, gw)``.
        original_size: ``(H, W)`` of the image in pixels.
        region: the part of the image the grid covers; None: all of it.
        input_size: ``(h, w)`` of ``region`` at the model's input, in pixels; None: as large as the image.
        inspected: ``(gh * gw,)`` bool, the patches that are fitted and scored; None: all. Not the embedder's
            to say: it follows from the preset's region of interest.
    """

    patch_embeddings: np.ndarray
    grid_shape: tuple[int, int]
    original_size: tuple[int, int]
    region: Region | None = None
    input_size: tuple[int, int] | None = None
    inspected: np.ndarray | None = None

    def narrowed(self) -> PatchEmbedding:
        """Without the patches that are not inspected.

        Returns:
            The same with the rows of the inspected patches alone.
        """
        return self if self.inspected is None else self._replace(patch_embeddings=self.inspected_rows)

    @property
    def inspected_rows(self) -> np.ndarray:
        """The rows of the inspected patches."""
        return self.patch_embeddings if self.inspected is None else self.patch_embeddings[self.inspected]

    @property
    def inspected_patches(self) -> np.ndarray:
        """``(gh * gw,)`` bool: ``inspected``, True everywhere where it is None."""
        return np.ones(math.prod(self.grid_shape), bool) if self.inspected is None else self.inspected

    def spread(self, scores: np.ndarray) -> np.ndarray:
        """Scores of the inspected patches on the whole grid.

        Args:
            scores: ``(n,)``, of the inspected patches, row by row.

        Returns:
            ``(gh * gw,)``; the other patches get the lowest of them.

        >>> where = np.array([True, False, True])
        >>> PatchEmbedding(np.ones((3, 1)), (1, 3), (8, 24), inspected=where).spread(np.array([2.0, 5.0]))
        array([2., 2., 5.])
        """
        if self.inspected is None:
            return scores
        grid = np.full(len(self.inspected), scores.min(), scores.dtype)
        grid[self.inspected] = scores
        return grid


@runtime_checkable
class TextEmbedder(Protocol):
    """What an embedder offers whose patch embeddings lie in one space with texts."""

    def text_recipe(self) -> Mapping[str, Any]:
        """What decides the embeddings of texts.

        Returns:
            Everything but the weights, as JSON values.
        """

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts.

        Args:
            texts: prompts, in any number.

        Returns:
            ``(n, d)`` float32, a row a text.
        """


@runtime_checkable
class PatchEmbedder(Protocol):
    """Turns images into patch embeddings. It alone resizes them. An own one may leave out ``embed_batch``."""

    def recipe(self) -> Mapping[str, Any]:
        """What decides the numbers besides the images.

        Returns:
            Everything but the weights, as JSON values: name, version, layers, sizes, resize policy.
        """

    def embed(self, image: RgbImage) -> PatchEmbedding:
        """Embed one image.

        Args:
            image: ``(H, W, 3)`` RGB, uint8 or uint16.

        Returns:
            Its patch embeddings, and where they lie on it.
        """

    def embed_batch(self, images: Sequence[RgbImage]) -> list[PatchEmbedding]:
        """Embed several images.

        Args:
            images: each as for ``embed``, of any sizes.

        Returns:
            One result per image, in order; the same as alone (1e-4 relative).
        """
