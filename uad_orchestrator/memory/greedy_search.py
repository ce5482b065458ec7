"""The greedy k-centre search of a coreset, many points at a time, in whole numbers: the same rows everywhere.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, section 3.2. On a device the points
and their distances stay there; what is chosen from, some hundred points at a time, comes to the CPU.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from uad_orchestrator.memory.device import free_values, in_blocks, on_device_or_cpu, to_tensor
from uad_orchestrator.memory.nearest import NearestNeighbors
from uad_orchestrator.memory.nearest_chosen import KNOWN, NearestChosen
from uad_orchestrator.memory.products import products

FIELD = 2048
"""Farthest points that pools are taken from before all points are compared with what was chosen; more than a pool."""
POOL = 256
"""Farthest points of a field looked at together; the greedy choice is made among them."""
PICKS = 256
"""New rows that points are compared with in one matrix product on the CPU."""
BLOCK = 2048
"""Points whose distances to these are held at once on the CPU: 2 MB, a core's cache."""
CHOSEN = -1.0
"""The distance of a row of the bank: never chosen again; a duplicate of one only when nothing else is left."""


def greedy_order(
    projected: np.ndarray, m: int, seed: int, starting_points: int = 10, *, device: str = "cpu"
) -> np.ndarray:
    """Greedy k-centre over projected embeddings: row numbers in the order of their choice.

    Again and again: take the field of points farthest from the bank, and of it the pool of the farthest; choose the
    farthest of the pool, as long as it is farther out than every point outside the pool can be; go on with the next
    pool of the field, as long as no point outside the field can belong to it; then compare all points with the new
    rows in matrix products. Each choice is that of the plain search, which goes over all points for every single one.

    Args:
        projected: ``(n, p)`` float32; overwritten by ``integer_points``, since it may be as large as memory allows.
        m: how many rows, at most n.
        seed: of the starting points.
        starting_points: random points whose mean distance the search starts from.
        device: where all points are compared; the rows are the same on each.

    Returns:
        ``(m,)`` int64.
    """
    return _search(*_whole(projected, seed, starting_points), m, device)


def greedy_coreset(
    projected: np.ndarray,
    m: int,
    seed: int,
    starting_points: int = 10,
    *,
    known: int = KNOWN,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """``greedy_order``, and which of the rows the points are nearest to.

    Args:
        projected: as in ``greedy_order``, as the next three are.
        m: how many rows.
        seed: of the starting points.
        starting_points: random points that the search starts from.
        known: nearest rows of each point, k, at most three; the fewer, the sooner they are told.
        device: where all points are compared.

    Returns:
        ``(m,)`` int64 row numbers in the order of their choice; ``(n, k)`` int32 positions of each point's k nearest
        in the ascending coreset, the nearest first, of equally near ones the first; fewer where there are no more.
        -1: not known, where more than k are equally near.
    """
    points, squares, starts = _whole(projected, seed, starting_points)
    near = NearestChosen(points, squares, known)
    order = _search(points, squares, starts, m, device, near)
    nearest = near.rows()
    if nearest is None:  # searched on a device, where it takes no time
        search = NearestNeighbors(points[np.sort(order)], device=device)
        nearest = search.search(points, min(known, m))[1].astype(np.int32)
    return order, nearest


def order_of_choice(
    points: np.ndarray, chosen: np.ndarray, seed: int, starting_points: int = 10, *, device: str = "cpu"
) -> np.ndarray:
    """The order in which the search chose its rows: among them alone it takes the same turns, but where points tie.

    Args:
        points: ``(n, p)`` float32 whole numbers, of ``integer_points``.
        chosen: ``(m,)`` what ``greedy_order`` chose of them, in any order.
        seed: of the starting points, as the next is.
        starting_points: as in ``greedy_order``.
        device: where rows are compared.

    Returns:
        ``(m,)`` positions in ``chosen``, the first choice first.
    """
    squares = np.einsum("np,np->n", points, points)
    starts = start_distances(points, squares, seed, starting_points)
    return _search(points[chosen], squares[chosen], starts[chosen], len(chosen), device)


def _search(
    points: np.ndarray,
    squares: np.ndarray,
    starts: np.ndarray,
    m: int,
    device: str,
    near: NearestChosen | None = None,
) -> np.ndarray:
    return on_device_or_cpu(
        device,
        "the search for a coreset",
        lambda: _order(DeviceDistances(points, squares, starts, device), points, m),
        lambda: _order(Distances(points, squares, starts, near), points, m, to_the_end=near is not None),
    )


def _whole(
    projected: np.ndarray, seed: int, starting_points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points as they are searched, in place; their squares; their distances before there is a bank."""
    points = integer_points(projected)
    squares = np.einsum("np,np->n", points, points)
    return points, squares, start_distances(points, squares, seed, starting_points)


def integer_points(projected: np.ndarray) -> np.ndarray:
    """Projected embeddings, centred and rounded to a grid so fine that it does not matter; in place.

    Whole numbers of norm below 2048 have products and sums that float32 holds exactly, in whatever order a
    matrix product adds them up: the search then takes the same turns on every machine. Points more than four
    times farther out than 99 % are drawn in (they stay the farthest), lest one outlier coarsen the grid for
    all.
    """
    points = projected
    points -= points.mean(axis=0, dtype=np.float64).astype(np.float32)
    norms = np.sqrt(np.einsum("np,np->n", points, points, dtype=np.float64))
    limit = min(norms.max(), 4 * np.quantile(norms, 0.99)) or norms.max() or 1.0
    largest = 2047 - np.sqrt(points.shape[1])  # rounding lengthens a point by at most sqrt(p) / 2
    points *= (largest / np.maximum(norms, limit)).astype(np.float32)[:, None]
    return np.rint(points, out=points)


def start_distances(points: np.ndarray, squares: np.ndarray, seed: int, count: int) -> np.ndarray:
    """``(n,)`` float32, the square of each point's mean distance to ``count`` of them: before there is a bank."""
    starts = np.random.default_rng(seed).choice(len(points), min(count, len(points)), replace=False)
    squared = squares + squares[starts, None] - 2 * products(points[starts], points.T)
    return np.sqrt(squared).mean(axis=0) ** 2


class AllDistances(Protocol):
    """Squared distances of all points from the bank."""

    def at_least_the(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The points as far out as the ``size``-th farthest or farther: numbers, ascending, and distances."""

    def lower(self, picks: np.ndarray) -> None:
        """Take new rows into the bank: ``(c,)`` their numbers."""


class Distances:
    """``AllDistances`` on the CPU; ``near`` learns from all that is compared."""

    def __init__(
        self, points: np.ndarray, squares: np.ndarray, starts: np.ndarray, near: NearestChosen | None = None
    ) -> None:
        self._points = points
        self._squares = squares
        self._distances = starts.copy()
        self._near = near

    def at_least_the(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        least = np.partition(self._distances, -size)[-size]
        numbers = np.flatnonzero(self._distances >= least)
        return numbers, self._distances[numbers]

    def lower(self, picks: np.ndarray) -> None:
        batches = [picks[start : start + PICKS] for start in range(0, len(picks), PICKS)]
        numbered = [
            (self._near.begin(batch) if self._near else None, self._points[batch]) for batch in batches
        ]
        for start in range(0, len(self._points), BLOCK):
            block = slice(start, start + BLOCK)
            now, points, squares = self._distances[block], self._points[block], self._squares[block]
            for number, rows in numbered:
                squared = least_squared(points, squares, rows)
                np.minimum(now, squared, out=now)
                if self._near is not None and number is not None:
                    self._near.learn(number, block, squared)
        self._distances[picks] = CHOSEN


class DeviceDistances:
    """``AllDistances`` on a device, with torch: whole numbers are exact there, too."""

    def __init__(self, points: np.ndarray, squares: np.ndarray, starts: np.ndarray, device: str) -> None:
        self._points, self._squares, self._distances = (
            to_tensor(array, device) for array in (points, squares, starts.copy())
        )
        self._device = device
        self._values = free_values(device)

    def at_least_the(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        least = self._distances.topk(size).values[-1]
        numbers = (self._distances >= least).nonzero()[:, 0]
        return numbers.cpu().numpy(), self._distances[numbers].cpu().numpy()

    def lower(self, picks: np.ndarray) -> None:
        import torch

        chosen = to_tensor(picks, self._device)
        rows, half = self._points[chosen], self._squares[chosen] / 2

        def compare(block: slice) -> None:
            nearest = torch.addmm(half, self._points[block], rows.T, alpha=-1).amin(dim=1)
            now = self._distances[block]
            torch.minimum(now, nearest.mul_(2).add_(self._squares[block]), out=now)

        in_blocks(len(self._points), max(1, self._values // len(picks)), compare)
        self._distances[chosen] = CHOSEN


def _order(distances: AllDistances, points: np.ndarray, m: int, to_the_end: bool = False) -> np.ndarray:
    """``(m,)`` row numbers; ``to_the_end``: points are compared with the last rows, too."""
    order: list[np.ndarray] = []
    missing = m
    while missing:
        field, how_far = _first(*distances.at_least_the(min(FIELD, len(points))), FIELD)
        picks = field[choose_of_field(points[field], how_far, missing, len(field) == len(points))]
        order.append(picks)
        missing -= len(picks)
        if missing or to_the_end:
            distances.lower(picks)
    return np.concatenate(order)


def _first(numbers: np.ndarray, distances: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``size`` farthest, ascending; of those as near as the nearest of them, the first."""
    ties = np.flatnonzero(distances == distances.min())
    surplus = max(0, len(numbers) - size)
    kept = np.delete(np.arange(len(numbers)), ties[len(ties) - surplus :])
    return numbers[kept], distances[kept]


def choose_of_field(points: np.ndarray, distances: np.ndarray, most: int, everything: bool) -> np.ndarray:
    """The plain search's next choices, as far as a field decides them: positions in it, in order.

    Args:
        points: ``(f, p)`` the field.
        distances: ``(f,)`` how far each lies from the bank, squared.
        most: at most so many are chosen.
        everything: there are no other points.
    """
    distances = distances.copy()
    squares = np.einsum("np,np->n", points, points)
    # no point outside the field is farther from the bank
    outside = -np.inf if everything else distances.min()
    chosen: list[np.ndarray] = []
    count = 0
    while count < most:
        pool = farthest(distances, POOL)
        if chosen and distances[pool].min() <= outside:
            break
        picks = pool[_choose_of_pool(points[pool], distances[pool], most - count)]
        lower(distances, points, squares, points[picks])
        distances[picks] = CHOSEN
        chosen.append(picks)
        count += len(picks)
    return np.concatenate(chosen)


def farthest(distances: np.ndarray, size: int) -> np.ndarray:
    """Positions of the ``size`` largest; of equal ones the first, after all larger ones."""
    if size >= len(distances):
        return np.arange(len(distances))
    least = np.partition(distances, -size)[-size]
    beyond = np.flatnonzero(distances > least)
    ties = np.flatnonzero(distances == least)
    return np.concatenate([beyond, ties[: size - len(beyond)]])


def _choose_of_pool(points: np.ndarray, distances: np.ndarray, most: int) -> list[int]:
    squares = np.einsum("np,np->n", points, points)
    between = squares + squares[:, None] - 2 * products(points, points.T)
    outside = distances.min()  # no point outside the pool is farther from the bank
    picks = [int(distances.argmax())]
    while len(picks) < min(most, len(points)):
        distances = np.minimum(distances, between[picks[-1]])
        distances[picks[-1]] = CHOSEN  # as those before it are, and stay
        farthest = int(distances.argmax())
        if distances[farthest] < outside:
            break
        picks.append(farthest)
    return picks


def lower(distances: np.ndarray, points: np.ndarray, squares: np.ndarray, picks: np.ndarray) -> None:
    """Squared distances of ``points`` from the bank, in place, with ``picks`` ``(c, p)`` taken into it."""
    for start in range(0, len(picks), PICKS):
        np.minimum(distances, least_squared(points, squares, picks[start : start + PICKS]), out=distances)


def least_squared(points: np.ndarray, squares: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """``(n,)`` squared distances of ``points`` from the nearest of ``picks`` ``(c, p)``."""
    half = np.einsum("cp,cp->c", picks, picks)[:, None] / 2
    alike = products(picks, points.T)
    return np.asarray(squares + 2 * np.subtract(half, alike, out=alike).min(axis=0))
