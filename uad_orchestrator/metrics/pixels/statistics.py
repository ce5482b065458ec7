"""All that a protocol asks of the pixels of some images, counted in one pass over their maps; counts add up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol as Interface
from typing import Self

import numpy as np

from uad_orchestrator.metrics.image_metrics import ThresholdMetrics, image_metrics
from uad_orchestrator.metrics.pixels.counts import Overlap, PixelCounts
from uad_orchestrator.metrics.pixels.in_threads import count_in_threads
from uad_orchestrator.metrics.pixels.left_out import POINTS, Outline, outline_of
from uad_orchestrator.metrics.pixels.pimo import NormalPixels, SharedRates
from uad_orchestrator.metrics.pixels.spro import GroundTruth
from uad_orchestrator.metrics.pixels.weighed_pixels import weighed_by_channels, weighed_by_regions
from uad_orchestrator.metrics.thresholds import exceeds


class ScoredImage(Interface):
    """What a row of a score table has: ``detectors.protocol.scoring.ScoreRow``, or any object like it.

    Attributes:
        image: its name, unique in the category.
        label: 0 normal, 1 anomalous.
        defect_type: ``good`` for normals.
        score: the image score, finite; higher is more anomalous.
    """

    @property
    def image(self) -> str: ...
    @property
    def label(self) -> int: ...
    @property
    def defect_type(self) -> str: ...
    @property
    def score(self) -> float: ...


GOOD = "good"
"""The kind of normal images."""


@dataclass(frozen=True)
class ThresholdCounts:
    """Pixels right and wrong at a threshold; counts nothing where that is NaN."""

    threshold: float
    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0

    def of(self, scores: np.ndarray, truth: np.ndarray) -> ThresholdCounts:
        """The counts of one map ``(H, W)`` at the same threshold."""
        if math.isnan(self.threshold):
            return ThresholdCounts(self.threshold)
        called, defect = exceeds(scores, self.threshold), truth != 0
        n_called, n_defect = int(np.count_nonzero(called)), int(np.count_nonzero(defect))
        tp = int(np.count_nonzero(called & defect))
        fp, fn = n_called - tp, n_defect - tp
        return ThresholdCounts(self.threshold, tp, fp, truth.size - tp - fp - fn, fn)

    def __add__(self, other: ThresholdCounts) -> ThresholdCounts:
        """The counts of both, which are of one threshold."""
        return ThresholdCounts(
            self.threshold,
            self.tp + other.tp,
            self.fp + other.fp,
            self.tn + other.tn,
            self.fn + other.fn,
        )

    def metrics(self) -> ThresholdMetrics | None:
        """The figures; None without a threshold."""
        if math.isnan(self.threshold):
            return None
        return ThresholdMetrics(self.threshold, self.tp, self.fp, self.tn, self.fn)


@dataclass(frozen=True)
class ImageOutcome:
    """What is kept of each image by itself.

    Attributes:
        kind: ``good``, or its defect type.
        maximum: the largest value of its map.
        aupimo: of an anomalous image, where it is asked for.
        outline: of its pixels.
        at_pixel_threshold, at_segmentation_threshold: pixels right and wrong there.
    """

    kind: str
    label: int
    maximum: float
    aupimo: float | None
    outline: Outline
    at_pixel_threshold: ThresholdCounts
    at_segmentation_threshold: ThresholdCounts


@dataclass(frozen=True)
class PixelStatistics:
    """What is counted of some images.

    Attributes:
        counts: pixels per score.
        at_pixel_threshold, at_segmentation_threshold: pixels right and wrong there.
        images: what is kept of each.
        without_mask: the defective images that have no mask; nothing else is counted of them.
    """

    counts: PixelCounts
    at_pixel_threshold: ThresholdCounts
    at_segmentation_threshold: ThresholdCounts
    images: tuple[ImageOutcome, ...] = ()
    without_mask: tuple[str, ...] = ()

    @classmethod
    def empty(cls, overlap: Overlap) -> PixelStatistics:
        """The counts of no image."""
        none = ThresholdCounts(math.nan)
        return cls(PixelCounts(overlap), none, none)

    def __add__(self, other: PixelStatistics) -> PixelStatistics:
        """What is counted of both; neither changes."""
        return PixelStatistics(
            self.counts + other.counts,
            self.at_pixel_threshold + other.at_pixel_threshold,
            self.at_segmentation_threshold + other.at_segmentation_threshold,
            self.images + other.images,
            self.without_mask + other.without_mask,
        )

    @property
    def masked(self) -> int:
        """How many defective images are counted."""
        return sum(image.label for image in self.images)

    def mean_aupimo(self) -> float:
        """Mean over the anomalous images, in 0..1, the same for any order of images; NaN without any."""
        found = [image.aupimo for image in self.images if image.aupimo is not None]
        return math.fsum(found) / len(found) if found else math.nan

    def map_max_auroc(self) -> float:
        """AUROC of the images by the largest values of their maps, in 0..1; NaN with one class only."""
        scores, labels = [image.maximum for image in self.images], [image.label for image in self.images]
        return image_metrics(scores, labels).auroc


def whole_image(row: ScoredImage) -> None:
    """All pixels of an image count."""


@dataclass(frozen=True)
class Images:
    """What is known of the pixels of each image; all are called in several threads at once.

    Attributes:
        anomaly_map: gives an image's raw map ``(H, W)``.
        truth: gives its ground truth; None for a defective image without a mask.
        inspected: gives the pixels that count, ``(H, W)`` bool; None: all.
    """

    anomaly_map: Callable[[ScoredImage], np.ndarray]
    truth: Callable[[ScoredImage], GroundTruth | None]
    inspected: Callable[[ScoredImage], np.ndarray | None] = whole_image


@dataclass
class PixelPass:
    """Reads and counts maps and ground truth in several threads; few images are held at a time.

    Args:
        images: gives them, in any thread.
        overlap: what the counts are of.
        pixel_threshold, segmentation_threshold: NaN where there is none.
        normal_pixels: counts the maps of normal images for AUPIMO; None where it is not asked for.
        threads: how many; None: ``available_threads()``. The numbers are the same with any.
        points: scores kept of each image's outline, see ``left_out.points_of``.
    """

    images: Images
    overlap: Overlap
    pixel_threshold: float
    segmentation_threshold: float
    normal_pixels: NormalPixels | None = None
    threads: int | None = None
    points: int = POINTS
    _rates: SharedRates | None = field(default=None, init=False)

    def count_normals(self, rows: Iterable[ScoredImage]) -> PixelStatistics:
        """The normal images, which come first: AUPIMO's rates are theirs.

        Raises:
            ValueError: a map that is not finite, a mask that shows defects; names the image.
        """
        statistics = self._count(rows)
        if self.normal_pixels is not None and not self.normal_pixels.undefined_reason:
            self._rates = self.normal_pixels.rates()
        return statistics

    def count_defects(self, rows: Iterable[ScoredImage]) -> PixelStatistics:
        """Defective images.

        Raises:
            ValueError: a map that is not finite, a mask of another size; names the image.
        """
        return self._count(rows)

    def _count(self, rows: Iterable[ScoredImage]) -> PixelStatistics:
        total, found = count_in_threads(self._nothing, self._count_image, rows, threads=self.threads)
        if self.normal_pixels is not None:
            self.normal_pixels += total.normal_pixels
        return PixelStatistics(
            total.counts,
            total.at_pixel_threshold,
            total.at_segmentation_threshold,
            tuple(image for image in found if isinstance(image, ImageOutcome)),
            tuple(image for image in found if isinstance(image, str)),
        )

    def _nothing(self) -> _Sums:
        return _Sums(
            PixelCounts(self.overlap),
            ThresholdCounts(self.pixel_threshold),
            ThresholdCounts(self.segmentation_threshold),
            NormalPixels(),
        )

    def _count_image(self, sums: _Sums, row: ScoredImage) -> ImageOutcome | str:
        """Count an image into the sums; returns what is not summed, of one without a mask its name."""
        truth = self.images.truth(row)
        if truth is None:
            return row.image
        if row.label == 0 and truth.mask.any():
            shown = np.count_nonzero(truth.mask)
            raise ValueError(f"{row.image}: labelled normal, but its mask shows {shown} pixels")
        scores, inspected = self.images.anomaly_map(row), self.images.inspected(row)
        try:
            if self.overlap == "pro":
                pixels = weighed_by_regions(scores, truth.mask, inspected)
            if inspected is not None:
                scores, truth = scores[inspected][None], truth.within(inspected)
            if self.overlap == "spro":
                pixels = weighed_by_channels(scores, truth.channels)
            sums.counts.add(pixels)
            if self.normal_pixels is not None and row.label == 0:
                sums.normal_pixels.update(scores)
            aupimo = self._rates.aupimo(scores, truth.mask) if self._rates and row.label else None
        except ValueError as error:
            raise ValueError(f"{row.image}: {error}") from error
        at_pixel = sums.at_pixel_threshold.of(scores, truth.mask)
        at_segmentation = sums.at_segmentation_threshold.of(scores, truth.mask)
        sums.at_pixel_threshold += at_pixel
        sums.at_segmentation_threshold += at_segmentation
        outline, kind = outline_of(pixels, self.points), row.defect_type if row.label else GOOD
        maximum = float(scores.max())
        return ImageOutcome(kind, row.label, maximum, aupimo, outline, at_pixel, at_segmentation)


@dataclass
class _Sums:
    """What one thread adds up of the images it counts."""

    counts: PixelCounts
    at_pixel_threshold: ThresholdCounts
    at_segmentation_threshold: ThresholdCounts
    normal_pixels: NormalPixels

    def __iadd__(self, other: _Sums) -> Self:
        self.counts += other.counts
        self.at_pixel_threshold += other.at_pixel_threshold
        self.at_segmentation_threshold += other.at_segmentation_threshold
        self.normal_pixels += other.normal_pixels
        return self
