"""Counting scores finely in a bounded number of bins, in any order of arrival.

A float32 becomes an integer key that sorts like the float (its bits, sign-fixed). The 2^32 keys are cut into
pages of 2^16 (an octave of floats is 128 pages). Only pages in which a score was seen are kept, each cut into
equal bins of ``2^shift`` keys. A page's shift follows from two numbers alone: how many pages are kept, and
how many of them lie above it, because the highest scores decide AP and F1.

So the resolution follows the scores: maps at 1000 +- 5 lie on a few pages and get bins of a few neighbouring
floats; one outlier costs one page. And more scores only ever mean more pages, hence larger shifts, hence
neighbours merged: the bins that are reported depend on which scores were seen, never on their order. While
counting, bins may be finer than that; they are merged when read, or when room runs out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uad_orchestrator.metrics.curves import Groups

PAGE_BITS = 16
PAGE_KEYS = 1 << PAGE_BITS
N_PAGES = 1 << (32 - PAGE_BITS)
SHARED_BINS = 1 << 17  # divided evenly among the kept pages: areas under curves need no more
TOP_PAGES = 2048  # 16 octaves: the page of rank r from the top has about TOP_BINS / r bins, for AP and F1
TOP_BINS = 1 << 18
TOP_FINER = 7  # but bins at most 2^7 times as fine as those of a page below
CAPACITY = 5 << 19  # more than any set of pages needs: the rest is room for new pages
UNSEEN = np.uint32(0)  # what a bin holds in place of its one key; no finite float has these keys
SEVERAL = np.uint32(2**32 - 1)
_BLOCK = 1 << 18  # scores counted at a time: bounds the memory for the keys and bins of large maps


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


def page_shifts(n_pages: int) -> np.ndarray:
    """log2 of the keys per bin, for each kept page from the lowest to the highest.

    It only grows with ``n_pages`` and with a page's rank from the top: bins are merged, never split.

    Returns:
        (n_pages,) uint32 in 0..12; all bins together are at most ``CAPACITY``.
    """
    shared = max(0, _ceil_log2(n_pages) + PAGE_BITS - _ceil_log2(SHARED_BINS))
    shifts = np.full(n_pages, shared, np.uint32)
    top = shifts[-TOP_PAGES:]
    finer = np.maximum(_TOP_SHIFTS[TOP_PAGES - top.size :], max(0, shared - TOP_FINER))
    np.minimum(top, finer, out=top)
    return shifts


def _ceil_log2(n: int) -> int:
    return max(n - 1, 0).bit_length()


_TOP_SHIFTS = np.array(
    [max(0, _ceil_log2(rank) + PAGE_BITS - _ceil_log2(TOP_BINS)) for rank in range(TOP_PAGES, 0, -1)],
    np.uint32,
)


class ScoreHistogram:
    """Per bin: how many scores, how many positive ones, their weights, and whether all are the same."""

    def __init__(self) -> None:
        self._pages = np.empty(0, np.int64)  # kept pages, in the order of their bins
        self._offset_of_page = np.full(N_PAGES, -1, np.int64)  # the first bin of each
        self._shift_of_page = np.zeros(N_PAGES, np.uint32)
        self._used = 0
        # Untouched zeros take no memory, and in one piece (beyond malloc's largest mmap threshold, 32 MB)
        # they come from the kernel, zeroed already: an empty histogram costs next to nothing.
        zeros = np.zeros(CAPACITY * 7, np.uint32)
        self._totals, self._positives, self._weights = (
            zeros[: CAPACITY * 6].view(np.int64).reshape(3, CAPACITY)
        )
        self._only_key = zeros[CAPACITY * 6 :]  # the bin's one key, or UNSEEN, or SEVERAL

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
            bins = self._bins(keys)
            np.add.at(self._totals, bins, 1)
            self._note_keys(bins, keys)
            if last > first:
                positive_bins = bins[positive[first:last] - start]
                np.add.at(self._positives, positive_bins, 1)
                np.add.at(self._weights, positive_bins, weights[first:last])

    def add_bins(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Count what ``to_arrays`` of a histogram returned."""
        bins = self._bins(arrays["lowest"])
        np.add.at(self._totals, bins, arrays["totals"])
        np.add.at(self._positives, bins, arrays["positives"])
        np.add.at(self._weights, bins, arrays["weights"])
        self._note_keys(bins, arrays["lowest"])
        self._only_key[bins[arrays["lowest"] < arrays["highest"]]] = SEVERAL

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The occupied bins in ascending order of score: equal for equal sets of scores.

        Returns:
            ``lowest``, ``highest`` (n,) uint32: the key, where a bin holds only one, else the bin's first and
            last; ``totals``, ``positives``, ``weights`` (n,) int64.
        """
        bins, first_keys = self._occupied()
        pages = np.sort(self._pages)
        shift_of_page = np.zeros(N_PAGES, np.uint32)
        shift_of_page[pages] = page_shifts(pages.size)
        shifts = shift_of_page[first_keys >> np.uint32(PAGE_BITS)]
        starts = first_keys >> shifts << shifts
        heads = np.flatnonzero(np.diff(starts, prepend=starts[:1] + np.uint32(1)))
        starts, shifts, only = starts[heads], shifts[heads], self._only_key[bins[heads]]
        one_key = (np.diff(heads, append=bins.size) == 1) & (only != SEVERAL)
        counts = (self._totals, self._positives, self._weights)
        totals, positives, weights = (np.add.reduceat(column[bins], heads) for column in counts)
        return {
            "lowest": np.where(one_key, only, starts),
            "highest": np.where(one_key, only, starts | ((np.uint32(1) << shifts) - np.uint32(1))),
            "totals": totals,
            "positives": positives,
            "weights": weights,
        }

    def groups(self) -> Groups:
        """The occupied bins as groups, highest score first."""
        arrays = self.to_arrays()
        return Groups(
            negatives=(arrays["totals"] - arrays["positives"])[::-1],
            positives=arrays["positives"][::-1],
            region_weights=arrays["weights"][::-1],
            lowest=scores_of_keys(arrays["lowest"])[::-1],
            highest=scores_of_keys(arrays["highest"])[::-1],
        )

    def _bins(self, keys: np.ndarray) -> np.ndarray:
        """The bin of each key; pages not seen before get theirs."""
        pages = (keys >> np.uint32(PAGE_BITS)).astype(np.intp)
        offsets = self._offset_of_page.take(pages, mode="wrap")  # never wraps: take's fastest mode
        if offsets.min(initial=0) < 0:
            self._keep_pages(np.unique(pages[offsets < 0]))
            offsets = self._offset_of_page.take(pages, mode="wrap")
        inside = keys & np.uint32(PAGE_KEYS - 1)
        inside >>= self._shift_of_page.take(pages, mode="wrap")
        offsets += inside
        return offsets

    def _occupied(self) -> tuple[np.ndarray, np.ndarray]:
        """The occupied bins and the first key of each, in ascending order of key."""
        bins = np.flatnonzero(self._totals[: self._used])
        offsets = self._offset_of_page[self._pages]
        per_page = np.diff(np.searchsorted(bins, offsets), append=bins.size)
        shifts = self._shift_of_page[self._pages].astype(np.int64)
        first_keys = bins - np.repeat(offsets, per_page)
        first_keys <<= np.repeat(shifts, per_page)
        first_keys += np.repeat(self._pages << PAGE_BITS, per_page)
        keys = first_keys.astype(np.uint32)
        if np.all(keys[1:] > keys[:-1]):
            return bins, keys
        order = np.argsort(keys, kind="stable")  # fast on sorted runs
        return bins[order], keys[order]

    def _note_keys(self, bins: np.ndarray, keys: np.ndarray) -> None:
        """Remember a bin's one key, or that it has several."""
        known = self._only_key.take(bins, mode="wrap")
        news = np.flatnonzero((known != keys) & (known != SEVERAL))
        if news.size == 0:
            return
        bins, keys, first_seen = bins[news], keys[news], known[news] == UNSEEN
        self._only_key[bins[~first_seen]] = SEVERAL
        bins, keys = bins[first_seen], keys[first_seen]
        self._only_key[bins] = keys
        self._only_key[bins[self._only_key[bins] != keys]] = SEVERAL

    def _keep_pages(self, new_pages: np.ndarray) -> None:
        """Give bins to pages that have none; without room for them, lay all pages out anew."""
        pages = np.sort(np.concatenate([self._pages, new_pages]), kind="stable")
        shifts = page_shifts(pages.size)
        new = self._offset_of_page[pages] < 0
        if self._used + int((PAGE_KEYS >> shifts[new]).sum()) <= CAPACITY:
            self._append_pages(pages[new], shifts[new])
            return
        counted = self.to_arrays()
        occupied = np.flatnonzero(self._totals[: self._used])
        for column in (self._totals, self._positives, self._weights, self._only_key):
            column[occupied] = 0
        self._pages, self._used = np.empty(0, np.int64), 0
        self._append_pages(pages, shifts)
        self.add_bins(counted)

    def _append_pages(self, pages: np.ndarray, shifts: np.ndarray) -> None:
        """Put the bins of these pages behind all others."""
        sizes = PAGE_KEYS >> shifts
        self._shift_of_page[pages] = shifts
        self._offset_of_page[pages] = self._used + np.cumsum(sizes) - sizes
        self._pages = np.concatenate([self._pages, pages])
        self._used += int(sizes.sum())
