"""How far a figure of a small test set can be trusted: intervals that hold for few images, too.

All of them are about other test images of the same kind, from the same camera: not about training images or seeds.

- An image AUROC: Newcombe's method 5 ("Confidence intervals for an effect size measure based on the Mann-Whitney
  statistic. Part 2", Statistics in Medicine 25, 2006). Where a bootstrap has too few different images to draw from, or
  finds a perfect separation in every draw, it still covers, and is never of width 0.
- A mean of AUROCs: the same equation with the variance of their mean.
- A recall or a false-positive rate at a threshold: Clopper and Pearson (Biometrika 26, 1934). It covers at least as
  often as it says; Wilson's, narrower by a tenth, falls to .83 at the rates close to 0 and 1 that thresholds are for.
- What is pooled over pixels: the jackknife over images. Pixels of an image are alike, so the image is what is left out.

``python -m benchmarks intervals`` simulates how often each covers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from uad_orchestrator.metrics.bootstrap import LEVEL, Interval, interval

BOOTSTRAP_FROM = 10
"""Categories from which on the bootstrap of their mean covers."""


def auroc_interval(
    normal_scores: Sequence[float] | np.ndarray,
    anomalous_scores: Sequence[float] | np.ndarray,
    confidence: float = LEVEL,
) -> Interval:
    """The interval of an image AUROC, from the scores of its test images.

    Args:
        normal_scores: ``(m,)`` finite; higher is more anomalous.
        anomalous_scores: ``(n,)`` finite.
        confidence: in (0, 1).

    Returns:
        Its ends in 0..1; never of width 0.

    Raises:
        ValueError: a class is missing, a score is not finite, or the confidence is outside (0, 1).

    >>> low, high = auroc_interval([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7])
    >>> f"{low:.3f} to {high:.3f}"
    '0.540 to 1.000'
    """
    normal, anomalous = (
        np.asarray(scores, np.float64).ravel() for scores in (normal_scores, anomalous_scores)
    )
    if not (np.isfinite(normal).all() and np.isfinite(anomalous).all()):
        raise ValueError("an interval of the AUROC needs finite scores; some are NaN or infinite")
    if not (normal.size and anomalous.size):
        raise ValueError(
            f"{normal.size} normal and {anomalous.size} anomalous scores: an AUROC needs at least one of each"
        )
    ordered = np.sort(normal)
    below, up_to = (np.searchsorted(ordered, anomalous, side) for side in ("left", "right"))
    auroc = float((below + up_to).sum()) / (2 * normal.size * anomalous.size)
    return interval_of_auroc(auroc, normal.size, anomalous.size, confidence)


def interval_of_auroc(auroc: float, normals: float, anomalies: float, confidence: float = LEVEL) -> Interval:
    """The interval of an image AUROC that is known, as ``auroc_interval``.

    The ends are the values t from which the AUROC A lies as far as chance takes it:
    ``(A - t)^2 = z^2 t (1 - t) / (m n) (1 + N ((1 - t) / (2 - t) + t / (1 + t)))`` with ``N = (m + n) / 2 - 1``. The
    variance is that of Hanley and McNeil for scores of exponential shape, with both classes as large as their mean.

    Args:
        auroc: in 0..1; a mean over defect types, too, each against the same normals.
        normals: how many normal images.
        anomalies: how many anomalous ones; for a mean over defect types see ``evenly_weighted``.
        confidence: in (0, 1).

    Returns:
        Its ends.

    Raises:
        ValueError: an AUROC outside 0..1, a class without images, or a confidence outside (0, 1).
    """
    return interval_of_mean_auroc(auroc, [(normals, anomalies)], confidence)


def interval_of_mean_auroc(
    auroc: float, images: Sequence[tuple[float, float]], confidence: float = LEVEL
) -> Interval:
    """The interval of the mean of several image AUROCs, each of other images: those of a dataset's categories.

    It is about the same categories with other test images. The variance is that of a mean of AUROCs that are all
    alike. Where they are not, theirs is smaller, as the variance bends downwards: the interval is then too wide, in
    simulations by up to a tenth.

    Args:
        auroc: the mean, in 0..1.
        images: of each AUROC, how many normal and how many anomalous images it is of.
        confidence: in (0, 1).

    Returns:
        Its ends; never of width 0.

    Raises:
        ValueError: as ``interval_of_auroc``, or no AUROC at all.

    >>> low, high = interval_of_mean_auroc(0.98, [(20, 60), (40, 100), (12, 40)])
    >>> f"{low:.3f} to {high:.3f}"
    '0.944 to 0.993'
    """
    if not 0 <= auroc <= 1:
        raise ValueError(f"an AUROC of {auroc}: it lies between 0 and 1")
    for normals, anomalies in images or [(0, 0)]:
        if min(normals, anomalies) < 1:
            raise ValueError(
                f"{normals:g} normal and {anomalies:g} anomalous images: there is at least one of each"
            )
    _check_confidence(confidence)
    # the variance is the same where both classes, and t and 1 - t, change places
    ends = [_lower_end(a, images, confidence) for a in (auroc, 1 - auroc)]
    return Interval(ends[0], 1 - ends[1])


def mean_auroc_interval(
    auroc: float, images: Sequence[tuple[float, float]], replicates: np.ndarray | None = None
) -> Interval:
    """The interval of the mean image AUROC over categories: the same categories with other test images.

    From ten categories on the percentile bootstrap covers, .91 to .97 in simulations, and is the narrower one; over
    three it falls to .62 where the separation is nearly perfect, and ``interval_of_mean_auroc`` covers .94 to .99.

    Args:
        auroc: the mean, in 0..1.
        images: as for ``interval_of_mean_auroc``.
        replicates: (n,) of the mean, from ``bootstrap.auroc_replicates`` of each category; None: not known.

    Returns:
        Its ends; never of width 0.
    """
    if replicates is not None and len(images) >= BOOTSTRAP_FROM:
        drawn = interval(replicates)
        if drawn.low < drawn.high:
            return drawn
    return interval_of_mean_auroc(auroc, images)


def evenly_weighted(counts: Sequence[int]) -> float:
    """How many anomalous images tell as much as several kinds of them, whose mean counts each kind the same.

    A mean over kinds has the variance of its rarest ones: 3 + 60 images tell no more than 11 of one kind.

    Args:
        counts: how many images of each kind, at least one.

    Returns:
        ``k^2 / sum(1 / n)``: the sum of the counts where all are alike, else less.

    >>> evenly_weighted([20, 20]), round(evenly_weighted([3, 60]), 1)
    (40.0, 11.4)
    """
    return len(counts) ** 2 / sum(1 / count for count in counts)


def rate_interval(above: int, images: int, confidence: float = LEVEL) -> Interval:
    """The interval of a recall or a false-positive rate, by Clopper and Pearson.

    It is about a threshold that was set without these images.

    Args:
        above: how many images lie above the threshold.
        images: how many there are, at least one.
        confidence: in (0, 1).

    Returns:
        Its ends in 0..1: the rates at which so many or more, so many or fewer, have half of what is left.

    Raises:
        ValueError: no image, or more above the threshold than there are.

    >>> low, high = rate_interval(19, 20)
    >>> f"{low:.3f} to {high:.3f}"
    '0.751 to 0.999'
    """
    from scipy.special import betaincinv

    if not 0 <= above <= images or not images:
        raise ValueError(f"{above} of {images} images above a threshold: a rate needs at least one image")
    _check_confidence(confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if above == 0 else betaincinv(above, images - above + 1, tail)
    high = 1.0 if above == images else betaincinv(above + 1, images - above, 1 - tail)
    return Interval(float(low), float(high))


def left_out_interval(
    figure: float, left_out: Sequence[np.ndarray], confidence: float = LEVEL
) -> Interval | None:
    """The interval of a figure that is taken of all images together, by the jackknife over images.

    The kinds of images are drawn independently, so their variances add up (Efron and Tibshirani, "An Introduction
    to the Bootstrap", chapter 11). It is symmetric in the figure's logit, which keeps it in 0..1, and as wide as
    Student's t says with the degrees of freedom of Welch and Satterthwaite.

    Args:
        figure: in 0..1.
        left_out: per kind of image, ``(n,)``: the figure without each of its images in turn.
        confidence: in (0, 1).

    Returns:
        Its ends. None where they cannot be known: a kind has one image only, the figure is 0 or 1 with all images
        or without one of them, or all images change it alike.

    >>> low, high = left_out_interval(0.9, [np.array([0.89, 0.9, 0.91]), np.array([0.88, 0.9, 0.9, 0.91])])
    >>> f"{low:.3f} to {high:.3f}"
    '0.829 to 0.944'
    """
    from scipy.special import expit, logit, stdtrit

    _check_confidence(confidence)
    figures = np.concatenate([[figure], *left_out])
    if (
        min(map(len, left_out), default=0) < 2
        or not (np.isfinite(figures) & (figures > 0) & (figures < 1)).all()
    ):
        return None
    variances = [(len(one) - 1) * float(np.var(logit(one))) for one in left_out]
    if not (total := sum(variances)) > 0:
        return None
    freedom = total**2 / sum(part**2 / (len(one) - 1) for part, one in zip(variances, left_out, strict=True))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * total**0.5
    low, high = expit(logit(figure) + half * np.array([-1.0, 1.0]))
    return Interval(float(low), float(high))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence}: it lies between 0 and 1, e.g. {LEVEL}")


def _lower_end(auroc: float, images: Sequence[tuple[float, float]], confidence: float) -> float:
    if auroc == 0:
        return 0.0
    chance = NormalDist().inv_cdf((1 + confidence) / 2) ** 2 / len(images) ** 2
    alone = chance * sum(1 / (m * n) for m, n in images)
    beside = chance * sum(((m + n) / 2 - 1) / (m * n) for m, n in images)

    def beyond(t: float) -> float:
        """Above 0 where the AUROC lies farther above t than chance takes it."""
        spread = t * (alone + beside * ((1 - t) / (2 - t) + t / (1 + t)))
        if auroc == 1:  # both sides divided by 1 - t, which is the other root
            return 1 - t - spread
        return (auroc - t) ** 2 - (1 - t) * spread

    # halving of the standard library: SciPy's root finders take longer to import than the board to print
    steps = 1 << 42
    return auroc * bisect_left(range(steps), True, key=lambda i: beyond(auroc * i / steps) <= 0) / steps
