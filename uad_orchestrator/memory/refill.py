"""Coresets as they would be without some images: the rows of these go, and others take their place.

Where an image's own row covers the patches of others, the search keeps no second one, and what it keeps beside it
later lies at a distance. Without the image there is a hole that a coreset of the others would not have. What was chosen
before a row of the image was chosen without it, and stays; the row goes, with those chosen beside it after it, and as
many are chosen anew among the others' patches, in the way the coreset was. The patches that were nearest to a row that
went are compared with the rows that stay; all others lie as far from the coreset as before. All images together
therefore cost about as much as one coreset, not one each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

import numpy as np

from uad_orchestrator.memory.coreset import density_draws, density_measure
from uad_orchestrator.memory.greedy_search import (
    choose_of_field,
    lower,
    order_of_choice,
)
from uad_orchestrator.memory.nearest import NearestNeighbors
from uad_orchestrator.memory.nearest_chosen import KNOWN, NONE

NEIGHBOURS = 4
"""The rows beside each of the image's among which those chosen after it are chosen anew, too: they were chosen far from
it, and were they to stay, left-out scores would be 4 to 7 % too high. Those chosen before it must stay: in a hole made
around the image's own row the farthest patch is near that row, and scores would be up to 4 % too low. More than four
change nothing that can be measured."""

BESIDE = 2
"""Patches beside the hole that may be chosen, too, for each row that went: those farthest from the coreset."""


def greedy_without(
    points: np.ndarray,
    chosen: np.ndarray,
    parts: Sequence[slice],
    seed: int,
    starting_points: int = 10,
    *,
    turns: np.ndarray | None = None,
    nearest: np.ndarray | None = None,
    barred: Iterable[np.ndarray] | None = None,
    device: str = "cpu",
) -> Iterator[np.ndarray]:
    """Coresets of the greedy k-centre search (``greedy_order``), gone on with where the rows of a part went.

    Args:
        points: ``(n, p)`` float32 projected patches, whole numbers of ``integer_points``; not overwritten.
        chosen: ``(m,)`` the coreset, ascending.
        parts: patches ``[start, stop)`` that are not there; some rows of others are.
        seed: of the coreset, as the next is.
        starting_points: random points that its search started from.
        turns: ``(m,)`` when each of the coreset was chosen; None: that is searched for again.
        nearest: ``(n, k)`` of ``greedy_coreset``; None: searched for, as those are of which it is not known.
        barred: for each part ``(n,)`` bool, the patches that may not be in a coreset without it; None: all may.
        device: where patches are compared; what is chosen is the same on each.

    Returns:
        For each part a coreset without it: numbers of patches, ascending; as many as before, if there are patches
        that are no copies of rows.
    """
    if turns is None:
        turns = np.argsort(order_of_choice(points, chosen, seed, starting_points, device=device))
    near = _NearestRows(points, chosen, device, nearest, whole=True)
    farthest = np.argsort(-near.squared[:, 0], kind="stable")
    for part, kept_out in zip(parts, repeat(None) if barred is None else barred, strict=False):
        gone = near.gone_with_later(part, turns, NEIGHBOURS)
        if kept_out is not None:
            gone |= kept_out[chosen]
        orphans, how_far = near.orphans(part, gone)
        missing = int(gone.sum())
        beside = _first_of(farthest, near.kept_by_others(part, gone), BESIDE * missing)
        numbers = np.concatenate([orphans, beside])
        distances = np.concatenate([how_far, near.squared[beside, 0]])
        anew = distances > 0 if kept_out is None else (distances > 0) & ~kept_out[numbers]
        numbers, distances = numbers[anew], distances[anew]
        if most := min(missing, len(numbers)):
            numbers = numbers[choose_of_field(points[numbers], distances, most, everything=True)]
        yield np.sort(np.concatenate([chosen[~gone], numbers[:most]]))


def density_without(
    points: np.ndarray,
    chosen: np.ndarray,
    parts: Sequence[slice],
    seed: int,
    *,
    barred: Iterable[np.ndarray] | None = None,
    device: str = "cpu",
) -> Iterator[np.ndarray]:
    """Coresets of the weighted draw of ``density_rows``, gone on with: the same draws, by the measure that is left.

    Args:
        points: ``(n, p)`` float32 projected patches; not overwritten.
        chosen: ``(m,)``, as in ``greedy_without``.
        parts: slices of patches.
        seed: of the coreset.
        barred: as in ``greedy_without``.
        device: where the nearest are found; their distances are taken on the CPU.

    Returns:
        As ``greedy_without``.
    """
    draws = density_draws(len(points), seed)
    near = _NearestRows(points, density_measure(len(points), len(chosen), seed), device)
    for part, kept_out in zip(parts, repeat(None) if barred is None else barred, strict=False):
        squared = near.squared[:, 0].astype(np.float64)
        orphans, how_far = near.orphans(part, near.gone(part))
        squared[orphans] = how_far
        with np.errstate(divide="ignore"):
            keys = draws / squared
        keys[chosen] = keys[part] = np.inf
        stays = ~_within(chosen, part)
        if kept_out is not None:
            keys[kept_out] = np.inf
            stays &= ~kept_out[chosen]
        stays = chosen[stays]
        drawn = np.argsort(keys, kind="stable")[: len(chosen) - len(stays)]
        yield np.sort(np.concatenate([stays, drawn[np.isfinite(keys[drawn])]]))


class _NearestRows:
    """How far patches lie from a coreset, and from what stays of it where a part went.

    Args:
        points: ``(n, p)`` float32.
        rows: ``(m,)`` the coreset's numbers, ascending.
        device: where the nearest rows are found.
        known: ``(n, k)`` positions of the nearest rows in ``rows``, where they are known.
        whole: points are whole numbers, of ``integer_points``.

    Attributes:
        squared: ``(n, k)`` float32 squared distances from the nearest rows, ascending.
    """

    def __init__(
        self,
        points: np.ndarray,
        rows: np.ndarray,
        device: str,
        known: np.ndarray | None = None,
        whole: bool = False,
    ) -> None:
        self._points, self._rows, self._device, self._whole = points, rows, device, whole
        self._search = NearestNeighbors(points[rows], device=device)
        k = min(KNOWN, len(rows))
        if known is None:
            self.squared, self._index = _found(self._search, points, k)
        else:
            self._index, k = known.astype(np.int64), known.shape[1]
            unknown = np.flatnonzero(self._index[:, 0] == NONE)
            if len(unknown):
                self._index[unknown] = self._search.search(points[unknown], k)[1]
            self.squared = self._search.distances(points, self._index)

    def gone(self, part: slice) -> np.ndarray:
        """``(m,)`` bool, the part's rows."""
        return _within(self._rows, part)

    def gone_with_later(self, part: slice, turn: np.ndarray, neighbours: int) -> np.ndarray:
        """``(m,)`` bool, the part's rows, and of the rows nearest to each those chosen after it, if any are left.

        Args:
            part: patches.
            turn: ``(m,)`` when each row was chosen.
            neighbours: how many nearest rows of others are looked at.
        """
        gone = self.gone(part)
        own = np.flatnonzero(gone)
        neighbours = min(neighbours, len(gone) - len(own))
        if len(own) and neighbours:
            exclude = slice(int(own[0]), int(own[-1]) + 1)
            beside = self._search.search(self._points[self._rows[own]], neighbours, exclude)[1]
            with_later = gone.copy()
            with_later[beside[turn[beside] > turn[own, None]]] = True
            gone = gone if with_later.all() else with_later
        return gone

    def kept_by_others(self, part: slice, gone: np.ndarray) -> np.ndarray:
        """``(n,)`` bool, the patches of others that are as far from the rows that stay as they were from all."""
        kept = ~gone[self._index[:, 0]]
        kept[part] = False
        return kept

    def orphans(self, part: slice, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The patches of others whose nearest row went, and their squared distances from the rows that stay."""
        lost = gone[self._index[:, 0]]
        lost[part] = False
        orphans = np.flatnonzero(lost)
        stays = ~gone[self._index[orphans]]
        squared = self.squared[orphans, stays.argmax(axis=1)]
        asked = ~stays.any(axis=1)
        if gone.all():
            squared[:] = 1  # as far as any
        elif asked.any():
            squared[asked] = self._from_those_that_stay(self._points[orphans[asked]], ~gone)
        return orphans, squared

    def _from_those_that_stay(self, points: np.ndarray, stays: np.ndarray) -> np.ndarray:
        rows = self._points[self._rows[stays]]
        if self._whole:  # exact, however it is added up
            squared = np.full(len(points), np.inf, np.float32)
            lower(squared, points, np.einsum("np,np->n", points, points), rows)
            return squared
        return _found(NearestNeighbors(rows, device=self._device), points, 1)[0][:, 0]


def _found(search: NearestNeighbors, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """``NearestNeighbors.search``, its distances the same wherever it runs."""
    squared, index = search.search(points, k)
    return (squared if search.device == "cpu" else search.distances(points, index)), index


def _within(numbers: np.ndarray, span: slice) -> np.ndarray:
    return (numbers >= span.start) & (numbers < span.stop)


def _first_of(numbers: np.ndarray, allowed: np.ndarray, count: int) -> np.ndarray:
    return numbers[allowed[numbers]][:count]
