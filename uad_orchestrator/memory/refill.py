"""What a coreset would hold in place of an image's rows, had the image not been there.

Where an image's own row covers the patches of others, the search keeps no second one. Without the image there is a hole
that a coreset of the others would not have: so as many rows as went are chosen anew among the others' patches, in the
way the coreset was. The patches that were nearest to a row that went are compared with the rows that stay; all others
lie as far from the coreset as before. All images together therefore cost about as much as one coreset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from uad_orchestrator.memory.coreset import density_draws, density_measure
from uad_orchestrator.memory.greedy_search import choose_of_field, integer_points
from uad_orchestrator.memory.nearest import NearestNeighbors

BESIDE = 2
"""Patches beside the hole that may be chosen, too, for each row that went: those farthest from the coreset."""


def greedy_refills(
    points: np.ndarray, chosen: np.ndarray, parts: Sequence[slice], *, device: str = "cpu"
) -> Iterator[np.ndarray]:
    """Go on with the greedy k-centre search (``greedy_order``) where the rows of a part went.

    Args:
        points: ``(n, p)`` float32 projected patches; overwritten.
        chosen: ``(m,)`` the coreset, ascending.
        parts: patches ``[start, stop)`` that go together, with the rows among them; some rows stay.
        device: where patches are compared; what is chosen is the same on each.

    Returns:
        For each part the numbers of the patches that take the place of its rows, ascending; at most as many.
    """
    points = integer_points(points)
    near = _NearestRows(points, chosen, device)
    farthest = np.argsort(-near.squared[:, 0], kind="stable")
    for part in parts:
        orphans, how_far = near.orphans(part)
        missing = near.rows_of(part).stop - near.rows_of(part).start
        beside = _first_of(farthest, near.kept_by_others(part), BESIDE * missing)
        numbers = np.concatenate([orphans, beside])
        distances = np.concatenate([how_far, near.squared[beside, 0]])
        anew = distances > 0  # a copy of a row adds nothing
        numbers, distances = numbers[anew], distances[anew]
        if most := min(missing, len(numbers)):
            numbers = numbers[choose_of_field(points[numbers], distances, most, everything=True)]
        yield np.sort(numbers[:most])


def density_refills(
    points: np.ndarray, chosen: np.ndarray, parts: Sequence[slice], seed: int, *, device: str = "cpu"
) -> Iterator[np.ndarray]:
    """Go on with the weighted draw of ``density_rows``: the same draws, over distances from the measure that is left.

    Args:
        points: as in ``greedy_refills``, as the next two are; not overwritten.
        chosen: ``(m,)``.
        parts: slices of patches.
        seed: of the coreset.
        device: where the nearest are found; their distances are taken on the CPU.

    Returns:
        As ``greedy_refills``.
    """
    draws = density_draws(len(points), seed)
    near = _NearestRows(points, density_measure(len(points), len(chosen), seed), device)
    for part in parts:
        squared = near.squared[:, 0].astype(np.float64)
        orphans, how_far = near.orphans(part)
        squared[orphans] = how_far
        with np.errstate(divide="ignore"):
            keys = draws / squared
        keys[chosen] = keys[part] = np.inf
        missing = int(np.diff(np.searchsorted(chosen, [part.start, part.stop]))[0])
        drawn = np.argsort(keys, kind="stable")[:missing]
        yield np.sort(drawn[np.isfinite(keys[drawn])])


class _NearestRows:
    """How far patches lie from a coreset, and from what stays of it where a part went.

    Args:
        points: ``(n, p)`` float32.
        rows: ``(m,)`` the coreset's numbers, ascending.
        device: where the nearest rows are found.

    Attributes:
        squared: ``(n, k)`` float32 squared distances from the two nearest rows, or from the only one.
    """

    def __init__(self, points: np.ndarray, rows: np.ndarray, device: str) -> None:
        self._points, self._rows = points, rows
        self._search = NearestNeighbors(points[rows], device=device)
        self.squared, self._index = self._found(points, min(2, len(rows)))

    def rows_of(self, part: slice) -> slice:
        """Where the part's rows lie in the coreset."""
        start, stop = np.searchsorted(self._rows, [part.start, part.stop])
        return slice(int(start), int(stop))

    def kept_by_others(self, part: slice) -> np.ndarray:
        """``(n,)`` bool, the patches of others that are as far from the coreset without the part as with it."""
        kept = ~_within(self._index[:, 0], self.rows_of(part))
        kept[part] = False
        return kept

    def orphans(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """The patches of others whose nearest row goes with the part, and their squared distances from what stays."""
        rows = self.rows_of(part)
        lost = _within(self._index[:, 0], rows)
        lost[part] = False
        orphans = np.flatnonzero(lost)
        squared = self.squared[orphans, -1]
        asked = _within(self._index[orphans, -1], rows)
        if asked.any():
            squared[asked] = self._found(self._points[orphans[asked]], 1, rows)[0][:, 0]
        return orphans, squared

    def _found(
        self, points: np.ndarray, k: int, exclude: slice | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        if exclude is not None and exclude.stop - exclude.start == len(self._rows):
            return np.ones((len(points), k), np.float32), np.zeros((len(points), k), np.int64)  # all alike
        squared, index = self._search.search(points, k, exclude)
        return (squared if self._search.device == "cpu" else self._search.distances(points, index)), index


def _within(numbers: np.ndarray, span: slice) -> np.ndarray:
    return (numbers >= span.start) & (numbers < span.stop)


def _first_of(numbers: np.ndarray, allowed: np.ndarray, count: int) -> np.ndarray:
    return numbers[allowed[numbers]][:count]
