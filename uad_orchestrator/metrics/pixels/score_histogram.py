"""Counting scores in a bounded number of bins, and the highest ones exactly, in any order of arrival.

The resolution follows the scores: maps at 1000 +- 5 lie on a few pages of floats (see ``float_bins``) and get bins of
a few neighbouring floats; one outlier costs one page. More scores only ever mean more pages, hence wider bins, hence
neighbours merged: which bins there are depends on which scores were seen, never on their order.

Areas under curves need no more than that. AP and F1 are decided by the few highest scores, which are kept one by
one beside (``TopScores``): up to that many scores every metric is exact, and F1-max up to four times as many.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uad_orchestrator.metrics.curves import Groups
from uad_orchestrator.metrics.pixels import top_scores
from uad_orchestrator.metrics.pixels.float_bins import (
    BATCH,
    BLOCK,
    CAPACITY,
    LONG_BLOCK,
    BinLayout,
    Scratch,
    bits_of_keys,
    float_bits,
    float_keys,
    pages_of,
    scores_of_keys,
)
from uad_orchestrator.metrics.pixels.top_scores import TopScores, highest_of

UNSEEN = np.uint32(0)  # what a bin holds in place of its one key; no finite float has these keys
SEVERAL = np.uint32(2**32 - 1)
STRIDE = 32
"""One score in so many is looked at to tell a bin of one value, many times, from a bin of several."""
_LEAST_KEY = 0x007FFFFF  # that of minus infinity
_COLUMNS = ("totals", "positives", "weights")


KEY_OF_MINUS_0 = np.uint32(0x7FFFFFFF)
"""-0.0 is counted as 0.0, whose key is the next."""


class ScoreHistogram:
    """Per bin: how many scores, how many positive ones, their weights, and whether all are the same.

    Args:
        beside_others: other threads count at the same time: steps are longer.
    """

    def __init__(self, *, beside_others: bool = False) -> None:
        self._block = LONG_BLOCK if beside_others else BLOCK
        self._layout = BinLayout(np.empty(0, np.intp))
        self._counts = np.zeros((3, CAPACITY), np.int64)
        self._totals, self._positives, self._weights = self._counts
        self._only_key = np.full(CAPACITY, UNSEEN, np.uint32)  # the bin's one key, or UNSEEN, or SEVERAL
        self._top = TopScores()
        self._scratch: Scratch | None = None
        # scores in the scratch that are not counted yet: where they begin, their positive ones, the weights of those
        self._waiting: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._n_waiting = 0

    def add(self, scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> None:
        """Count scores; those of several calls are counted together.

        Args:
            scores: (n,) float32, finite.
            positive: (p,) indices of the positive ones, ascending.
            weights: (p,) int64 weights of those.
        """
        for start in range(0, scores.size, BATCH):
            first, last = np.searchsorted(positive, (start, start + BATCH))
            self._wait(scores[start : start + BATCH], positive[first:last] - start, weights[first:last])

    def add_positives(self, scores: np.ndarray, weight: int) -> None:
        """Count scores that are all positive and of one weight.

        Args:
            scores: (n,) float32, finite.
            weight: that of each.
        """
        for start in range(0, scores.size, BATCH):
            batch = scores[start : start + BATCH]
            bins, high = self._bins(batch)
            self._note_scores(bins[::STRIDE], batch[::STRIDE])
            occupancy = _occupancy(bins, self._layout.size)
            self._counts[:, : occupancy.size] += np.multiply.outer([1, 1, weight], occupancy)
            self._keep_highest(batch[high], batch[high], np.full(high.size, weight, np.int64))

    def merge(self, other: ScoreHistogram) -> None:
        """Count what another one has counted, too; that one stays as it is."""
        other._settle()
        self._see(other._layout.seen)
        self._add_bins(other._layout, other._counts, other._only_key)
        self._top.merge(other._top)

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Count what ``to_arrays`` of a histogram returned."""
        bits, only_keys = bits_of_keys(arrays["first_keys"]), arrays["only_keys"]
        self._see(pages_of(bits))
        bins = self._layout.bins_of(bits)
        for column, name in zip(self._counts, _COLUMNS, strict=True):
            np.add.at(column, bins, arrays[name])
        seen = np.flatnonzero(only_keys != UNSEEN)
        self._note_keys(bins[seen], only_keys[seen])
        self._top.add_arrays(arrays)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All that was counted: equal for equal sets of scores.

        Returns:
            of the bins, ascending: ``first_keys`` (n,) uint32; ``only_keys`` (n,) uint32, the one key seen in it, or
            ``UNSEEN``, or ``SEVERAL``; ``totals``, ``positives``, ``weights`` (n,) int64. Of the highest scores,
            which the bins count too: see ``TopScores.to_arrays``.
        """
        self._settle()
        return self._bin_arrays() | self._top.to_arrays()

    def groups(self) -> Groups:
        """The highest scores one by one, below them the bins with what is left in them; highest score first."""
        return self._groups(self.to_arrays())

    def groups_and_highest(self) -> tuple[Groups, Groups]:
        """``groups``, and all that are kept one by one, some of which share bins in the first; highest score first."""
        arrays = self.to_arrays()
        totals, positives, weights = (arrays[f"top_{column}"][::-1] for column in _COLUMNS)
        scores = scores_of_keys(arrays["top_keys"])[::-1]
        return self._groups(arrays), Groups(totals - positives, positives, weights, scores, scores)

    def _groups(self, arrays: dict[str, np.ndarray]) -> Groups:
        arrays = arrays | highest_of(arrays, top_scores.TOP)
        first_keys, top_keys = arrays["first_keys"], arrays["top_keys"]
        # of the bins from the floor on, where their highest scores begin: every one of them is kept
        floor_bin = max(int(np.searchsorted(first_keys, arrays["top_floor"], side="right")) - 1, 0)
        edges = np.searchsorted(top_keys, np.append(first_keys[floor_bin:], SEVERAL))
        left = {}
        for column in _COLUMNS:
            left[column] = arrays[column].copy()
            sums = np.concatenate([[0], np.cumsum(arrays[f"top_{column}"])])
            left[column][floor_bin:] -= np.diff(sums[edges])
        some = np.flatnonzero(left["totals"])
        lowest, bin_highest = self._bounds(first_keys[some], arrays["only_keys"][some])
        below = np.uint32(max(int(arrays["top_floor"]) - 1, 0))  # the bin at the floor is only half left
        totals, positives, weights = (
            np.concatenate([left[column][some], arrays[f"top_{column}"]])[::-1] for column in _COLUMNS
        )
        lowest = scores_of_keys(np.concatenate([lowest, top_keys]))
        highest = lowest.copy()
        highest[: some.size] = scores_of_keys(np.minimum(bin_highest, below))
        return Groups(
            negatives=totals - positives,
            positives=positives,
            region_weights=weights,
            lowest=lowest[::-1],
            highest=highest[::-1],
        )

    def _wait(self, scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> None:
        """Lay at most ``BATCH`` scores to those that wait to be counted."""
        if self._scratch is None:
            self._scratch = Scratch(self._block)
        if self._n_waiting + scores.size > BATCH:
            self._count_waiting()
        start = self._n_waiting
        self._n_waiting += scores.size
        self._scratch.scores[start : self._n_waiting] = scores
        self._waiting.append((start, positive + start, weights))

    def _count_waiting(self) -> None:
        """Count the scores that wait."""
        if self._scratch is None or not self._waiting:
            return
        starts, positives, weights = zip(*self._waiting, strict=True)
        scores, ends = self._scratch.scores[: self._n_waiting], (*starts[1:], self._n_waiting)
        self._waiting, self._n_waiting = [], 0
        bins, high = self._bins(scores)
        for start, end in zip(starts, ends, strict=True):
            self._note_scores(bins[start:end:STRIDE], scores[start:end:STRIDE])
        positive, own = np.concatenate(positives), np.concatenate(weights)
        of_positives = bins[positive].astype(np.intp)
        np.add.at(self._positives, of_positives, 1)
        np.add.at(self._weights, of_positives, own)
        self._totals[: self._layout.size] += _occupancy(bins, self._layout.size)
        self._keep_highest(scores[high], scores[positive], own)

    def _bins(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bin of each of at most ``BATCH`` scores, which the next call writes over, and where scores are high."""
        if self._scratch is None:
            self._scratch = Scratch(self._block)
        if not self._layout.seen.size:  # scores on pages without bins would cost more
            self._see(pages_of(float_bits(scores)))
        layout = self._layout
        bins, unknown = layout.bins(scores, self._floor, self._scratch)
        if unknown.size:
            bits = float_bits(scores[unknown])
            self._see(pages_of(bits))
            if not self._layout.continues(layout):
                return self._bins(scores)  # all bins have moved
            bins[unknown] = self._layout.bins_of(bits)
        return bins, np.flatnonzero(self._scratch.high[: scores.size])

    def _settle(self) -> None:
        """Count what waits, and note all pages in which scores were seen."""
        self._count_waiting()
        self._see(self._found())

    def _found(self) -> np.ndarray:
        """The pages in which scores were counted that are not noted as seen."""
        rows = self._layout.unseen_rows
        return self._layout.pages[rows[_by_page(self._layout, self._totals)[rows].any(axis=1)]]

    def _see(self, pages: np.ndarray) -> None:
        """Note that scores were seen in these pages; where bins move for it, so does what was counted."""
        layout = self._layout.with_pages(pages)
        if not layout.continues(self._layout):
            before, layout = self._layout, layout.with_pages(self._found())
            counts, only_key = self._counts[:, : before.size].copy(), self._only_key[: before.size].copy()
            self._counts[:, : before.size], self._only_key[: before.size] = 0, UNSEEN
            self._layout = layout
            self._add_bins(before, counts, only_key)
        self._layout = layout

    def _add_bins(self, layout: BinLayout, counts: np.ndarray, only_key: np.ndarray) -> None:
        """Add what was counted in the bins of another layout, whose seen pages have bins here, at least as wide."""
        wider, pages = self._layout.shift - layout.shift, layout.pages[self._layout.is_seen[layout.pages]]
        theirs, ours = layout.rows(pages), self._layout.rows(pages)
        by_page = _by_page(self._layout, self._counts)
        by_page[:, ours] += _sums(_by_page(layout, counts)[:, theirs], wider)
        keys = _by_page(self._layout, self._only_key)
        keys[ours] = _common_key(keys[ours], _common_keys(_by_page(layout, only_key)[theirs], wider))

    def _keep_highest(self, high: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> None:
        """Hand on scores that may be among the highest; few, once many were seen."""
        if self._top.are_many(high.size) and self._top.raise_floor(*self._ascending_totals()):
            high = high[high >= self._floor]
        of_positives = np.flatnonzero(positives >= self._floor)
        self._top.add(float_keys(high), float_keys(positives[of_positives]), weights[of_positives])

    @property
    def _floor(self) -> np.float32:
        """The least score that may be among the highest."""
        keys = np.array([max(self._top.floor, _LEAST_KEY)], np.uint32)
        return np.float32(scores_of_keys(keys)[0])

    def _ascending_totals(self) -> tuple[np.ndarray, np.ndarray]:
        """First keys and totals of all bins, ascending by key."""
        bins, first_keys = self._layout.ascending()
        return first_keys, self._totals[bins]

    def _bin_arrays(self) -> dict[str, np.ndarray]:
        """The occupied bins, ascending by key."""
        bins, first_keys = self._layout.ascending()
        occupied = np.flatnonzero(self._totals[bins])
        bins = bins[occupied]
        return {
            "first_keys": first_keys[occupied],
            "only_keys": self._only_key[bins],
            "totals": self._totals[bins],
            "positives": self._positives[bins],
            "weights": self._weights[bins],
        }

    def _bounds(self, first_keys: np.ndarray, only_keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest key of each bin: its one key, or its first and last."""
        one_key = (only_keys != UNSEEN) & (only_keys != SEVERAL)
        last_keys = first_keys | np.uint32((1 << self._layout.shift) - 1)
        last_keys -= (
            last_keys == KEY_OF_MINUS_0
        )  # no score has it, and as a number it would reach into 0.0's bin
        return np.where(one_key, only_keys, first_keys), np.where(one_key, only_keys, last_keys)

    def _note_scores(self, bins: np.ndarray, scores: np.ndarray) -> None:
        """Note the keys of scores, where it is not known yet that their bin has several."""
        undecided = np.flatnonzero(self._only_key.take(bins, mode="wrap") != SEVERAL)
        self._note_keys(bins[undecided], float_keys(scores[undecided]))

    def _note_keys(self, bins: np.ndarray, keys: np.ndarray) -> None:
        """Remember a bin's one key, or that it has several."""
        known = self._only_key[bins]
        new = np.flatnonzero((known != keys) & (known != SEVERAL))
        if new.size == 0:
            return
        bins, keys, first_seen = bins[new], keys[new], known[new] == UNSEEN
        self._only_key[bins[~first_seen]] = SEVERAL
        bins, keys = bins[first_seen], keys[first_seen]
        self._only_key[bins] = keys
        self._only_key[bins[self._only_key[bins] != keys]] = SEVERAL


def _by_page(layout: BinLayout, column: np.ndarray) -> np.ndarray:
    """A view of ``(..., bins)`` values as ``(..., pages, bins of a page)``."""
    return column[..., : layout.size].reshape(*column.shape[:-1], layout.pages.size, layout.per_page)


def _occupancy(bins: np.ndarray, n_bins: int) -> np.ndarray:
    """(n_bins,) int64: how many of (n,) bins are each."""
    import cv2

    if bins.dtype != np.uint16:
        return np.bincount(bins, minlength=n_bins)
    # float32 counts exactly: a batch has fewer than 2^24 scores
    return cv2.calcHist([bins[None]], [0], None, [n_bins], [0, n_bins]).ravel().astype(np.int64)


def _sums(counts: np.ndarray, wider: int) -> np.ndarray:
    """``(..., bins)`` counts of bins that are ``2^wider`` times as wide."""
    for _ in range(wider):
        counts = counts[..., ::2] + counts[..., 1::2]
    return counts


def _common_keys(keys: np.ndarray, wider: int) -> np.ndarray:
    """``(..., bins)`` only keys of bins that are ``2^wider`` times as wide."""
    for _ in range(wider):
        keys = _common_key(keys[..., ::2], keys[..., 1::2])
    return keys


def _common_key(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of two bins' only keys that of both together: the same one, or the only one seen, else ``SEVERAL``."""
    one_is_enough = (first == second) | (first == UNSEEN) | (second == UNSEEN)
    return np.where(one_is_enough, np.maximum(first, second), SEVERAL)
