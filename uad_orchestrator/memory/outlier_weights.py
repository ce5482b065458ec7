"""How much each patch of the normals looks like contamination: the discriminators of SoftPatch.

Jiang et al., "SoftPatch: Unsupervised Anomaly Detection with Noisy Data", NeurIPS 2022; as in
TencentYoutuResearch/AnomalyDetection-SoftPatch. A patch is compared with those at its own place in the other
images, never with the mean of all: a rare but legitimate kind of normal part has neighbours of its own kind.
A weight is about 1 (``lof``) or at least 1 (``nearest``, ``gaussian``); larger means lonelier.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from uad_orchestrator.memory.coreset import random_rows

Discriminator = Literal["lof", "nearest", "gaussian"]

BLOCK_VALUES = 2_000_000
"""Distances held at once: 16 MB, however many images or references there are."""

COVARIANCE_RIDGE = 0.01
"""Added to the diagonal of each location's covariance, as the official code does."""

NO_DIVISION_BY_ZERO = 1e-10
"""Added to a mean reachability distance, as scikit-learn does."""

REFERENCES = 10_000
"""Patches that ``feature_space_lof`` compares with; all of them would cost their number squared."""


def outlier_weights(
    points: np.ndarray, discriminator: Discriminator, k: int = 6, views: int = 1
) -> np.ndarray:
    """The weight of each patch among those at its own location in all images.

    ``lof`` is the local outlier factor (Breunig et al., SIGMOD 2000) over ``k`` neighbours; ``nearest`` the
    distance to the nearest other image, plus 1; ``gaussian`` the Mahalanobis distance, plus 1.

    Of several views each is weighed like an image of its own. An image's neighbours are other images, each by its
    nearest view: the views of a defect would vouch for each other.

    Args:
        points: ``(images * views, locations, p)`` float32 patch embeddings, usually projected; image by image.
        discriminator: which of the three.
        k: neighbours of ``lof``.
        views: of every image.

    Returns:
        ``(images * views, locations)`` float32.

    Raises:
        ValueError: no more images than neighbours.
    """
    rows, images = len(points), len(points) // views
    needed = k if discriminator == "lof" else 1
    if images <= needed:
        raise ValueError(
            f"discriminator {discriminator} compares each patch with {needed} other images at its own place, "
            f"but there are {images} images: more than {needed} are needed"
        )
    weigh = {
        "lof": lambda at: _local_outlier_factor(at, k, views),
        "nearest": lambda at: _nearest(at, views),
        "gaussian": _gaussian,
    }
    weights = np.empty(points.shape[:2], np.float32)
    for block in _blocks(points.shape[1], rows * max(rows, points.shape[2])):
        at = points[:, block].transpose(1, 0, 2).astype(np.float64)
        weights[:, block] = weigh[discriminator](at - at.mean(axis=1, keepdims=True)).T
    return weights


def feature_space_lof(points: np.ndarray, starts: np.ndarray, k: int = 6, seed: int = 0) -> np.ndarray:
    """The local outlier factor of each patch among patches that look like it, wherever they lie.

    Our own variant, for parts that are not aligned. A patch's neighbours are its nearest patches in the ``k``
    other images that come closest to it: at most one of each image, since a defect covers several patches
    that would vouch for each other.

    Args:
        points: ``(n, p)`` float32, image by image.
        starts: ``(images + 1,)`` where each image's patches begin, and the end.
        k: neighbours.
        seed: of the sample of at most ``REFERENCES`` patches that serve as neighbours.

    Returns:
        ``(n,)`` float32.

    Raises:
        ValueError: no more images than neighbours.
    """
    images = len(starts) - 1
    if images <= k:
        raise ValueError(
            f"discriminator unaligned_lof compares each patch with {k} other images, but there are {images} "
            f"images: more than {k} are needed"
        )
    chosen = random_rows(len(points), min(REFERENCES, len(points)), seed)
    centred = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)
    references, spans = centred[chosen], np.searchsorted(chosen, starts)
    own = np.repeat(np.arange(images), np.diff(starts))
    distances, neighbours = _nearest_of_images(references, own[chosen], references, spans, k)
    reach = distances[:, -1]
    density = _density(distances, reach[neighbours])
    weights = np.empty(len(points), np.float32)
    for block in _blocks(len(points), len(references)):
        distances, neighbours = _nearest_of_images(centred[block], own[block], references, spans, k)
        weights[block] = density[neighbours].mean(axis=1) / _density(distances, reach[neighbours])
    return weights


def _blocks(n: int, values_each: int) -> Iterator[slice]:
    size = max(1, BLOCK_VALUES // values_each)
    return (slice(start, start + size) for start in range(0, n, size))


def _local_outlier_factor(at: np.ndarray, k: int, views: int) -> np.ndarray:
    """``(locations, rows)`` of ``(locations, rows, p)``."""
    distances, neighbours = _neighbours(at, k, views)
    location = np.arange(len(at))[:, None, None]
    reach = distances.max(axis=2)
    density = _density(distances, reach[location, neighbours])
    return density[location, neighbours].mean(axis=2) / density


def _nearest(at: np.ndarray, views: int) -> np.ndarray:
    distances, _ = _neighbours(at, 1, views)
    return distances[..., 0] + 1


def _gaussian(at: np.ndarray) -> np.ndarray:
    covariance = at.transpose(0, 2, 1) @ at / (at.shape[1] - 1)
    covariance += COVARIANCE_RIDGE * np.eye(at.shape[2])
    whitened = np.linalg.solve(covariance, at.transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.sqrt(np.einsum("lip,lip->li", at, whitened)) + 1


def _neighbours(at: np.ndarray, k: int, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and row numbers of the ``k`` nearest other images, both ``(locations, rows, k)``, in no order.

    Found by the expanded square; the distances are taken once more from the differences, so that two equal
    patches are at distance 0.
    """
    squares = np.einsum("lip,lip->li", at, at)
    squared = squares[:, :, None] + squares[:, None, :] - 2 * (at @ at.transpose(0, 2, 1))
    own = np.arange(at.shape[1]) // views
    squared[:, own[:, None] == own] = np.inf
    by_image = squared.reshape(*squared.shape[:2], -1, views)
    images = np.argpartition(by_image.min(axis=3), k - 1, axis=2)[..., :k]
    nearest_views = np.take_along_axis(by_image, images[..., None], axis=2).argmin(axis=3)
    neighbours = images * views + nearest_views
    distances = np.empty(neighbours.shape)
    for column in range(k):
        difference = at - np.take_along_axis(at, neighbours[..., column, None], axis=1)
        distances[..., column] = np.sqrt(np.einsum("lip,lip->li", difference, difference))
    return distances, neighbours


def _nearest_of_images(
    queries: np.ndarray, own: np.ndarray, references: np.ndarray, spans: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (ascending) and reference numbers, ``(n, k)``: the nearest reference of each of ``k`` images.

    Args:
        queries: ``(n, p)``.
        own: ``(n,)`` the image of each query, which is passed over.
        references: ``(r, p)``, image by image.
        spans: ``(images + 1,)`` where each image's references begin.
    """
    half = np.einsum("rp,rp->r", references, references) / 2
    present = np.flatnonzero(np.diff(spans))
    nearest = np.empty((len(queries), len(present)), np.int64)
    closeness = np.empty((len(queries), len(present)), np.float32)
    for block in _blocks(len(queries), len(references)):
        similarity = queries[block] @ references.T - half
        for column, image in enumerate(present):
            part = similarity[:, spans[image] : spans[image + 1]]
            nearest[block, column] = part.argmax(axis=1) + spans[image]
            closeness[block, column] = part.max(axis=1)
    closeness[own[:, None] == present] = -np.inf
    chosen = np.argpartition(-closeness, k - 1, axis=1)[:, :k]
    neighbours = np.take_along_axis(nearest, chosen, axis=1)
    distances = np.linalg.norm(queries[:, None] - references[neighbours], axis=2).astype(np.float64)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(neighbours, order, axis=1)


def _density(distances: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """The local reachability density: of the last axis, the neighbours."""
    return 1 / (np.maximum(distances, reach).mean(axis=-1) + NO_DIVISION_BY_ZERO)
