"""Images in, patch embeddings out: through preset and embedder once, then from the cache.

Images are read, decoded and prepared by several threads ahead of the embedder, and what it gives is cached behind it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from uad_orchestrator.detectors.embedding.embedded_image import (
    EmbeddedImage,
    Precision,
    complete,
    pack,
    unpack,
)
from uad_orchestrator.detectors.embedding.handed_on import HandedOn
from uad_orchestrator.detectors.embedding.placement import ImagePreset, PatchCells, PreparedImage, RoiPatches
from uad_orchestrator.detectors.embedding.reading import ImageReader, ReadImage, WaitingImages
from uad_orchestrator.detectors.embedding.views import PLAIN, View
from uad_orchestrator.embedders.protocol import PatchEmbedder, PatchEmbedding
from uad_orchestrator.embedders.torch_device import compute_device
from uad_orchestrator.embedders.torch_embedder import CPU_BATCH
from uad_orchestrator.images.decode import ImageError, RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import TileSource
from uad_orchestrator.storage.embedding_cache import EmbeddingCache, HeldEmbeddings, KeptEmbeddings
from uad_orchestrator.storage.shared_embeddings import EntryKey, SharedEmbeddings
from uad_orchestrator.threads import available_threads, ordered_map

BatchSize = int | Literal["auto"]
"""Images per forward pass; ``auto``: as the embedder likes it on its device."""

HELD_PIXELS = 96_000_000
"""Pixels of images that are read and not yet embedded: 288 MB of 8-bit RGB, whatever the batch."""

HELD_BYTES = 512 << 20
"""Of embeddings held in memory while a detector is fitted that has no cache."""

WRITERS = 4
"""Threads at most that check, round and cache what the embedder gives."""


class EmbeddingStream:
    """Patch embeddings of images, in order, bounded in memory by one batch and what is read ahead of it.

    Args:
        load_embedder: called once, when the first image that is not in the cache comes.
        recipe: called once, with the first image: what decides the numbers besides the images, as JSON
            values: embedder, weights digest, preset.
        preset: applied to every image first; None: images go in as they are.
        cache: where embeddings are kept; None: they are not.
        batch_size: images per forward pass.
        readers: threads that read images and the cache; ``auto``: one for each core, as far as there are images to
            read ahead. With a batch size of 1 images are read one by one, as they come.
        device: where the network runs, as it was asked for; ``cpu`` also for an embedder without a network.
        handed_on: holds what one stage leaves for the next; None: one of its own.

    Attributes:
        roi: says which patches the preset's region of interest lets be inspected; None: all.
        embedded_images: images sent through the embedder so far (their plain view).
        embedded_views: images and their other views sent through the embedder so far.
        embedded_seconds: reading, preset and embedding of these, each with its share of its batch.
        cached_views: those that came from the cache instead.
        cached_seconds: what these took when they were embedded, on whichever machine.
    """

    def __init__(
        self,
        load_embedder: Callable[[], PatchEmbedder],
        recipe: Callable[[], Mapping[str, Any]],
        *,
        preset: ImagePreset | None = None,
        cache: KeptEmbeddings | None = None,
        batch_size: BatchSize = "auto",
        readers: BatchSize = "auto",
        device: str = "cpu",
        handed_on: HandedOn | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("readers", readers)):
            if value != "auto" and value < 1:
                raise ValueError(f"{name} is {value}: it has to be at least 1")
        self.load_embedder = load_embedder
        self.recipe = recipe
        self.preset = preset
        self.cache = cache
        self.batch_size = batch_size
        self.readers = readers
        self.handed_on = handed_on or HandedOn()
        self.embedded_images = 0
        self.embedded_views = 0
        self.embedded_seconds = 0.0
        self.cached_views = 0
        self.cached_seconds = 0.0
        self.roi = RoiPatches(preset) if preset is not None and preset.has_roi else None
        self._asked_device = device
        self._reader = ImageReader(preset)

    @cached_property
    def embedder(self) -> PatchEmbedder:
        """The embedder, loaded when it is first asked for."""
        return self.load_embedder()

    @property
    def images_at_once(self) -> int:
        """Images per forward pass."""
        if self.batch_size != "auto":
            return self.batch_size
        return int(getattr(self.embedder, "batch_size", CPU_BATCH))

    @property
    def reader_threads(self) -> int:
        """Threads that read images; one where images are taken one by one, as they come."""
        if self.batch_size == 1:
            return 1
        return available_threads() if self.readers == "auto" else self.readers

    @cached_property
    def space(self) -> str:
        """The digest (hex) of the recipe: which numbers these embeddings are."""
        return hashlib.sha256(json.dumps(self.recipe(), sort_keys=True).encode()).hexdigest()

    @cached_property
    def device(self) -> str:
        """Where embeddings are best compared: where the network runs. torch is loaded for it only where there may be a
        GPU."""
        return compute_device(self._asked_device)

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        view: View = PLAIN,
        precision: Precision = "float16",
        keep_exact: bool = False,
        widened: bool = True,
    ) -> Iterator[EmbeddedImage]:
        """Embed ``sources`` in order.

        Args:
            sources: the images; consumed as far ahead as is read.
            view: which view of each image; the image itself where none is named.
            precision: embeddings are rounded to it whether they come from the cache or not, so that the state
                of the cache never changes a score.
            keep_exact: those embedded now are cached in float32, to serve whichever precision is asked for next.
            widened: rows come in float32; else those that were rounded to float16 stay in it, half as large.

        Returns:
            Each image with its ``(gh * gw, d)`` patch embeddings, where they lie, and which are inspected.

        Raises:
            ImageError: an image cannot be read; those before it are yielded first.
            ValueError: the region of interest does not fit an image; names the image.
        """
        views = self.stream_views(
            sources, [view], precision=precision, keep_exact=keep_exact, widened=widened
        )
        return (embedded for (embedded,) in views)

    def stream_views(
        self,
        sources: Iterable[ImageSource],
        views: Sequence[View],
        *,
        precision: Precision = "float16",
        keep_exact: bool = False,
        widened: bool = True,
    ) -> Iterator[tuple[EmbeddedImage, ...]]:
        """Embed several views of each of ``sources``, in order; an image is decoded once for all of them.

        Args:
            sources: as in ``stream``, as the other three.
            views: which views of each image.
            precision: what embeddings are rounded to.
            keep_exact: whether they are cached in float32.
            widened: whether rows always come in float32.

        Returns:
            The embedded views of each image, in the order of ``views``.

        Raises:
            ImageError, ValueError: as ``stream``.
        """
        remaining = iter(sources)
        first = next(remaining, None)
        if first is None:
            return
        sources = itertools.chain([first], remaining)
        if isinstance(first, TileSource) and len(views) > 1:  # of a whole image one view at a time is kept
            each = (
                self.stream(column, view=view, precision=precision, keep_exact=keep_exact, widened=widened)
                for column, view in zip(itertools.tee(sources, len(views)), views, strict=True)
            )
            yield from zip(*each, strict=True)
            return
        if self.cache is not None:
            _ = self.space  # worked out once, before several threads ask for it
        asked = _Asked(tuple(views), precision, "float32" if keep_exact else precision, widened)
        threads, ahead = self.read_ahead(first, len(views))
        read = partial(self._read, asked=asked)
        waiting = WaitingImages()
        with self._sharing(sources, views) as shared:
            for image in ordered_map(read, shared, threads=threads, ahead=ahead):
                waiting.add(image)
                if image.error is not None or not self._waits(waiting, len(views)):
                    yield from self._finished(waiting.take(), asked)
            yield from self._finished(waiting.take(), asked)

    @contextmanager
    def caching(self) -> Iterator[None]:
        """Keep embeddings while this lasts, so that several passes embed once.

        Where the stream has no cache of its own: the first in memory, ``HELD_BYTES`` of them, further ones on disk, in
        a folder that is removed afterwards.

        Returns:
            A context manager.
        """
        if self.cache is not None:
            yield
            return
        with tempfile.TemporaryDirectory(prefix="uad-embeddings-") as folder:
            self.cache = HeldEmbeddings(EmbeddingCache(Path(folder)), HELD_BYTES)
            try:
                yield
            finally:
                self.cache = None

    def computed_exactly(self, sources: Sequence[ImageSource]) -> list[EmbeddedImage] | None:
        """The images embedded in float32 arithmetic, past the cache; None where they always are.

        Args:
            sources: a few images.

        Returns:
            Each with its unrounded embedding: what a faster ``compute`` is held against.
        """
        if "compute" not in self.recipe()["embedder"]:
            return None
        prepared = [self.prepare(source) for source in sources]
        exact = self.embedder.exact()  # type: ignore[attr-defined]  # every embedder that has ``compute`` has it
        embeddings = embed_batch(exact, [image.pixels for image in prepared])
        return [
            self._with_inspected(EmbeddedImage(source, complete(embedding, source.name, image), 0.0), PLAIN)
            for source, image, embedding in zip(sources, prepared, embeddings, strict=True)
        ]

    def prepare(self, source: ImageSource, view: View = PLAIN) -> PreparedImage:
        """A view of an image as it goes into the embedder: read, with the preset applied.

        Args:
            source: an image, or a tile: then the preset has gone over the whole image, once for all tiles that are
                asked for in a row.
            view: which view of it.

        Returns:
            Its pixels, and its size before the preset.
        """
        (prepared,) = self._reader.prepare(source, [view])
        return prepared

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of the canvas that tiles are cut of.

        Args:
            size: ``(H, W)`` of an image.

        Returns:
            ``(h, w)`` after the preset.
        """
        return self._reader.size_after(size)

    def read_ahead(self, first: ImageSource, views: int = 1) -> tuple[int, int]:
        """How images are best read ahead of the embedder.

        On a CPU the network keeps all cores busy itself: no more is read ahead than keeps the readers at work.

        Args:
            first: the first of them; the others are taken to be of its size.
            views: of each image.

        Returns:
            Threads that read, and how many images they may be ahead; ``(1, 0)``: one by one.
        """
        threads = self.reader_threads
        if threads == 1 or isinstance(first, TileSource):
            return 1, 0
        height, width = 1, 1  # in memory already
        if first.measure is not None:
            with suppress(ImageError):  # said when its turn to be read comes
                height, width = first.measure()
        fits = max(1, HELD_PIXELS // (height * width * views))
        ahead = threads if self.device == "cpu" else threads + self.images_at_once
        return min(threads, fits), min(ahead, fits)

    def cells(self, source: ImageSource) -> PatchCells:
        """Where the patches of an image or a tile lie on it.

        Args:
            source: it is embedded, unless the cache has it.

        Returns:
            The image's size, the region that the patch grid covers, and the grid's shape.
        """
        known = self._cached(source, PLAIN, _Asked((PLAIN,), "float16", "float16", False))
        if known is None:
            (known,) = self.stream([source], keep_exact=True)
        return PatchCells.of(known.embedding)

    @contextmanager
    def _sharing(
        self, sources: Iterable[ImageSource], views: Sequence[View]
    ) -> Iterator[Iterable[ImageSource]]:
        """The images; where the cache is shared, what others embedded is fetched ahead of them, and at the end of the
        block they have what was embedded in it."""
        cache = self.cache
        if not isinstance(cache, SharedEmbeddings):
            yield sources
            return

        def keys(source: ImageSource) -> list[EntryKey]:
            return [EntryKey(self.space, view.name, source.digest) for view in views]

        with cache.settled():
            yield sources if self.reader_threads == 1 else cache.ahead(sources, keys)

    def _waits(self, waiting: WaitingImages, views: int) -> bool:
        """Whether further images may still come into the batch; what the cache has waits for none."""
        batch = self.images_at_once if waiting.missing else 0
        room = min(batch - waiting.missing, (batch - len(waiting.images)) * views)
        return room >= views and waiting.pixels < HELD_PIXELS

    def _read(self, source: ImageSource, asked: _Asked) -> ReadImage:
        """What the cache has of an image's views, and the other views ready to be embedded; in a reader's thread."""
        started = time.perf_counter()
        try:
            cached = [self._cached(source, view, asked) for view in asked.views]
            missing = [view for view, found in zip(asked.views, cached, strict=True) if found is None]
            prepared = list(self._reader.prepare(source, missing)) if missing else []
        except Exception as error:  # it is raised when the image's turn comes, not when it was read
            return ReadImage(source, (), (), 0.0, error)
        seconds = (time.perf_counter() - started) / max(1, len(prepared))
        return ReadImage(source, tuple(cached), tuple(prepared), seconds)

    def _cached(self, source: ImageSource, view: View, asked: _Asked) -> EmbeddedImage | None:
        stored = self.cache.get(self.space, view.name, source.digest) if self.cache else None
        if stored is None or (asked.precision == "float32" and stored["patch_embeddings"].dtype == "float16"):
            return None
        return unpack(source, stored, asked.precision, widened=asked.widened)

    def _finished(self, images: list[ReadImage], asked: _Asked) -> Iterator[tuple[EmbeddedImage, ...]]:
        """The views of all images that were read, those that are missing embedded together."""
        fresh = self._embed(images, asked)
        for image in images:
            if image.error is not None:
                raise image.error
            found = []
            for view, known in zip(asked.views, image.cached, strict=True):
                embedded = known or next(fresh)
                if known is None:
                    self.embedded_views += 1
                    self.embedded_images += view == PLAIN
                    self.embedded_seconds += embedded.seconds
                else:
                    self.cached_views += 1
                    self.cached_seconds += embedded.seconds
                found.append(self._with_inspected(embedded, view))
            yield tuple(found)

    def _embed(self, images: list[ReadImage], asked: _Asked) -> Iterator[EmbeddedImage]:
        """Each prepared view embedded, in order; checked, rounded and cached behind the embedder, in threads."""
        missing = [
            _Missing(image.source, view, image.seconds, prepared)
            for image in images
            if image.error is None
            for view, prepared in zip(image.missing(asked.views), image.prepared, strict=True)
        ]
        threads = min(WRITERS, self.reader_threads)
        finish = partial(self._finish, asked=asked)
        return ordered_map(finish, self._embedded(missing, asked.kept), threads=threads, ahead=2 * threads)

    def _embedded(
        self, missing: list[_Missing], kept: Precision
    ) -> Iterator[tuple[_Missing, PatchEmbedding, float]]:
        """What the embedder gives for each, and its share of the seconds of its batch."""
        while missing:
            size = self.images_at_once
            batch, missing = missing[:size], missing[size:]
            started = time.perf_counter()
            embeddings = embed_batch(self.embedder, [view.prepared.pixels for view in batch], kept)
            seconds = (time.perf_counter() - started) / len(batch)
            for view, embedding in zip(batch, embeddings, strict=True):
                yield view, embedding, view.seconds + seconds

    def _finish(self, given: tuple[_Missing, PatchEmbedding, float], *, asked: _Asked) -> EmbeddedImage:
        """An embedding checked, rounded and cached."""
        missing, embedding, seconds = given
        entry = pack(complete(embedding, missing.source.name, missing.prepared), seconds, asked.kept)
        if self.cache is not None:
            self.cache.put(self.space, missing.view.name, missing.source.digest, entry)
        return unpack(missing.source, entry, asked.precision, widened=asked.widened)

    def _with_inspected(self, embedded: EmbeddedImage, view: View) -> EmbeddedImage:
        if self.roi is None:
            return embedded
        inspected = self.roi.inspected(embedded.source, PatchCells.of(embedded.embedding), view)
        return embedded._replace(embedding=embedded.embedding._replace(inspected=inspected))


class _Asked(NamedTuple):
    """What is asked of the images: their views, rounded to ``precision`` and cached as ``kept``, perhaps widened."""

    views: tuple[View, ...]
    precision: Precision
    kept: Precision
    widened: bool


class _Missing(NamedTuple):
    """A view of an image that has to be embedded: read in so many seconds, prepared."""

    source: ImageSource
    view: View
    seconds: float
    prepared: PreparedImage


def embed_batch(
    embedder: PatchEmbedder, images: list[RgbImage], precision: Precision = "float32"
) -> list[PatchEmbedding]:
    """The embeddings of ``images``; one by one where an injected embedder knows only ``embed``.

    Where the embedder can, it rounds them to ``precision`` itself, where they are.
    """
    if hasattr(embedder, "embed_rounded"):
        return list(embedder.embed_rounded(images, precision))
    if hasattr(embedder, "embed_batch"):
        return list(embedder.embed_batch(images))
    return [embedder.embed(image) for image in images]
