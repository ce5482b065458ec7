"""Counting scores in a bounded number of bins, and the highest ones exactly, in any order of arrival.

A float32 becomes an integer key that sorts like the float (its bits, sign-fixed). The 2^32 keys are cut into
pages of 2^16 (an octave of floats is 128 pages). Only pages in which a score was seen are kept, each cut into
equal bins of ``2^shift`` keys; the shift follows from the number of kept pages alone. So the resolution
follows the scores: maps at 1000 +- 5 lie on a few pages and get bins of a few neighbouring floats; one outlier
costs one page. More scores only ever mean more pages, hence a larger shift, hence neighbours merged: which bins
there are depends on which scores were seen, never on their order.

Areas under curves need no more than that. AP and F1 are decided by the few highest scores, which are kept one by
one beside (``TopScores``): up to that many scores every metric is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uad_orchestrator.metrics.curves import Groups
from uad_orchestrator.metrics.pixels.top_scores import TopScores

PAGE_BITS = 16
PAGE_KEYS = 1 << PAGE_BITS
N_PAGES = 1 << (32 - PAGE_BITS)
BINS_BITS = 16
"""log2 of the bins that the kept pages share."""
CAPACITY = 1 << (BINS_BITS + 1)
"""Bins there is room for: a page has two at least, so that very many pages have more together."""
UNSEEN = np.uint32(0)  # what a bin holds in place of its one key; no finite float has these keys
SEVERAL = np.uint32(2**32 - 1)
STRIDE = 32
"""One score in so many is looked at to tell a bin of one value, many times, from a bin of several."""
_BLOCK = 1 << 17  # scores counted at a time: what lies between two steps stays in the processor's cache
_NO_BIN = np.uint32(2**32 - 1)  # what is added to a page's keys is a multiple of its bins, two or more: even


def float_keys(scores: np.ndarray) -> np.ndarray:
    """Order-preserving keys: a < b as floats exactly if key(a) < key(b); -0.0 and 0.0 share a key.

    Args:
        scores: (n,) float32, finite.

    Returns:
        (n,) uint32.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 + 0.0 is 0.0
    if bits.min(initial=0) < 0:
        mirrored = bits >> 31  # all ones where negative: larger magnitudes then sort lower
        mirrored &= np.int32(0x7FFFFFFF)
        bits ^= mirrored
    keys = bits.view(np.uint32)
    keys ^= np.uint32(0x80000000)
    return keys


def scores_of_keys(keys: np.ndarray) -> np.ndarray:
    """The inverse of ``float_keys``, as float64."""
    bits = (keys ^ np.uint32(0x80000000)).view(np.int32)
    bits = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return bits.view(np.float32).astype(np.float64)


def bin_shift(n_pages: int) -> int:
    """log2 of the keys per bin where ``n_pages`` pages share ``2^BINS_BITS`` bins; it only grows with them.

    >>> bin_shift(1), bin_shift(3), bin_shift(N_PAGES)
    (0, 2, 15)
    """
    return min(PAGE_BITS - 1, max(0, (n_pages - 1).bit_length() + PAGE_BITS - BINS_BITS))


class ScoreHistogram:
    """Per bin: how many scores, how many positive ones, their weights, and whether all are the same."""

    def __init__(self) -> None:
        self._pages = np.empty(0, np.int64)  # kept pages, in the order of their bins
        self._shift = np.uint32(0)
        # a key's bin is (key >> shift) + _adjust_of_page[its page], modulo 2^32; _NO_BIN: the page is not kept
        self._adjust_of_page = np.full(N_PAGES, _NO_BIN, np.uint32)
        self._used = 0
        # written over by every block: fresh memory would cost more than what is computed in it
        self._scratch = np.empty((2, _BLOCK), np.intp)
        self._totals, self._positives, self._weights = np.zeros((3, CAPACITY), np.int64)
        self._only_key = np.full(CAPACITY, UNSEEN, np.uint32)  # the bin's one key, or UNSEEN, or SEVERAL
        self._top = TopScores()

    def add(self, scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> None:
        """Count scores.

        Args:
            scores: (n,) float32, finite.
            positive: (p,) indices of the positive ones, ascending.
            weights: (p,) int64 weights of those.
        """
        for start in range(0, scores.size, _BLOCK):
            first, last = np.searchsorted(positive, (start, start + _BLOCK))
            keys = float_keys(scores[start : start + _BLOCK])
            bins = self._bins(keys, self._scratch[:, : keys.size])
            np.add.at(self._totals, bins, 1)
            self._note_keys(bins[::STRIDE], keys[::STRIDE])
            places, of_positives = positive[first:last] - start, weights[first:last]
            np.add.at(self._positives, bins[places], 1)
            np.add.at(self._weights, bins[places], of_positives)
            self._top.add(keys, keys[places], of_positives)

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Count what ``to_arrays`` of a histogram returned."""
        self._add_bins(arrays)
        self._top.add_arrays(arrays)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All that was counted: equal for equal sets of scores.

        Returns:
            of the bins, ascending: ``first_keys`` (n,) uint32; ``only_keys`` (n,) uint32, the one key seen in it, or
            ``UNSEEN``, or ``SEVERAL``; ``totals``, ``positives``, ``weights`` (n,) int64. Of the highest scores,
            which the bins count too: see ``TopScores.to_arrays``.
        """
        return self._bin_arrays() | self._top.to_arrays()

    def groups(self) -> Groups:
        """The highest scores one by one, below them the bins with what is left in them; highest score first."""
        arrays = self.to_arrays()
        bins = np.searchsorted(arrays["first_keys"], arrays["top_keys"] >> self._shift << self._shift)
        left = {}
        for column in ("totals", "positives", "weights"):
            left[column] = arrays[column].copy()
            np.subtract.at(left[column], bins, arrays[f"top_{column}"])
        some = np.flatnonzero(left["totals"])
        lowest, bin_highest = self._bounds(arrays["first_keys"][some], arrays["only_keys"][some])
        below = np.uint32(max(int(arrays["top_floor"]) - 1, 0))  # the bin at the floor is only half left
        totals, positives, weights = (
            np.concatenate([left[column][some], arrays[f"top_{column}"]])[::-1]
            for column in ("totals", "positives", "weights")
        )
        lowest = scores_of_keys(np.concatenate([lowest, arrays["top_keys"]]))
        highest = lowest.copy()
        highest[: some.size] = scores_of_keys(np.minimum(bin_highest, below))
        return Groups(
            negatives=totals - positives,
            positives=positives,
            region_weights=weights,
            lowest=lowest[::-1],
            highest=highest[::-1],
        )

    def _bins(self, keys: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """The bin of each key; pages not seen before get theirs.

        Args:
            scratch: (2, n) intp, written over; the second row is what is returned.
        """
        pages, bins = scratch
        np.right_shift(keys, np.uint32(PAGE_BITS), out=pages, casting="unsafe")
        adjusted = self._adjust_of_page.take(pages, mode="wrap")  # never wraps: take's fastest mode
        if adjusted.max(initial=0) == _NO_BIN:
            unknown = np.flatnonzero(adjusted == _NO_BIN)
            if self._keep_pages(np.unique(pages[unknown])):
                unknown = np.arange(keys.size)
            adjusted[unknown] = self._adjust_of_page[pages[unknown]]
        adjusted += keys >> self._shift
        bins[:] = adjusted
        return bins

    def _bin_arrays(self) -> dict[str, np.ndarray]:
        """The occupied bins, ascending by key."""
        pages = np.sort(self._pages)
        per_page = PAGE_KEYS >> int(self._shift)
        first = (self._adjust_of_page[pages] + (pages << PAGE_BITS >> int(self._shift))) % (1 << 32)
        bins = (first[:, None] + np.arange(per_page)).ravel()
        starts = ((pages[:, None] << PAGE_BITS) + (np.arange(per_page) << int(self._shift))).ravel()
        occupied = np.flatnonzero(self._totals[bins])
        bins, starts = bins[occupied], starts[occupied].astype(np.uint32)
        return {
            "first_keys": starts,
            "only_keys": self._only_key[bins],
            "totals": self._totals[bins],
            "positives": self._positives[bins],
            "weights": self._weights[bins],
        }

    def _add_bins(self, arrays: Mapping[str, np.ndarray]) -> None:
        first_keys, only = arrays["first_keys"], arrays["only_keys"]
        bins = self._bins(first_keys, np.empty((2, first_keys.size), np.intp))
        np.add.at(self._totals, bins, arrays["totals"])
        np.add.at(self._positives, bins, arrays["positives"])
        np.add.at(self._weights, bins, arrays["weights"])
        seen = np.flatnonzero(only != UNSEEN)
        self._note_keys(bins[seen], only[seen])

    def _bounds(self, first_keys: np.ndarray, only_keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest key of each bin: its one key, or its first and last."""
        one_key = (only_keys != UNSEEN) & (only_keys != SEVERAL)
        last_keys = first_keys | np.uint32((1 << int(self._shift)) - 1)
        return np.where(one_key, only_keys, first_keys), np.where(one_key, only_keys, last_keys)

    def _note_keys(self, bins: np.ndarray, keys: np.ndarray) -> None:
        """Remember a bin's one key, or that it has several."""
        known = self._only_key.take(bins, mode="wrap")
        new = np.flatnonzero((known != keys) & (known != SEVERAL))
        if new.size == 0:
            return
        bins, keys, first_seen = bins[new], keys[new], known[new] == UNSEEN
        self._only_key[bins[~first_seen]] = SEVERAL
        bins, keys = bins[first_seen], keys[first_seen]
        self._only_key[bins] = keys
        self._only_key[bins[self._only_key[bins] != keys]] = SEVERAL

    def _keep_pages(self, new_pages: np.ndarray) -> bool:
        """Give bins to pages that have none; where that makes all bins wider, every page gets new ones.

        Returns:
            whether bins of other pages moved.
        """
        pages = np.concatenate([self._pages, new_pages])
        shift = np.uint32(bin_shift(pages.size))
        if shift == self._shift:
            self._append_pages(new_pages)
            return False
        counted = self._bin_arrays()
        for column in (self._totals, self._positives, self._weights, self._only_key):
            column[: self._used] = 0
        self._pages, self._used, self._shift = np.empty(0, np.int64), 0, shift
        self._append_pages(pages)
        self._add_bins(counted)
        return True

    def _append_pages(self, pages: np.ndarray) -> None:
        """Put the bins of these pages behind all others."""
        per_page = PAGE_KEYS >> int(self._shift)
        offsets = self._used + per_page * np.arange(pages.size)
        self._adjust_of_page[pages] = (offsets - (pages << PAGE_BITS >> int(self._shift))) % (1 << 32)
        self._pages = np.concatenate([self._pages, pages])
        self._used += per_page * pages.size
