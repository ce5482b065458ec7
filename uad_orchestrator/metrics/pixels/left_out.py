"""The pixel metrics of a test set without each of its images in turn: what the spread over images is taken from.

Of each image an outline is kept: how many normal and defective pixels lie above a few of its own scores. Afterwards
all outlines are read at the same few scores, and as counts add up, those of all images but one are a difference. So
maps are read once, and what is kept of an image is no more than a few kilobytes; of many images it is less of each.

The figures are coarse, to some 1e-3: good for the spread over images, which is far larger, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from uad_orchestrator.metrics.pixels.counts import Overlap, overlap_name
from uad_orchestrator.metrics.pixels.regions import REGION_UNIT
from uad_orchestrator.metrics.pixels.weighed_pixels import WeighedPixels

POINTS, LEAST_POINTS, SHARED_POINTS = 128, 16, 1 << 17
"""Scores kept of an image, of many images at least, and of all images together as far as the least allows."""
LOOKED_AT = 1 << 15
"""Normal pixels of an image that are looked at: on a regular grid, as neighbours in a map are much alike."""
THRESHOLDS = 256
"""Scores at which all outlines are read."""
UNITS = 500
"""Images of a kind that are left out one by one; of more, several together."""
_LEAST_SHARE = 1e-5  # of an image's normal pixels: what its highest scores are kept for


class Outline(NamedTuple):
    """How many pixels of an image lie above its scores.

    Attributes:
        normals: how many normal pixels it has.
        normal_scores: (k,) float32, descending: what the shares of ``_shares(k)`` of them lie above.
        defect_scores: (d,) float32, descending, none for an image without defects.
        defects: (d,) float64, its defective pixels from there up.
        weights: (d,) float64, and what they add to the overlap, in regions.
    """

    normals: float
    normal_scores: np.ndarray
    defect_scores: np.ndarray
    defects: np.ndarray
    weights: np.ndarray


def points_of(images: int) -> int:
    """How many scores are kept of each of so many images.

    >>> points_of(100), points_of(1 << 12), points_of(1 << 20)
    (128, 32, 16)
    """
    return min(POINTS, max(LEAST_POINTS, SHARED_POINTS // max(1, images)))


def outline_of(pixels: WeighedPixels, points: int) -> Outline:
    """The outline of an image.

    Args:
        pixels: of the image, at least one of them.
        points: how many scores are kept of its normal pixels, and of its defective ones at most; at least 4.
    """
    step = -(-pixels.scores.size // LOOKED_AT) | 1  # odd: not one column of an image alone
    looked_at = pixels.scores[::step]
    if pixels.positive.size:
        normal = np.ones(looked_at.size, bool)
        places, rest = np.divmod(pixels.positive, step)
        normal[places[rest == 0]] = False
        looked_at = looked_at[normal]
    ordered = np.sort(looked_at)[::-1]
    places = np.round(_shares(points) * max(ordered.size - 1, 0)).astype(np.intp)
    order = np.argsort(pixels.scores[pixels.positive])[::-1]
    kept = np.unique(np.linspace(0, max(order.size - 1, 0), points).astype(np.intp))[: order.size]
    return Outline(
        float(pixels.scores.size - pixels.positive.size),
        ordered[places] if ordered.size else ordered,
        pixels.scores[pixels.positive][order][kept],
        np.asarray(kept, np.float64) + 1,
        np.cumsum(pixels.weights[order], dtype=np.float64)[kept] / REGION_UNIT,
    )


@cache
def _shares(points: int) -> np.ndarray:
    """Shares of an image's normal pixels: half of them close to 0, where precision is decided, half evenly."""
    high = np.geomspace(_LEAST_SHARE, 1, points - points // 2 + 1)[:-1]
    return np.sort(np.concatenate([high, np.linspace(0, 1, points // 2)]))


@dataclass(frozen=True)
class CountsPerImage:
    """Pixels above the same few scores, of each image, or of several together where there are very many of a kind.

    Attributes:
        kinds: (u,) what kind of image each is.
        normals: (u, t) float64, normal pixels above each score, from the highest score down; at last all of them.
        defects: (u, t) float64, defective ones.
        weights: (u, t) float64, what those add to the overlap, in regions.
    """

    kinds: np.ndarray
    normals: np.ndarray
    defects: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, outlines: Sequence[Outline], kinds: Sequence[str]) -> CountsPerImage:
        """The counts of some images by their outlines.

        Args:
            outlines: of each image.
            kinds: what it is: ``good``, or its defect type.
        """
        scores, units = _common_scores(outlines), _units(kinds)
        counts = np.zeros((3, len(set(units)), scores.size + 2))  # from 0 pixels to all of them
        numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
        for unit, outline in zip(units, outlines, strict=True):
            number = numbers[unit]
            if outline.normal_scores.size:
                shares = _above(scores, outline.normal_scores, _shares(len(outline.normal_scores)))
                counts[0, number, 1:-1] += outline.normals * shares
            counts[0, number, -1] += outline.normals
            if outline.defects.size:
                for row, above in zip(counts[1:, number], (outline.defects, outline.weights), strict=True):
                    row[1:-1] += _above(scores, outline.defect_scores, above)
                    row[-1] += above[-1]
        return cls(np.array([kind for kind, _ in numbers]), *counts)

    def chosen(self, kinds: Sequence[str]) -> CountsPerImage:
        """Those of the images of some kinds."""
        rows = np.flatnonzero(np.isin(self.kinds, list(kinds)))
        return CountsPerImage(self.kinds[rows], self.normals[rows], self.defects[rows], self.weights[rows])

    def without_each(self, overlap: Overlap, limits: Sequence[float]) -> dict[str, np.ndarray]:
        """The metrics of all images but one.

        Args:
            overlap: what the weights are of.
            limits: false-positive rates up to which it is integrated.

        Returns:
            (u,) of each metric, by its name; NaN where without an image no defective or no normal pixel is left.
        """
        normals, defects, weights = (
            counts.sum(axis=0) - counts for counts in (self.normals, self.defects, self.weights)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            rates, found, covered = (counts / counts[:, -1:] for counts in (normals, defects, weights))
            precision = _middles(defects) / (_middles(defects) + _middles(normals))
            return {
                "pixel_auroc": (np.diff(rates) * _middles(found)).sum(axis=1),
                "pixel_ap": np.where(np.diff(found) > 0, np.diff(found) * precision, 0).sum(axis=1)
                + 0 * found[:, -1],
                "pixel_f1_max": (2 * defects / (defects + normals + defects[:, -1:])).max(axis=1),
            } | {overlap_name(overlap, limit): _area(rates, covered, limit) for limit in limits}


def _common_scores(outlines: Sequence[Outline]) -> np.ndarray:
    """At most ``THRESHOLDS`` scores, descending: half of them those of normal pixels, half of defective ones."""
    chosen = []
    for scores in ([o.normal_scores for o in outlines], [o.defect_scores for o in outlines]):
        ordered = np.sort(np.concatenate(scores)) if scores else np.empty(0, np.float32)
        if ordered.size:
            chosen.append(ordered[np.linspace(0, ordered.size - 1, THRESHOLDS // 2).astype(np.intp)])
    return np.unique(np.concatenate(chosen))[::-1] if chosen else np.empty(0, np.float32)


def _units(kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Which images are left out together: their kind, and a number that comes again after ``UNITS`` of it."""
    seen: dict[str, int] = {}
    units = []
    for kind in kinds:
        seen[kind] = seen.get(kind, -1) + 1
        units.append((kind, seen[kind] % UNITS))
    return units


def _above(scores: np.ndarray, own: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What lies above ``scores``, where ``counts`` lie above an image's ``own`` scores, both descending."""
    return np.interp(scores[::-1], own[::-1], counts[::-1], left=counts[-1], right=0.0)[::-1]


def _middles(counts: np.ndarray) -> np.ndarray:
    """Between each two columns their mean."""
    return (counts[:, 1:] + counts[:, :-1]) / 2


def _area(rates: np.ndarray, covered: np.ndarray, limit: float) -> np.ndarray:
    """The area below the overlap up to a false-positive rate, divided by it; of each row."""
    start, end = rates[:, :-1], rates[:, 1:]
    cut = np.minimum(end, limit)
    width = np.maximum(cut - start, 0)
    rise = np.diff(covered)
    reached = np.where(end > start, rise * width / np.where(end > start, end - start, 1), 0)
    return (width * (covered[:, :-1] + reached / 2)).sum(axis=1) / limit
