"""Large images token by token: overlapping tiles through an embedder, stitched into one grid of patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.bank.superadd_settings import TokenTileSettings
from uad_orchestrator.detectors.embedding.embedded_image import complete
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream, embed_batch
from uad_orchestrator.embedders.protocol import PatchEmbedder, PatchEmbedding, Region
from uad_orchestrator.embedders.torch_embedder import ran_on
from uad_orchestrator.images.decode import RgbImage

BATCH = 8
"""Tiles per forward pass, of an embedder that does not say it itself."""


class _Axis(NamedTuple):
    """The tiles along one side of an image.

    Attributes:
        starts: first token of each tile.
        owner: ``(tokens,)`` for each token of the image, the number of the tile in which it is most central.
    """

    starts: tuple[int, ...]
    owner: np.ndarray

    def owned(self, tile: int) -> np.ndarray:
        """The image's tokens that are taken from a tile, ascending."""
        return np.flatnonzero(self.owner == tile)


class TokenTiles:
    """An embedder that sees an image in overlapping square tiles.

    Each token of the stitched grid is that of the tile in which it is most central: near a tile's border a token
    knows less of its surroundings. Tiles lie on the lattice of the tokens, so that overlapping tiles have their
    tokens at the same places; what the lattice leaves over at the bottom and right (less than a token) is not
    inspected. An image smaller than a tile is cut into squares as large as its shorter side.

    Args:
        inner: embeds a tile; its grid on a square tile is square.
        settings: size and overlap of the tiles.
    """

    def __init__(self, inner: PatchEmbedder, settings: TokenTileSettings) -> None:
        self.inner = inner
        self.settings = settings

    @property
    def device(self) -> str:
        """Where the tiles are embedded."""
        return ran_on(self.inner)

    def exact(self) -> TokenTiles:
        """The same tiles through the same network, computing in float32 (see ``TorchEmbedder.exact``)."""
        return TokenTiles(self.inner.exact(), self.settings)  # type: ignore[attr-defined]  # only where it has it

    def recipe(self) -> Mapping[str, Any]:
        """The inner embedder's recipe and the tiles."""
        return {**self.inner.recipe(), "token_tiles": self.settings.model_dump()}

    def embed_batch(self, images: Sequence[RgbImage]) -> list[PatchEmbedding]:
        """One result per image, in order."""
        return [self.embed(image) for image in images]

    def embed(self, image: RgbImage) -> PatchEmbedding:
        """The stitched patch embeddings of one image.

        Raises:
            ValueError: the embedder's grid on a square tile is not square.
        """
        height, width = image.shape[:2]
        side = min(self.settings.tile_size, height, width)
        first = self._embed_tiles([image[:side, :side]])[0]
        tokens = first.grid_shape[0]
        assert first.region is not None and first.input_size is not None  # completed above
        pitch = first.region.bottom / tokens
        stride = max(1, round(tokens * (1 - self.settings.overlap)))
        rows, columns = (_axis(int(length / pitch + 1e-9), tokens, stride) for length in (height, width))
        grid = np.empty((len(rows.owner), len(columns.owner), first.patch_embeddings.shape[1]), np.float32)
        places = [(i, j) for i in range(len(rows.starts)) for j in range(len(columns.starts))]
        cuts = [
            (
                min(round(rows.starts[i] * pitch), height - side),
                min(round(columns.starts[j] * pitch), width - side),
            )
            for i, j in places
        ]
        tiles = [image[top : top + side, left : left + side] for top, left in cuts]
        for (i, j), tile in zip(places, self._embedded(tiles, first), strict=True):
            at, across = rows.owned(i), columns.owned(j)
            square = tile.patch_embeddings.reshape(tokens, tokens, -1)
            grid[np.ix_(at, across)] = square[np.ix_(at - rows.starts[i], across - columns.starts[j])]
        shape = grid.shape[:2]
        input_pitch = first.input_size[0] / tokens
        return PatchEmbedding(
            grid.reshape(shape[0] * shape[1], -1),
            shape,
            (height, width),
            Region(0.0, 0.0, shape[0] * pitch, shape[1] * pitch),
            (round(shape[0] * input_pitch), round(shape[1] * input_pitch)),
        )

    def _embedded(self, tiles: list[RgbImage], first: PatchEmbedding) -> Iterator[PatchEmbedding]:
        """All tiles, the first of which is known, a few at a time."""
        yield first
        batch = int(getattr(self.inner, "batch_size", BATCH))
        for start in range(1, len(tiles), batch):
            yield from self._embed_tiles(tiles[start : start + batch])

    def _embed_tiles(self, tiles: list[RgbImage]) -> list[PatchEmbedding]:
        found = [complete(tile, "a tile") for tile in embed_batch(self.inner, tiles)]
        for tile in found:
            if tile.grid_shape[0] != tile.grid_shape[1]:
                raise ValueError(
                    f"the embedder's grid on a square tile is {tile.grid_shape}: token tiles need a square one"
                )
        return found


def tiled_stream(stream: EmbeddingStream, settings: TokenTileSettings) -> EmbeddingStream:
    """The stream with its embedder looking at tiles; in a space of its own in the cache."""
    return EmbeddingStream(
        lambda: TokenTiles(stream.embedder, settings),
        lambda: _tiled(stream.recipe(), settings),
        preset=stream.preset,
        cache=stream.cache,
        batch_size=stream.batch_size,
        readers=stream.readers,
        device=stream.device,
        handed_on=stream.handed_on,
    )


def _tiled(recipe: Mapping[str, Any], settings: TokenTileSettings) -> dict[str, Any]:
    return {**recipe, "embedder": {**recipe["embedder"], "token_tiles": settings.model_dump()}}


def _axis(length: int, tokens: int, stride: int) -> _Axis:
    """Tiles of ``tokens`` every ``stride``, the last flush with the end of the ``length`` tokens."""
    last = length - tokens
    starts = (*range(0, last, stride), last)
    centres = np.array(starts) + tokens / 2
    owner = np.abs(np.arange(length)[:, None] + 0.5 - centres).argmin(axis=1)
    return _Axis(starts, owner)
