"""Tiles: how an image is cut into overlapping squares of one size, and a tile as an image of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from uad_orchestrator.images.source import ImageSource

Padding = Literal["reflect", "edge"]
"""What fills a tile where the image is smaller: its mirrored pixels (the edge not repeated), or its last ones."""


class Box(NamedTuple):
    """A tile's place on its image in pixels, half-open; beyond the image's end where that is smaller."""

    top: int
    left: int
    bottom: int
    right: int


class Tile(NamedTuple):
    """A tile of an image.

    Attributes:
        box: where it lies on the image, in pixels: ``(top, left, bottom, right)``, half-open.
        pixels: ``(tile_size, tile_size)`` or ``(tile_size, tile_size, C)``, of the image's dtype.
    """

    box: Box
    pixels: np.ndarray


@dataclass(frozen=True)
class TileGrid:
    """The tiles of an image: every row with every column, row by row.

    Attributes:
        tops, lefts: first pixel of each row and of each column of tiles, ascending.
        side: side of a tile in pixels.
        size: ``(H, W)`` of the image, as its preset leaves it.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    side: int
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def boxes(self) -> Iterator[Box]:
        """Each tile's place, row by row."""
        for top in self.tops:
            for left in self.lefts:
                yield Box(top, left, top + self.side, left + self.side)


@dataclass(frozen=True, kw_only=True)
class TileSource(ImageSource):
    """A tile as a detector sees it: an image of its own, in the group of the image it is cut from.

    Its digest follows from the image's and from how it is cut, so that it is known before a pixel is read. ``read``
    knows no preset: after one, tiles come from ``EmbeddingStream.prepare``.

    Attributes:
        whole: the image.
        box: its place on it, as its preset leaves it.
        padding: what fills it where the image is smaller.
    """

    whole: ImageSource
    box: Box
    padding: Padding

    @classmethod
    def cut_from(cls, whole: ImageSource, box: Box, padding: Padding) -> TileSource:
        """The tile at ``box``."""
        height, width = box.bottom - box.top, box.right - box.left
        recipe = f"{whole.digest}: {height} x {width} at {box.top}, {box.left}, {padding}"
        return cls(
            name=f"{whole.name} (tile at {box.top}, {box.left})",
            digest=hashlib.sha256(recipe.encode()).hexdigest(),
            group=whole.group,
            read=lambda: cut_tile(whole.read(), box, padding),
            measure=lambda: (height, width),
            whole=whole,
            box=box,
            padding=padding,
        )


def whole_of(source: ImageSource) -> ImageSource:
    """The image a source is a tile of; itself, if it is none."""
    return source.whole if isinstance(source, TileSource) else source


def default_stride(tile_size: int) -> int:
    """Three quarters of a tile: neighbours overlap by the last quarter.

    >>> default_stride(512)
    384
    """
    return max(1, tile_size * 3 // 4)


def tile_grid(size: tuple[int, int], tile_size: int, stride: int | None = None) -> TileGrid:
    """The fewest tiles, ``stride`` apart, that cover an image of ``size`` ``(H, W)``.

    The last row and column are flush with the image's end. A side smaller than a tile has one tile, which
    reaches beyond it.

    Raises:
        ValueError: a tile without pixels, or a stride that is below 1 or would leave gaps between tiles.

    >>> tile_grid((1000, 300), 512, 384)
    TileGrid(tops=(0, 384, 488), lefts=(0,), side=512, size=(1000, 300))
    """
    stride = default_stride(tile_size) if stride is None else stride
    if tile_size < 1 or not 1 <= stride <= tile_size:
        raise ValueError(
            f"tile_size {tile_size} with stride {stride}: a tile has pixels, and the stride lies between 1 and "
            "tile_size, or pixels between two tiles would not be inspected"
        )
    height, width = size
    return TileGrid(_starts(height, tile_size, stride), _starts(width, tile_size, stride), tile_size, size)


def cut_tile(image: np.ndarray, box: Box, padding: Padding = "reflect") -> np.ndarray:
    """The pixels of ``box``, ``(side, side, ...)``: a view, or a padded copy where the image is smaller."""
    pixels = image[box.top : box.bottom, box.left : box.right]
    missing = (box.bottom - box.top - pixels.shape[0], box.right - box.left - pixels.shape[1])
    if missing == (0, 0):
        return pixels
    widths = [(0, missing[0]), (0, missing[1]), *((0, 0) for _ in range(image.ndim - 2))]
    return np.pad(pixels, widths, mode=padding)


def iter_tiles(
    image: np.ndarray, tile_size: int, stride: int | None = None, padding: Padding = "reflect"
) -> Iterator[Tile]:
    """Cut an image into its tiles, row by row, as ``TiledDetector`` does.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any dtype.
        tile_size: side of a tile in pixels.
        stride: pixels from one tile to the next; None: three quarters of a tile.
        padding: what fills a tile at the bottom and right where the image is smaller than it: its mirrored pixels
            (``reflect``), or its last ones (``edge``).

    Yields:
        The tiles; the last of a row and of a column are flush with the image's end.

    Raises:
        ValueError: no image, or a stride that would leave gaps.

    >>> [tile.box[:2] for tile in iter_tiles(np.zeros((5, 4)), 4, 2)]
    [(0, 0), (1, 0)]
    """
    if image.ndim < 2 or not image.size:
        raise ValueError(f"an image is (H, W) or (H, W, C) with at least one pixel, not {image.shape}")
    for box in tile_grid((image.shape[0], image.shape[1]), tile_size, stride).boxes():
        yield Tile(box, cut_tile(image, box, padding))


def _starts(length: int, side: int, stride: int) -> tuple[int, ...]:
    """Where tiles begin along an edge: every ``stride`` pixels, the last flush with the end."""
    last = max(length - side, 0)
    return (*range(0, last, stride), last)
