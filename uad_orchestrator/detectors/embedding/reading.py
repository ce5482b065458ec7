"""From an image to what goes into the embedder: read once, with the preset, as every view that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from uad_orchestrator.detectors.embedding.embedded_image import EmbeddedImage
from uad_orchestrator.detectors.embedding.placement import ImagePreset, PreparedImage
from uad_orchestrator.detectors.embedding.views import View
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiff_bands import TiffBands
from uad_orchestrator.images.tiles import Box, TileSource, cut_tile
from uad_orchestrator.preprocessing.augmentation import Augmentation


class ImageReader:
    """Reads images for an embedder.

    Images may be read by several threads at a time, the tiles of images by one: the whole image of the latest tile is
    kept, and tiles are asked for in a row.

    Args:
        preset: applied to every image; None: images stay as they are.
    """

    def __init__(self, preset: ImagePreset | None) -> None:
        self.preset = preset
        self._latest_whole: tuple[ImageSource, Augmentation | None, RgbImage] | None = None
        self._latest_band: tuple[ImageSource, TiffBands | None, tuple[int, int], RgbImage] | None = None

    def prepare(self, source: ImageSource, views: Sequence[View]) -> Iterator[PreparedImage]:
        """An image as it goes into the embedder, a view after the other; it is decoded once.

        Args:
            source: an image, or a tile: then the preset has gone over the whole image.
            views: which views of it.

        Returns:
            The pixels of each view, and the image's size before the preset.
        """
        if isinstance(source, TileSource):
            for view in views:
                tile = self._tile(source, view)
                yield PreparedImage(view.after_preset(tile), (tile.shape[0], tile.shape[1]))
            return
        image = source.read()
        on_canvas: dict[Augmentation | None, RgbImage] = {}
        for view in views:
            if view.augmentation not in on_canvas:
                on_canvas[view.augmentation] = self._after_preset(image, view, source.digest)
            pixels = view.after_preset(on_canvas[view.augmentation])
            yield PreparedImage(pixels, (image.shape[0], image.shape[1]))

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """``(h, w)`` after the preset, of an image of ``(H, W)``: the canvas that tiles are cut of."""
        return size if self.preset is None else self.preset.size_after(size)

    def _tile(self, tile: TileSource, view: View) -> RgbImage:
        """A tile; of a large TIFF file that stays as it is, from the rows it lies in alone."""
        if self._changes_nothing and view.augmentation is None and tile.whole.bands is not None:
            band = self._band(tile.whole, tile.box)
            if band is not None:
                return cut_tile(
                    band, tile.box._replace(top=0, bottom=tile.box.bottom - tile.box.top), tile.padding
                )
        return cut_tile(self._whole(tile.whole, view), tile.box, tile.padding)

    @property
    def _changes_nothing(self) -> bool:
        return self.preset is None or not any(self.preset.pixel_recipe().values())

    def _band(self, image: ImageSource, box: Box) -> RgbImage | None:
        """The rows of a row of tiles; those read last are kept. None where the file has to be decoded at once."""
        latest = self._latest_band
        if latest is None or latest[0] is not image:
            self._close_band()
            assert image.bands is not None
            latest = self._latest_band = image, image.bands(), (-1, -1), np.empty(0)
        _, bands, rows, pixels = latest
        if bands is None:
            return None
        if rows != (box.top, box.bottom):
            pixels = bands.read(box.top, box.bottom)
            self._latest_band = image, bands, (box.top, box.bottom), pixels
        return pixels

    def _close_band(self) -> None:
        if self._latest_band is not None and self._latest_band[1] is not None:
            self._latest_band[1].close()
        self._latest_band = None

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


class ReadImage(NamedTuple):
    """An image as its reader leaves it.

    Attributes:
        source: the image.
        cached: each view from the cache; None where it has to be embedded.
        prepared: those views, ready to be embedded.
        seconds: reading and preset, for each of them.
        error: what went wrong instead.
    """

    source: ImageSource
    cached: tuple[EmbeddedImage | None, ...]
    prepared: tuple[PreparedImage, ...]
    seconds: float
    error: Exception | None = None

    def missing(self, views: Sequence[View]) -> list[View]:
        """Which of the views have to be embedded: those that are prepared."""
        return [view for view, found in zip(views, self.cached, strict=True) if found is None]


class WaitingImages:
    """Images in order, of which some wait for a forward pass: ``missing`` views, of so many ``pixels``."""

    def __init__(self) -> None:
        self.images: list[ReadImage] = []
        self.missing = 0
        self.pixels = 0

    def add(self, image: ReadImage) -> None:
        """One more, behind the others."""
        self.images.append(image)
        self.missing += len(image.prepared)
        self.pixels += sum(view.pixels.shape[0] * view.pixels.shape[1] for view in image.prepared)

    def take(self) -> list[ReadImage]:
        """All of them; none is left."""
        images = self.images
        self.images, self.missing, self.pixels = [], 0, 0
        return images
