"""How much each patch of the normals looks like contamination: the discriminators of SoftPatch.

Jiang et al., "SoftPatch: Unsupervised Anomaly Detection with Noisy Data", NeurIPS 2022; as in
TencentYoutuResearch/AnomalyDetection-SoftPatch. A patch is compared with those at its own place in the other
images, never with the mean of all: a rare but legitimate kind of normal part has neighbours of its own kind.
A weight is about 1 (``lof``) or at least 1 (``nearest``, ``gaussian``); larger means lonelier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from uad_orchestrator.memory.coreset import random_rows
from uad_orchestrator.memory.device import free_values, in_blocks, on_device_or_cpu
from uad_orchestrator.memory.device_outliers import location_neighbours, mahalanobis, nearest_of_images

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
    points: np.ndarray, discriminator: Discriminator, k: int = 6, views: int = 1, *, device: str = "cpu"
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
        device: where patches are compared: ``cpu``, or one of torch's; to 1e-6 the same.

    Returns:
        ``(images * views, locations)`` float32.

    Raises:
        ValueError: no more images than neighbours.
    """
    images = len(points) // views
    needed = k if discriminator == "lof" else 1
    if images <= needed:
        raise ValueError(
            f"discriminator {discriminator} compares each patch with {needed} other images at its own place, "
            f"but there are {images} images: more than {needed} are needed"
        )
    return on_device_or_cpu(
        with_float64(device),
        "outlier weights",
        lambda: _weights(points, discriminator, k, views, device),
        lambda: _weights(points, discriminator, k, views, "cpu"),
    )


def feature_space_lof(
    points: np.ndarray, starts: np.ndarray, k: int = 6, seed: int = 0, *, device: str = "cpu"
) -> np.ndarray:
    """The local outlier factor of each patch among patches that look like it, wherever they lie.

    Our own variant, for parts that are not aligned. A patch's neighbours are its nearest patches in the ``k``
    other images that come closest to it: at most one of each image, since a defect covers several patches
    that would vouch for each other.

    Args:
        points: ``(n, p)`` float32, image by image.
        starts: ``(images + 1,)`` where each image's patches begin, and the end.
        k: neighbours.
        seed: of the sample of at most ``REFERENCES`` patches that serve as neighbours.
        device: where patches are compared.

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
    centred = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)
    chosen = random_rows(len(points), min(REFERENCES, len(points)), seed)
    return on_device_or_cpu(
        device,
        "outlier weights",
        lambda: _feature_space_weights(centred, starts, chosen, k, device),
        lambda: _feature_space_weights(centred, starts, chosen, k, "cpu"),
    )


def _feature_space_weights(
    points: np.ndarray, starts: np.ndarray, chosen: np.ndarray, k: int, device: str
) -> np.ndarray:
    """``feature_space_lof`` of centred points, with the neighbours ``chosen``."""
    references, spans = points[chosen], np.searchsorted(chosen, starts)
    own = np.repeat(np.arange(len(starts) - 1), np.diff(starts))

    def nearest(rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return neighbours_in_images(points[rows], own[rows], references, spans, k, device)

    distances, neighbours = np.empty((len(chosen), k)), np.empty((len(chosen), k), np.int64)

    def find(block: slice) -> None:
        distances[block], neighbours[block] = nearest(chosen[block])

    in_row_blocks(len(chosen), len(references), device, find)
    reach = distances[:, -1]
    density = reachability_density(distances, reach[neighbours])
    weights = np.empty(len(points), np.float32)

    def weigh(block: slice) -> None:
        distances, neighbours = nearest(block)
        weights[block] = density[neighbours].mean(axis=1) / reachability_density(distances, reach[neighbours])

    in_row_blocks(len(points), len(references), device, weigh)
    return weights


def in_row_blocks(count: int, values_each: int, device: str, work: Callable[[slice], None]) -> None:
    """Go over ``count`` rows, of which each needs so many distances at once."""
    if device != "cpu":
        in_blocks(
            count, max(1, free_values(device) // (8 * values_each)), work
        )  # float64, and several of them
        return
    size = max(1, BLOCK_VALUES // values_each)
    for start in range(0, count, size):
        work(slice(start, start + size))


def with_float64(device: str) -> str:
    """The device, or the CPU where the device has no float64."""
    return "cpu" if device.startswith("mps") else device


def _weights(points: np.ndarray, discriminator: Discriminator, k: int, views: int, device: str) -> np.ndarray:
    """``outlier_weights``, some locations at a time."""
    weigh: dict[Discriminator, Callable[[np.ndarray], np.ndarray]] = {
        "lof": lambda at: _local_outlier_factor(at, k, views, device),
        "nearest": lambda at: _nearest(at, views, device),
        "gaussian": lambda at: _gaussian(at, device),
    }
    weights = np.empty(points.shape[:2], np.float32)

    def fill(block: slice) -> None:
        at = points[:, block].transpose(1, 0, 2).astype(np.float64)
        weights[:, block] = weigh[discriminator](at - at.mean(axis=1, keepdims=True)).T

    rows = len(points)
    in_row_blocks(points.shape[1], rows * max(rows, points.shape[2]), device, fill)
    return weights


def _local_outlier_factor(at: np.ndarray, k: int, views: int, device: str) -> np.ndarray:
    """``(locations, rows)`` of ``(locations, rows, p)``."""
    distances, neighbours = neighbours_at_location(at, k, views, device)
    location = np.arange(len(at))[:, None, None]
    reach = distances.max(axis=2)
    density = reachability_density(distances, reach[location, neighbours])
    return density[location, neighbours].mean(axis=2) / density


def _nearest(at: np.ndarray, views: int, device: str) -> np.ndarray:
    distances, _ = neighbours_at_location(at, 1, views, device)
    return distances[..., 0] + 1


def _gaussian(at: np.ndarray, device: str) -> np.ndarray:
    if device != "cpu":
        return mahalanobis(at, COVARIANCE_RIDGE, device) + 1
    covariance = at.transpose(0, 2, 1) @ at / (at.shape[1] - 1)
    covariance += COVARIANCE_RIDGE * np.eye(at.shape[2])
    whitened = np.linalg.solve(covariance, at.transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.sqrt(np.einsum("lip,lip->li", at, whitened)) + 1


def neighbours_at_location(at: np.ndarray, k: int, views: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances and row numbers of the ``k`` nearest other images, both ``(locations, rows, k)``, in no order.

    Found by the expanded square; the distances are taken once more from the differences, so that two equal
    patches are at distance 0.
    """
    if device != "cpu":
        return location_neighbours(at, k, views, device)
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


def neighbours_in_images(
    queries: np.ndarray, own: np.ndarray, references: np.ndarray, spans: np.ndarray, k: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (ascending) and reference numbers, ``(n, k)``: the nearest reference of each of ``k`` images.

    Args:
        queries: ``(n, p)``.
        own: ``(n,)`` the image of each query, which is passed over.
        references: ``(r, p)``, image by image.
        spans: ``(images + 1,)`` where each image's references begin.
        k: images.
        device: where they are compared.
    """
    if device != "cpu":
        return nearest_of_images(queries, own, references, spans, k, device)
    half = np.einsum("rp,rp->r", references, references) / 2
    present = np.flatnonzero(np.diff(spans))
    nearest = np.empty((len(queries), len(present)), np.int64)
    closeness = np.empty((len(queries), len(present)), np.float32)
    similarity = queries @ references.T - half
    for column, image in enumerate(present):
        part = similarity[:, spans[image] : spans[image + 1]]
        nearest[:, column] = part.argmax(axis=1) + spans[image]
        closeness[:, column] = part.max(axis=1)
    closeness[own[:, None] == present] = -np.inf
    chosen = np.argpartition(-closeness, k - 1, axis=1)[:, :k]
    neighbours = np.take_along_axis(nearest, chosen, axis=1)
    distances = np.linalg.norm(queries[:, None] - references[neighbours], axis=2).astype(np.float64)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(neighbours, order, axis=1)


def reachability_density(distances: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """The local reachability density: of the last axis, the neighbours."""
    return 1 / (np.maximum(distances, reach).mean(axis=-1) + NO_DIVISION_BY_ZERO)
