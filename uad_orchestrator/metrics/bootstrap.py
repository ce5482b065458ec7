"""How far an image AUROC on a small test set can be trusted: a bootstrap over its images.

Stratified percentile bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap", chapters 13 and 16): the
normal images and each kind of defect are drawn anew with replacement, as many as there are, and the AUROC is taken
of every draw. The draws depend on the test images' names alone, so two detectors on the same images are measured
on the same draws: the difference of their replicates is the paired bootstrap of the difference, and the mean of
replicates over categories is the bootstrap of the mean.

It measures the spread of the test images alone, not that of training images or seeds. Where all defects outscore
all normals every draw gives 1, and the interval has no width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

REPLICATES = 2000
LEVEL = 0.95
"""Confidence of intervals, and of the interval of a difference by which two detectors are told apart."""

_BLOCK = 1 << 21
"""Draws counted at once: what bounds the memory."""


class Interval(NamedTuple):
    """Between which values a figure lies, at a confidence.

    Attributes:
        low: the lower end, in the figure's unit.
        high: the upper end.
    """

    low: float
    high: float


def auroc_replicates(
    images: Sequence[str],
    scores: Sequence[float] | np.ndarray,
    kinds: Sequence[str | None],
    *,
    averaged: bool = False,
    n: int = REPLICATES,
) -> np.ndarray | None:
    """The image AUROC of ``n`` draws of the test images.

    Args:
        images: (m,) the images' names, all different.
        scores: (m,) finite; higher is more anomalous.
        kinds: (m,) the defect type of each; None for a normal image. Each type keeps its number of images.
        averaged: the AUROC is the mean over the types, each against all normals (MVTec LOCO), instead of that
            of all images together.
        n: draws.

    Returns:
        (n,) float64 in 0..1; None where one class is missing.

    >>> auroc_replicates(["a", "b", "c"], [0.1, 0.5, 0.9], [None, None, "hole"], n=3)
    array([1., 1., 1.])
    """
    order = sorted(range(len(images)), key=lambda i: images[i])
    values = np.asarray(scores, dtype=np.float64)[order]
    sorted_kinds = [kinds[i] for i in order]
    normals = values[[kind is None for kind in sorted_kinds]]
    names = sorted({kind for kind in sorted_kinds if kind is not None})
    defects = [values[[kind == name for kind in sorted_kinds]] for name in names]
    if not normals.size or not defects:
        return None
    draws = np.random.default_rng(_seed([(images[i], kinds[i]) for i in order]))
    block = max(1, _BLOCK // max(normals.size, values.size - normals.size))
    starts = [*range(0, n, block), n]
    sizes = [stop - start for start, stop in pairwise(starts)]
    return np.concatenate([_aurocs(draws, normals, defects, averaged, size) for size in sizes])


def interval(replicates: np.ndarray) -> Interval:
    """The percentile interval of replicates.

    Args:
        replicates: (n,), from ``auroc_replicates``, or their mean or difference over several of them.

    Returns:
        its ends, at the confidence ``LEVEL``.

    >>> low, high = interval(np.linspace(0, 1, 1001))
    >>> f"{low:.3f} to {high:.3f}"
    '0.025 to 0.975'
    """
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Interval(float(low), float(high))


def within_noise(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two detectors cannot be told apart: the interval of their paired difference holds 0.

    Args:
        first: (n,) replicates, from ``auroc_replicates``.
        second: (n,) those of the other detector over the same images.

    Returns:
        True where neither is better at the confidence ``LEVEL``.

    >>> images, kinds = [f"{i}.png" for i in range(8)], [None] * 4 + ["hole"] * 4
    >>> good = auroc_replicates(images, [1, 2, 3, 4, 5, 6, 7, 8], kinds)
    >>> bad = auroc_replicates(images, [8, 7, 6, 5, 4, 3, 2, 1], kinds)
    >>> within_noise(good, good), within_noise(good, bad)
    (True, False)
    """
    difference = first - second
    rank = (
        (difference.size - 1) * (1 - LEVEL) / 2
    )  # of the lower end, and as far from the other end of the upper one
    fewer = min(np.count_nonzero(difference <= 0), np.count_nonzero(difference >= 0))
    if (
        abs(fewer - rank) > 3
    ):  # on which side of 0 the ends are is clear without sorting, which takes ten times as long
        return bool(fewer > rank)
    low, high = interval(difference)
    return low <= 0 <= high


def _aurocs(
    draws: np.random.Generator, normals: np.ndarray, defects: Sequence[np.ndarray], averaged: bool, size: int
) -> np.ndarray:
    """(size,) AUROCs: of each drawn defect the share of drawn normals below it, ties half, averaged."""
    order = np.argsort(normals)
    counts = _counts(draws, normals.size, size)[:, order]
    below = np.concatenate([np.zeros((size, 1), counts.dtype), np.cumsum(counts, axis=1)], axis=1)
    beaten = []
    for scores in defects:
        lowest, highest = (np.searchsorted(normals[order], scores, side) for side in ("left", "right"))
        twice = below[:, lowest] + below[:, highest]
        drawn = _counts(draws, scores.size, size)
        beaten.append(
            np.einsum("rd,rd->r", drawn, twice, dtype=np.float64) / (2 * normals.size * scores.size)
        )
    weights = [1 if averaged else scores.size for scores in defects]
    return np.average(beaten, axis=0, weights=weights)


def _counts(draws: np.random.Generator, n: int, size: int) -> np.ndarray:
    """(size, n) int64: how often each of ``n`` images is among ``n`` drawn with replacement."""
    drawn = draws.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)


def _seed(images: Sequence[tuple[str, str | None]]) -> int:
    """The same for the same test images, another for others."""
    return int.from_bytes(hashlib.sha256(repr(images).encode()).digest()[:8], "big")
