"""Pixels counted in several threads: each counts into counts of its own, which are then added up.

Counts add up bit for bit in any order, so figures do not depend on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, reduce
from operator import iadd
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from uad_orchestrator.metrics.pixels.counts import Overlap, PixelCounts
from uad_orchestrator.metrics.pixels.float_bins import BATCH
from uad_orchestrator.metrics.pixels.spro import Channel
from uad_orchestrator.threads import available_threads, ordered_map

COUNTING_THREADS = 4
"""Threads that only count, at most: of 16 each waited longer for the interpreter's lock than it counted."""


class Additive(Protocol):
    """Counts that take in others."""

    def __iadd__(self, other: Any, /) -> Self: ...


Item = TypeVar("Item")
Counts = TypeVar("Counts", bound=Additive)
Result = TypeVar("Result")


def count_pixels(
    images: Iterable[tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, Sequence[Channel]]],
    *,
    overlap: Overlap = "pro",
    threads: int | None = None,
) -> PixelCounts:
    """Count the pixels of many images in several threads.

    Args:
        images: of each its map and its mask, as ``PixelCounts.update`` takes them, or its map and its channels
            with ``overlap="spro"``. They are taken one after the other in the caller's thread, at most a few per
            thread (2^20 pixels, or two images) ahead of what is counted: memory does not grow with them.
        overlap: what stands against the false-positive rate, as in ``PixelCounts``.
        threads: how many; None: ``available_threads()``, at most ``COUNTING_THREADS``.

    Returns:
        The counts, bit for bit those of one thread.

    Raises:
        ValueError: a map or a mask that cannot be counted; says which image, by its place from 0.

    >>> rng = np.random.default_rng(0)
    >>> images = [(rng.random((8, 8)), rng.random((8, 8)) > 0.9) for _ in range(5)]
    >>> count_pixels(images, threads=2).n_images
    5
    """

    def count(counts: PixelCounts, batch: list[tuple[int, tuple[np.ndarray, Any]]]) -> None:
        update = counts.update if overlap == "pro" else counts.update_channels
        for index, image in batch:
            try:
                update(*image)
            except ValueError as error:
                raise ValueError(f"image {index}: {error}") from error

    threads = threads or min(available_threads(), COUNTING_THREADS)
    none = partial(PixelCounts, overlap, beside_others=threads > 1)
    return count_in_threads(none, count, _batches(images), threads=threads)[0]


def _batches(
    images: Iterable[tuple[np.ndarray, Any]],
) -> Iterator[list[tuple[int, tuple[np.ndarray, Any]]]]:
    """Images with their places, as many together as are counted together: handing them over takes time, too."""
    batch, pixels = [], 0
    for index, image in enumerate(images):
        batch.append((index, image))
        pixels += np.size(image[0])
        if pixels >= BATCH:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def count_in_threads(
    none: Callable[[], Counts],
    count: Callable[[Counts, Item], Result],
    items: Iterable[Item],
    *,
    threads: int | None = None,
) -> tuple[Counts, list[Result]]:
    """Count items in several threads.

    Args:
        none: gives counts of nothing; it is called at most once per thread.
        count: counts an item into the counts it is given, which no other thread touches meanwhile.
        items: taken in the caller's thread, at most two per thread ahead of what is counted.
        threads: how many; None: ``available_threads()``.

    Returns:
        The counts of all items, and what ``count`` returned of each, in the items' order.

    Raises:
        Exception: the first that ``count`` raises, in the order of the items.
    """
    threads = threads or available_threads()
    idle: list[Counts] = []

    def counted(item: Item) -> Result:
        try:
            counts = idle.pop()
        except IndexError:
            counts = none()
        result = count(counts, item)
        idle.append(counts)
        return result

    results = list(ordered_map(counted, items, threads=threads, ahead=2 * threads))
    return _added_up(idle or [none()], threads), results


def _added_up(parts: list[Counts], threads: int) -> Counts:
    """The sum of one part or more, which are written over: by pairs, pairs of pairs and so on."""
    while len(parts) > 1:
        pairs = [parts[start : start + 2] for start in range(0, len(parts), 2)]
        parts = list(ordered_map(partial(reduce, iadd), pairs, threads=threads, ahead=threads))
    return parts[0]
