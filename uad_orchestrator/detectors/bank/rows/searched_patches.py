"""What the search for a coreset knew of all patches, left for the calibration that follows in the same process.

It need not project them again, nor search their nearest rows where these are too many to be stored with the bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uad_orchestrator.detectors.bank.rows.patches import BankRecipe, Coreset, Patches
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream, Precision
from uad_orchestrator.images.source import ImageSource


class _Searched(NamedTuple):
    """``points`` (n, p) int16, which holds the whole numbers of the search; ``starts`` of the images' patches."""

    points: np.ndarray
    starts: np.ndarray
    coreset: Coreset


def leave_patches(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    patches: Patches,
    coreset: Coreset,
) -> None:
    """Leave the patches that a greedy coreset was searched among.

    Args:
        stream: what it came from, as the next three.
        images: in their order.
        recipe: of the bank.
        precision: of the embeddings.
        patches: with points that are whole.
        coreset: of them.
    """
    assert patches.points is not None  # a greedy search goes by distances
    points = patches.points
    size = points.nbytes // 2 + sum(array.nbytes for array in coreset if array is not None)
    stream.handed_on.put(
        _key(stream, images, recipe, precision),
        lambda: _Searched(points.astype(np.int16), patches.starts, coreset),
        size,
    )


def take_patches(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    rows: np.ndarray,
) -> tuple[Patches, Coreset] | None:
    """What was left of the same images and recipe, if it was for the same bank.

    Args:
        stream: as in ``leave_patches``, as the next three.
        images: in their order.
        recipe: of the bank.
        precision: of the embeddings.
        rows: ``(m,)`` of the bank.

    Returns:
        The patches, their points whole, and the coreset; None: they are to be gathered.
    """
    searched: _Searched | None = stream.handed_on.take(_key(stream, images, recipe, precision))
    if searched is None or not np.array_equal(searched.coreset.rows, rows):
        return None
    return Patches(searched.points.astype(np.float32), searched.starts, [], whole=True), searched.coreset


def _key(
    stream: EmbeddingStream, images: Sequence[ImageSource], recipe: BankRecipe, precision: Precision
) -> object:
    region = stream.roi and stream.roi.preset  # the space has it not: it changes no embedding
    return stream.space, region, [image.digest for image in images], recipe, precision
