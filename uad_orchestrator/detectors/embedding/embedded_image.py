"""An image's embedding, complete and at the precision asked for; what the cache keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.embedding.placement import PreparedImage, on_original
from uad_orchestrator.embedders.protocol import LARGEST_FLOAT16, PatchEmbedding, Precision, Region
from uad_orchestrator.images.source import ImageSource


class EmbeddedImage(NamedTuple):
    """An image with its embedding, complete (region, input size, inspected patches), and what it cost.

    Attributes:
        source: the image.
        embedding: its patch embeddings, rounded to the precision that was asked for; float32, unless they were asked
            for as they were rounded.
        seconds: reading, preset and embedding, when it was embedded: of the network's time the share of its batch.
    """

    source: ImageSource
    embedding: PatchEmbedding
    seconds: float


def complete(
    embedding: PatchEmbedding | tuple[Any, ...], name: str, image: PreparedImage | None = None
) -> PatchEmbedding:
    """The embedding checked, as float32, with region and input size filled in.

    Where the preset brought ``image`` to another size, the region is brought back to the original. Rows that come in
    float16 stay so.

    Raises:
        ValueError: the rows do not fill the grid, or hold NaN or infinity; names the image.
    """
    given = PatchEmbedding(*embedding)
    rows = np.asarray(given.patch_embeddings)
    if rows.dtype != np.float16:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
    gh, gw = (int(n) for n in given.grid_shape)
    if rows.ndim != 2 or len(rows) != gh * gw or not len(rows):
        raise ValueError(
            f"{name}: patch embeddings of shape {rows.shape} do not fill a patch grid of {gh} x {gw}"
        )
    if not np.isfinite(largest_value(rows)):
        raise ValueError(
            f"{name}: its patch embeddings hold NaN or infinity: the weights or the image are damaged"
        )
    height, width = (int(n) for n in given.original_size)
    region = Region(*given.region) if given.region is not None else Region(0.0, 0.0, height, width)
    input_size = tuple(int(n) for n in given.input_size) if given.input_size is not None else (height, width)
    if image is not None and image.pixels.shape[:2] != image.original_size:
        region, (height, width) = on_original(region, image), image.original_size
    return PatchEmbedding(rows, (gh, gw), (height, width), region, (input_size[0], input_size[1]))


def pack(embedding: PatchEmbedding, seconds: float, precision: Precision) -> dict[str, np.ndarray]:
    """What the cache keeps of a complete embedding, its rows at a precision."""
    sizes = (
        *embedding.grid_shape,
        *embedding.original_size,
        *(embedding.input_size or embedding.original_size),
    )
    return {
        "patch_embeddings": _rounded(embedding.patch_embeddings, precision),
        "sizes": np.array(sizes, np.int64),
        "region": np.array(embedding.region, np.float64),
        "seconds": np.array(seconds),
    }


def unpack(
    source: ImageSource, entry: Mapping[str, np.ndarray], precision: Precision, *, widened: bool = True
) -> EmbeddedImage:
    """The embedding of what ``pack`` gave, rounded to a precision whatever the cache holds.

    Args:
        source: the image.
        entry: what ``pack`` gave.
        precision: what the rows are rounded to.
        widened: give them in float32; else rows that float16 holds stay in it.
    """
    rows = _rounded(entry["patch_embeddings"], precision)
    if widened:
        rows = rows.astype(np.float32, copy=False)
    gh, gw, height, width, input_height, input_width = (int(n) for n in entry["sizes"])
    embedding = PatchEmbedding(
        rows,
        (gh, gw),
        (height, width),
        Region(*(float(edge) for edge in entry["region"])),
        (input_height, input_width),
    )
    return EmbeddedImage(source, embedding, float(entry["seconds"]))


def _rounded(rows: np.ndarray, precision: Precision) -> np.ndarray:
    """Rows at the precision asked for; float32 where a value lies beyond what float16 can hold."""
    if rows.dtype == np.float16 or precision == "float32" or largest_value(rows) >= LARGEST_FLOAT16:
        return rows
    return rows.astype(np.float16)


def largest_value(rows: np.ndarray) -> float:
    """The largest absolute value; NaN where there is one. The rows are not copied for it."""
    if not rows.size:
        return 0.0
    if (
        rows.dtype == np.float16
    ):  # compared as whole numbers, many times faster: bits sort like what they stand for
        positive, most = max(int(rows.view(np.int16).max()), 0), int(rows.view(np.uint16).max())
        negative = most & 0x7FFF if most & 0x8000 else 0  # the sign is the highest bit
        return float(np.uint16(max(positive, negative)).view(np.float16))
    return max(float(rows.max()), -float(rows.min()))
