"""Images in, patch embeddings out: through preset and embedder once, then from the cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from uad_orchestrator.detectors.embedding.placement import (
    ImagePreset,
    PatchCells,
    PreparedImage,
    RoiPatches,
    on_original,
)
from uad_orchestrator.detectors.embedding.views import PLAIN, View
from uad_orchestrator.embedders.protocol import PatchEmbedder, PatchEmbedding, Region
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import TileSource, cut_tile
from uad_orchestrator.preprocessing.augmentation import Augmentation
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

Precision = Literal["float16", "float32"]

LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


class EmbeddedImage(NamedTuple):
    """An image with its embedding, complete (region, input size, inspected patches), and what it cost.

    Attributes:
        source: the image.
        embedding: its patch embeddings, float32, rounded to the precision that was asked for.
        seconds: reading, preset and embedding, when it was embedded: the share of its batch.
    """

    source: ImageSource
    embedding: PatchEmbedding
    seconds: float


class EmbeddingStream:
    """Patch embeddings of images, in order, bounded in memory by one batch.

    Args:
        load_embedder: called once, when the first image that is not in the cache comes.
        recipe: called once, with the first image: what decides the numbers besides the images, as JSON
            values: embedder, weights digest, preset.
        preset: applied to every image first; None: images go in as they are.
        cache: where embeddings are kept; None: they are not.
        batch_size: images per forward pass.

    Attributes:
        roi: says which patches the preset's region of interest lets be inspected; None: all.
        embedded_images: images sent through the embedder so far (their plain view).
        embedded_views: images and their other views sent through the embedder so far.
    """

    def __init__(
        self,
        load_embedder: Callable[[], PatchEmbedder],
        recipe: Callable[[], Mapping[str, Any]],
        *,
        preset: ImagePreset | None = None,
        cache: EmbeddingCache | None = None,
        batch_size: int = 8,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it has to be at least 1")
        self.load_embedder = load_embedder
        self.recipe = recipe
        self.preset = preset
        self.cache = cache
        self.batch_size = batch_size
        self.embedded_images = 0
        self.embedded_views = 0
        self._latest_whole: tuple[ImageSource, Augmentation | None, RgbImage] | None = None
        self.roi = RoiPatches(preset) if preset is not None and preset.has_roi else None

    @cached_property
    def embedder(self) -> PatchEmbedder:
        """The embedder, loaded when it is first asked for."""
        return self.load_embedder()

    @cached_property
    def space(self) -> str:
        """The digest (hex) of the recipe: which numbers these embeddings are."""
        return hashlib.sha256(json.dumps(self.recipe(), sort_keys=True).encode()).hexdigest()

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        view: View = PLAIN,
        precision: Precision = "float16",
        keep_exact: bool = False,
    ) -> Iterator[EmbeddedImage]:
        """Embed ``sources`` in order.

        Args:
            sources: the images; consumed a batch at a time.
            view: which view of each image; the image itself where none is named.
            precision: embeddings are rounded to it whether they come from the cache or not, so that the state
                of the cache never changes a score.
            keep_exact: those embedded now are cached in float32, to serve whichever precision is asked for next.

        Returns:
            Each image with its ``(gh * gw, d)`` float32 patch embeddings, where they lie, and which are inspected.

        Raises:
            ValueError: the region of interest does not fit an image; names the image.
        """
        remaining = iter(sources)
        while batch := list(itertools.islice(remaining, self.batch_size)):
            known = [self._cached(source, view, precision) for source in batch]
            fresh = self._embed(
                [s for s, k in zip(batch, known, strict=True) if k is None], view, precision, keep_exact
            )
            for entry in known:
                yield self._with_inspected(entry if entry is not None else next(fresh), view)

    @contextmanager
    def caching(self) -> Iterator[None]:
        """Keep embeddings while this lasts, so that several passes embed once.

        On disk, in a folder that is removed afterwards, where the stream has no cache of its own.

        Returns:
            A context manager.
        """
        if self.cache is not None:
            yield
            return
        with tempfile.TemporaryDirectory(prefix="uad-embeddings-") as folder:
            self.cache = EmbeddingCache(Path(folder))
            try:
                yield
            finally:
                self.cache = None

    def prepare(self, source: ImageSource, view: View = PLAIN) -> PreparedImage:
        """A view of an image as it goes into the embedder: read, with the preset applied.

        Args:
            source: an image, or a tile: then the preset has gone over the whole image, once for all tiles that are
                asked for in a row.
            view: which view of it.

        Returns:
            Its pixels, and its size before the preset.
        """
        if isinstance(source, TileSource):
            tile = cut_tile(self._whole(source.whole, view), source.box, source.padding)
            return PreparedImage(view.after_preset(tile), (tile.shape[0], tile.shape[1]))
        image = source.read()
        pixels = view.after_preset(self._after_preset(image, view, source.digest))
        return PreparedImage(pixels, (image.shape[0], image.shape[1]))

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of the canvas that tiles are cut of.

        Args:
            size: ``(H, W)`` of an image.

        Returns:
            ``(h, w)`` after the preset.
        """
        return size if self.preset is None else self.preset.size_after(size)

    def cells(self, source: ImageSource) -> PatchCells:
        """Where the patches of an image or a tile lie on it.

        Args:
            source: it is embedded, unless the cache has it.

        Returns:
            The image's size, the region that the patch grid covers, and the grid's shape.
        """
        known = self._cached(source, PLAIN, "float16")
        embedded = known or next(self._embed([source], PLAIN, "float16", keep_exact=True))
        return PatchCells.of(embedded.embedding)

    def _whole(self, image: ImageSource, view: View) -> RgbImage:
        """The image after its preset; the latest one is kept."""
        augmentation, latest = view.augmentation, self._latest_whole
        if latest is None or latest[0] is not image or latest[1] != augmentation:
            self._latest_whole = None  # let go of it before the next one is decoded
            pixels = self._after_preset(image.read(), view, image.digest)
            expected = self.size_after(image.size())
            if pixels.shape[:2] != expected:
                raise ValueError(
                    f"{image.name}: its preset gives {pixels.shape[0]} x {pixels.shape[1]} pixels, but says "
                    f"{expected[0]} x {expected[1]} (size_after), which its tiles are cut by"
                )
            latest = self._latest_whole = image, augmentation, pixels
        return latest[2]

    def _after_preset(self, image: RgbImage, view: View, digest: str) -> RgbImage:
        image = view.before_preset(image, digest)
        return self.preset.apply(image) if self.preset is not None else image

    def _cached(self, source: ImageSource, view: View, precision: Precision) -> EmbeddedImage | None:
        stored = self.cache.get(self.space, view.name, source.digest) if self.cache else None
        if stored is None or (precision == "float32" and stored["patch_embeddings"].dtype == np.float16):
            return None
        return _unpack(source, stored, precision)

    def _embed(
        self, sources: list[ImageSource], view: View, precision: Precision, keep_exact: bool
    ) -> Iterator[EmbeddedImage]:
        if not sources:
            return
        started = time.perf_counter()
        images = [self.prepare(source, view) for source in sources]
        embeddings = embed_batch(self.embedder, [image.pixels for image in images])
        seconds = (time.perf_counter() - started) / len(sources)
        self.embedded_views += len(sources)
        self.embedded_images += len(sources) if view == PLAIN else 0
        for source, image, embedding in zip(sources, images, embeddings, strict=True):
            placed = complete(embedding, source.name, image)
            entry = _pack(placed, seconds, "float32" if keep_exact else precision)
            if self.cache is not None:
                self.cache.put(self.space, view.name, source.digest, entry)
            yield _unpack(source, entry, precision)

    def _with_inspected(self, embedded: EmbeddedImage, view: View) -> EmbeddedImage:
        if self.roi is None:
            return embedded
        inspected = self.roi.inspected(embedded.source, PatchCells.of(embedded.embedding), view)
        return embedded._replace(embedding=embedded.embedding._replace(inspected=inspected))


def embed_batch(embedder: PatchEmbedder, images: list[RgbImage]) -> list[PatchEmbedding]:
    """The embeddings of ``images``; one by one where an injected embedder knows only ``embed``."""
    if hasattr(embedder, "embed_batch"):
        return list(embedder.embed_batch(images))
    return [embedder.embed(image) for image in images]


def complete(
    embedding: PatchEmbedding | tuple[Any, ...], name: str, image: PreparedImage | None = None
) -> PatchEmbedding:
    """The embedding checked, as float32, with region and input size filled in.

    Where the preset brought ``image`` to another size, the region is brought back to the original.

    Raises:
        ValueError: the rows do not fill the grid, or hold NaN or infinity; names the image.
    """
    given = PatchEmbedding(*embedding)
    rows = np.ascontiguousarray(given.patch_embeddings, dtype=np.float32)
    gh, gw = (int(n) for n in given.grid_shape)
    if rows.ndim != 2 or len(rows) != gh * gw or not len(rows):
        raise ValueError(
            f"{name}: patch embeddings of shape {rows.shape} do not fill a patch grid of {gh} x {gw}"
        )
    if not np.isfinite(rows).all():
        raise ValueError(
            f"{name}: its patch embeddings hold NaN or infinity: the weights or the image are damaged"
        )
    height, width = (int(n) for n in given.original_size)
    region = Region(*given.region) if given.region is not None else Region(0.0, 0.0, height, width)
    input_size = tuple(int(n) for n in given.input_size) if given.input_size is not None else (height, width)
    if image is not None and image.pixels.shape[:2] != image.original_size:
        region, (height, width) = on_original(region, image), image.original_size
    return PatchEmbedding(rows, (gh, gw), (height, width), region, (input_size[0], input_size[1]))


def _rounded(rows: np.ndarray, precision: Precision) -> np.ndarray:
    """``rows`` at the precision asked for; float32 where a value lies beyond what float16 can hold."""
    narrow = precision == "float16" and float(np.abs(rows).max()) < LARGEST_FLOAT16
    return rows.astype(np.float16) if narrow else rows


def _pack(embedding: PatchEmbedding, seconds: float, precision: Precision) -> dict[str, np.ndarray]:
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


def _unpack(source: ImageSource, entry: Mapping[str, np.ndarray], precision: Precision) -> EmbeddedImage:
    rows = entry["patch_embeddings"]
    rows = rows if rows.dtype == np.float16 else _rounded(rows, precision)
    gh, gw, height, width, input_height, input_width = (int(n) for n in entry["sizes"])
    embedding = PatchEmbedding(
        rows.astype(np.float32, copy=False),
        (gh, gw),
        (height, width),
        Region(*(float(edge) for edge in entry["region"])),
        (input_height, input_width),
    )
    return EmbeddedImage(source, embedding, float(entry["seconds"]))
