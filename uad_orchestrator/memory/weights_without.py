"""Outlier weights as they would be without some images, from neighbours that are found once.

A patch that looks like one of an image left out was vouched for by it: without the image it is lonelier, and may be one
of those that never come into the bank. Each patch's nearest images are found once, as many more as are left out at
once; without an image each neighbourhood passes over it, as if it had been found among the others.
"""

from __future__ import annotations

import numpy as np

from uad_orchestrator.memory.coreset import random_rows
from uad_orchestrator.memory.device import on_device_or_cpu
from uad_orchestrator.memory.outlier_weights import (
    NO_DIVISION_BY_ZERO,
    REFERENCES,
    in_row_blocks,
    neighbours_at_location,
    neighbours_in_images,
    with_float64,
)


class KnownNeighbours:
    """The nearest images of each patch, of which some can be left out.

    Args:
        distances: ``(c, n)`` float64, ascending: the nearest of all patches first, which is faster than row by row.
        neighbours: ``(c, n)`` int32, numbers of patches: the nearest of each of ``c`` other images.
        of_image: ``(n,)`` the image of each patch.
        k: neighbours of ``lof``, or fewer where fewer are left.
    """

    def __init__(self, distances: np.ndarray, neighbours: np.ndarray, of_image: np.ndarray, k: int) -> None:
        self._distances, self._neighbours = distances, neighbours
        self._images = of_image[neighbours]
        self._k = k

    def lof(self, gone: slice) -> np.ndarray | None:
        """The local outlier factor of each patch among those of the images that stay.

        Args:
            gone: numbers of the images that are left out.

        Returns:
            ``(n,)`` float32, those of the images that are gone without meaning; None where no neighbours are left.
        """
        k = self._left(gone)
        if k < 1:
            return None
        distances, neighbours = self._nearest(gone, k)
        reach = distances[-1]
        apart = sum(np.maximum(each, reach[near]) for each, near in zip(distances, neighbours, strict=True))
        density = 1 / (apart / k + NO_DIVISION_BY_ZERO)
        return (sum(density[near] for near in neighbours) / k / density).astype(np.float32)

    def nearest(self, gone: slice) -> np.ndarray | None:
        """As ``lof``: the distance to the nearest image that stays, plus 1."""
        if self._left(gone) < 1:
            return None
        return (self._nearest(gone, 1)[0][0] + 1).astype(np.float32)

    def _left(self, gone: slice) -> int:
        return min(self._k, len(self._distances) - (gone.stop - gone.start))

    def _nearest(self, gone: slice, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and patches, ``(k, n)``, of the nearest that stay."""
        passed = (self._images >= gone.start) & (self._images < gone.stop)
        hit = np.flatnonzero(passed[:k].any(axis=0))
        found = []
        for every in (self._distances, self._neighbours):
            some = every[:, hit]
            for place in reversed(range(len(every) - 1)):  # those behind one that is gone move up
                some[place:-1] = np.where(passed[place, hit], some[place + 1 :], some[place:-1])
            nearest = every[:k].copy()
            nearest[:, hit] = some[:k]
            found.append(nearest)
        return found[0], found[1]


def known_at_places(
    points: np.ndarray, k: int, views: int, most: int, *, device: str = "cpu"
) -> KnownNeighbours:
    """The neighbours behind ``outlier_weights``; patches are numbered image by image, and those of a view by place.

    Args:
        points: ``(images * views, locations, p)`` float32.
        k: neighbours, fewer than there are images.
        views: of every image.
        most: images that are left out at once.
        device: where patches are compared.
    """
    rows, locations = points.shape[:2]
    count = min(k + most, rows // views - 1)
    distances = np.empty((count, rows, locations))
    neighbours = np.empty((count, rows, locations), np.int32)

    def find_all(device: str) -> None:
        def find(block: slice) -> None:
            at = points[:, block].transpose(1, 0, 2).astype(np.float64)
            found, others = neighbours_at_location(at - at.mean(axis=1, keepdims=True), count, views, device)
            order = np.argsort(found, axis=2, kind="stable")
            place = np.arange(block.start, block.start + len(at))
            distances[:, :, block] = np.take_along_axis(found, order, axis=2).transpose(2, 1, 0)
            others = np.take_along_axis(others, order, axis=2).transpose(2, 1, 0)
            neighbours[:, :, block] = others * locations + place

        in_row_blocks(locations, rows * max(rows, points.shape[2]), device, find)

    on_device_or_cpu(
        with_float64(device), "outlier weights", lambda: find_all(device), lambda: find_all("cpu")
    )
    of_image = np.repeat(np.arange(rows // views), views * locations)
    return KnownNeighbours(
        distances.reshape(count, -1), neighbours.reshape(count, -1), of_image.astype(np.int32), k
    )


def known_anywhere(
    points: np.ndarray, starts: np.ndarray, k: int, seed: int, most: int, *, device: str = "cpu"
) -> KnownNeighbours:
    """The neighbours behind ``feature_space_lof``.

    Args:
        points: ``(n, p)`` float32, image by image.
        starts: ``(images + 1,)`` where each image's patches begin, and the end.
        k: neighbours, fewer than there are images.
        seed: of the sample of patches that serve as neighbours.
        most: images that are left out at once.
        device: where patches are compared.
    """
    centred = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)
    chosen = random_rows(len(points), min(REFERENCES, len(points)), seed)
    references, spans = centred[chosen], np.searchsorted(chosen, starts)
    own = np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(starts))
    count = min(k + most, int((np.diff(spans) > 0).sum()) - 1)
    distances, neighbours = np.empty((count, len(points))), np.empty((count, len(points)), np.int32)

    def find_all(device: str) -> None:
        def find(block: slice) -> None:
            asked = centred[block], own[block]
            found, others = neighbours_in_images(*asked, references, spans, count, device)
            distances[:, block], neighbours[:, block] = found.T, chosen[others].T

        in_row_blocks(len(points), len(references), device, find)

    on_device_or_cpu(device, "outlier weights", lambda: find_all(device), lambda: find_all("cpu"))
    return KnownNeighbours(distances, neighbours, own, k)
