"""Which patches show the object: the first principal component of an image's DINOv2 tokens, as in AnomalyDINO.

One deviation: the mask is dilated and closed on the patch grid. The official code does both to the tokens in one long
column: there the object grows to the left and the right alone, and from the end of a row into the next
(``along_tokens``).

Of a tiled image the object is found on the whole of it, as it goes into the embedder without tiles: a tile may
show nothing but the object, or nothing of it, and its own first component would part something else.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from uad_orchestrator.detectors.embedding.placement import PatchCells
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage, EmbeddingStream, Precision
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import TileSource

FOREGROUND = 10.0
"""First principal component beyond which a DINOv2 token (after the final norm) shows the object."""


class ObjectFinder:
    """Says which patches of images and tiles show the object.

    Args:
        stream: embeds the whole of a tiled image: one view more of it.
        along_tokens: whether masks grow as in the official code.
    """

    def __init__(self, stream: EmbeddingStream, *, along_tokens: bool = False) -> None:
        self._stream = stream
        self._along_tokens = along_tokens
        self._whole = lru_cache(maxsize=1)(self._on_whole)  # an image's tiles come in a row

    def on_object(self, embedded: EmbeddedImage, precision: Precision) -> np.ndarray:
        """``(n,)`` bool, for each inspected patch.

        Args:
            embedded: with the rows of the inspected patches alone.
            precision: which its embedding is of.
        """
        source, embedding = embedded.source, embedded.embedding
        if not isinstance(source, TileSource):
            return self._mask(embedding.patch_embeddings, embedding)
        cells, mask = self._whole(source.whole, precision)
        rows, columns = self._places(source, PatchCells.of(embedding), cells)
        found = mask[np.ix_(rows, columns)].ravel()
        return found if embedding.inspected is None else found[embedding.inspected]

    def _mask(self, tokens: np.ndarray, embedding: PatchEmbedding) -> np.ndarray:
        return object_mask(tokens, embedding.grid_shape, embedding.inspected, along_tokens=self._along_tokens)

    def _on_whole(self, image: ImageSource, precision: Precision) -> tuple[PatchCells, np.ndarray]:
        """Where the patches of a whole image lie, and which show the object: ``(gh, gw)`` bool; beside the region of
        interest as at its edge."""
        from scipy.ndimage import distance_transform_edt

        (embedded,) = self._stream.stream([image], precision=precision)
        embedding = embedded.embedding
        found = self._mask(embedding.inspected_rows, embedding)
        mask = embedding.spread(found).reshape(embedding.grid_shape)
        if embedding.inspected is not None:
            outside = ~embedding.inspected.reshape(embedding.grid_shape)
            mask = mask[tuple(distance_transform_edt(outside, return_distances=False, return_indices=True))]
        return PatchCells.of(embedding), mask

    def _places(
        self, tile: TileSource, patches: PatchCells, whole: PatchCells
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows and the columns of the whole image's grid in which those of a tile's grid have their centres."""
        canvas = self._stream.size_after(whole.size)
        found = []
        for axis in (0, 1):
            begin, end = patches.region[axis], patches.region[axis + 2]
            count = patches.grid_shape[axis]
            on_canvas = tile.box[axis] + begin + (np.arange(count) + 0.5) * (end - begin) / count
            begin, end = whole.region[axis], whole.region[axis + 2]
            share = (on_canvas * whole.size[axis] / canvas[axis] - begin) / (end - begin)
            found.append(np.clip((share * whole.grid_shape[axis]).astype(int), 0, whole.grid_shape[axis] - 1))
        return found[0], found[1]


def object_mask(
    tokens: np.ndarray,
    grid_shape: tuple[int, int],
    inspected: np.ndarray | None = None,
    *,
    along_tokens: bool = False,
) -> np.ndarray:
    """Where the object is: the first principal component of an image's tokens, against a threshold.

    If the centre (without a border of 0.2) is at most 35 % object, the other sign of the component is taken.
    Then dilated and closed, 3x3 (``along_tokens``: by one token before and one after, in the order of the tokens).

    Args:
        tokens: ``(n, d)`` of the inspected patches, after the model's final norm, not normalised.
        grid_shape: ``(gh, gw)``.
        inspected: ``(gh * gw,)`` bool, where the tokens lie; None: everywhere.
        along_tokens: dilate and close the column of all tokens, as the official code does, not the grid.

    Returns:
        ``(n,)`` bool, for each token.
    """
    import cv2

    where = np.ones(grid_shape, bool) if inspected is None else inspected.reshape(grid_shape)
    component = np.zeros(grid_shape)
    component[where] = first_component(tokens)
    mask = component > FOREGROUND
    gh, gw = grid_shape
    centre = np.s_[int(gh * 0.2) : int(gh * 0.8), int(gw * 0.2) : int(gw * 0.8)]
    if mask[centre].sum() <= 0.35 * where[centre].sum():
        mask = -component > FOREGROUND
    kernel = np.ones((3, 3), np.uint8)
    grown = cv2.dilate(mask.astype(np.uint8).reshape((-1, 1) if along_tokens else grid_shape), kernel)
    closed = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, kernel)
    return closed.astype(bool).reshape(grid_shape)[where]


def first_component(tokens: np.ndarray) -> np.ndarray:
    """``(n,)`` coordinates along the first principal axis, whose largest entry is positive as in scikit-learn's PCA.

    (Since 1.5; before, the sign was that of the largest coordinate. The solver is exact, the official one randomised.)
    """
    centred = tokens.astype(np.float64) - tokens.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axis = axes[:, -1]
    return centred @ (axis * np.sign(axis[np.abs(axis).argmax()]))
