"""Test sets drawn from known populations: what intervals are held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from uad_orchestrator.metrics.bootstrap import auroc_replicates
from uad_orchestrator.metrics.pixels.left_out import CountsPerImage, Outline, outline_of
from uad_orchestrator.metrics.pixels.weighed_pixels import weighed_by_regions

Scores = tuple[np.ndarray, np.ndarray]
"""Of the normal images, and of the anomalous ones."""


@dataclass(frozen=True)
class Population:
    """Image scores of normal distributions.

    Attributes:
        normals, defects: images of a test set.
        auroc: the true one.
        spread: how many times as wide defects spread as normals.
    """

    normals: int
    defects: int
    auroc: float
    spread: float = 1.0

    @property
    def name(self) -> str:
        """As tables have it."""
        wide = "" if self.spread == 1 else f", defects {self.spread:g} x as wide"
        return f"{self.normals} + {self.defects}, AUROC {self.auroc:g}{wide}"

    def drawn(self, rng: np.random.Generator) -> Scores:
        """The scores of a test set."""
        from scipy.stats import norm

        apart = norm.ppf(self.auroc) * np.hypot(1, self.spread)
        return rng.standard_normal(self.normals), apart + self.spread * rng.standard_normal(self.defects)


def auroc(scores: Scores) -> float:
    """The AUROC of scores without ties."""
    normals, defects = scores
    return float(np.searchsorted(np.sort(normals), defects).mean()) / normals.size


def replicates(scores: Scores, n: int) -> np.ndarray:
    """The bootstrap replicates of its AUROC, seeded by the scores themselves."""
    normals, defects = scores
    names = [str(score) for score in (*normals, *defects)]
    kinds = [None] * normals.size + ["defect"] * defects.size
    found = auroc_replicates(names, np.concatenate(scores), kinds, n=n)
    assert found is not None
    return found


@dataclass(frozen=True)
class PixelPopulation:
    """Anomaly maps of images that differ: smooth noise, its gain, how many defects, how large and how strong.

    Attributes:
        strength: how far defects are raised, on average.
        gain: standard deviation of the logarithm of an image's gain.
        images: how many of each class stand for the whole population.
    """

    strength: float
    gain: float
    images: int = 1500

    def counts(self, points: int = 64, seed: int = 0) -> CountsPerImage:
        """The counts of each image, the normal ones first."""
        rng = np.random.default_rng(seed)
        outlines = [
            outline for defective in (False, True) for outline in self._outlines(rng, defective, points)
        ]
        kinds = [
            f"{kind}{i}" for kind in ("good", "defect") for i in range(self.images)
        ]  # a kind each: none together
        return CountsPerImage.of(outlines, kinds)

    def _outlines(self, rng: np.random.Generator, defective: bool, points: int) -> Iterator[Outline]:
        import cv2

        size = 64
        for _ in range(self.images):
            noise = cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), 3) / 0.09
            mask, raised = np.zeros((size, size), bool), np.zeros((size, size), np.float32)
            for _ in range(int(rng.integers(1, 4)) if defective else 0):
                height, width = rng.integers(3, 14, 2)
                top, left = rng.integers(0, size - 14, 2)
                mask[top : top + height, left : left + width] = True
                strength = max(0.0, rng.normal(self.strength, self.strength / 2))
                raised[top : top + height, left : left + width] = strength
            found = np.exp(rng.normal(0, self.gain)) * (noise + cv2.GaussianBlur(raised, (0, 0), 1.5))
            yield outline_of(weighed_by_regions(found, mask), points)


def rows_of(counts: CountsPerImage, rows: np.ndarray) -> CountsPerImage:
    """Those of some images."""
    return CountsPerImage(
        counts.kinds[rows], counts.normals[rows], counts.defects[rows], counts.weights[rows]
    )


def weighted(counts: CountsPerImage, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The pixel metrics where image u counts ``weights[r, u]`` times; ``(r,)`` of each."""
    drawn = [weights @ part for part in (counts.normals, counts.defects, counts.weights)]
    # left out are all the others: what is left of the sum of all rows is the row itself
    parts = [np.vstack([-part, part.sum(axis=0)]) for part in drawn]
    found = CountsPerImage(np.arange(len(weights) + 1), *parts).without_each("pro", (0.3, 0.05))
    return {name: values[:-1] for name, values in found.items()}
