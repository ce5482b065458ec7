"""Counting scores finely in a bounded number of bins, in any order of arrival.

A float32 becomes an integer key that sorts like the float (its bits, sign-fixed). The 2^32 keys are cut into
pages of 2^16 (an octave of floats is 128 pages). Only pages in which a score was seen are kept, each cut into
equal bins of ``2^shift`` keys. A page's shift follows from two numbers alone: how many pages are kept, and how
many of them lie above it, because the highest scores decide AP and F1.

So the resolution follows the scores: maps at 1000 +- 5 lie on a few pages, where every distinct float has its
own bin; one outlier costs one page. And more scores only ever mean more pages, hence larger shifts, hence
neighbours merged: the bins depend on *which* scores were seen, never on their order, and two histograms add up
exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uad_orchestrator.metrics.curves import Groups

PAGE_BITS = 16
PAGE_KEYS = 1 << PAGE_BITS
N_PAGES = 1 << (32 - PAGE_BITS)
SHARED_BINS = 1 << 20  # divided evenly among the kept pages
TOP_PAGES = 256  # two octaves: the page of rank r from the top has at least TOP_BINS / r bins
TOP_BINS = 1 << 19
CAPACITY = 3 << 20  # more than any set of pages needs, with room for bins that fall free
_FEW_PAGES = 64  # so many are coarsened in their place; more are laid out anew
_BLOCK = 1 << 16  # scores counted at a time: their keys and bins stay in the processor's cache


def float_keys(scores: np.ndarray) -> np.ndarray:
    """Order-preserving keys: a < b as floats exactly if key(a) < key(b); -0.0 and 0.0 share a key.

    Args:
        scores: (n,) float32, finite.

    Returns:
        (n,) uint32.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 + 0.0 is 0.0
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
        (n_pages,) int64 in 0..12; all bins together are at most ``CAPACITY``.
    """
    shared = max(0, _ceil_log2(n_pages) + PAGE_BITS - _ceil_log2(SHARED_BINS))
    rank = np.arange(n_pages, 0, -1)
    top = np.ceil(np.log2(np.maximum(rank * (PAGE_KEYS / TOP_BINS), 1))).astype(np.int64)
    return np.where(rank <= TOP_PAGES, np.minimum(top, shared), shared)


def _ceil_log2(n: int) -> int:
    return max(n - 1, 0).bit_length()


class ScoreHistogram:
    """Per bin: all scores, the positive ones, their weights, and the least and greatest score seen."""

    def __init__(self) -> None:
        self._pages = np.empty(0, np.int64)  # kept pages, in the order of their bins
        self._offsets = np.empty(0, np.int64)  # the first bin of each
        self._offset_of_page = np.full(N_PAGES, -1, np.int64)
        self._shift_of_page = np.zeros(N_PAGES, np.uint32)
        self._used = 0
        # Untouched zeros take no memory: an empty histogram costs next to nothing.
        self._totals, self._positives, self._weights = (np.zeros(CAPACITY, np.int64) for _ in range(3))
        # While every key has a bin of its own, least and greatest are that key and need no tracking.
        self._lowest: np.ndarray | None = None
        self._highest: np.ndarray | None = None

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
            self._track_extremes(bins, keys, keys)
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
        self._track_extremes(bins, arrays["lowest"], arrays["highest"])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The occupied bins in ascending order of score: equal for equal sets of scores.

        Returns:
            ``lowest``, ``highest`` (n,) uint32 keys; ``totals``, ``positives``, ``weights`` (n,) int64.
        """
        bins = np.flatnonzero(self._totals[: self._used])
        if self._lowest is None or self._highest is None:
            slots = np.searchsorted(self._offsets, bins, side="right") - 1
            keys = (self._pages[slots] << PAGE_BITS) + bins - self._offsets[slots]
            lowest = highest = keys.astype(np.uint32)
        else:
            lowest, highest = self._lowest[bins], self._highest[bins]
        if not np.array_equal(self._pages, np.sort(self._pages)):
            order = np.argsort(lowest, kind="stable")
            bins, lowest, highest = bins[order], lowest[order], highest[order]
        return {
            "lowest": lowest,
            "highest": highest,
            "totals": self._totals[bins],
            "positives": self._positives[bins],
            "weights": self._weights[bins],
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

    def _keep_pages(self, new_pages: np.ndarray) -> None:
        """Give bins to pages that have none, and merge the bins of pages whose shift grows by that."""
        pages = np.sort(np.concatenate([self._pages, new_pages]))
        shifts = page_shifts(pages.size)
        kept = self._offset_of_page[pages] >= 0
        grown = kept & (self._shift_of_page[pages] != shifts)
        tracked = self._lowest is not None or not shifts.any()
        has_room = self._used + int((PAGE_KEYS >> shifts[~kept]).sum()) <= CAPACITY
        if not tracked or not has_room or int(grown.sum()) > _FEW_PAGES:
            self._lay_out(pages, shifts)
            return
        for page, shift in zip(pages[grown], shifts[grown], strict=True):
            self._merge_in_place(int(page), int(shift))
        self._append_pages(pages[~kept], shifts[~kept])

    def _lay_out(self, pages: np.ndarray, shifts: np.ndarray) -> None:
        """Give all pages bins anew, side by side, and count again what was counted."""
        counted = self.to_arrays()
        for counts in (self._totals, self._positives, self._weights):
            counts[: self._used] = 0
        self._pages, self._offsets, self._used = np.empty(0, np.int64), np.empty(0, np.int64), 0
        self._lowest, self._highest = np.full(CAPACITY, 2**32 - 1, np.uint32), np.zeros(CAPACITY, np.uint32)
        self._append_pages(pages, shifts)
        self.add_bins(counted)

    def _merge_in_place(self, page: int, shift: int) -> None:
        """Coarsen one page; its bins move to the front of its place, the rest falls free."""
        start, old_shift = int(self._offset_of_page[page]), int(self._shift_of_page[page])
        place = slice(start, start + (PAGE_KEYS >> old_shift))
        for values, merge, empty in self._columns():
            merged = merge.reduce(values[place].reshape(-1, 1 << (shift - old_shift)), axis=1)
            values[place] = empty
            values[start : start + merged.size] = merged
        self._shift_of_page[page] = shift

    def _columns(self) -> list[tuple[np.ndarray, np.ufunc, int]]:
        """What each bin holds, how two bins merge, and what an empty bin holds."""
        columns: list[tuple[np.ndarray, np.ufunc, int]] = [
            (counts, np.add, 0) for counts in (self._totals, self._positives, self._weights)
        ]
        if self._lowest is not None and self._highest is not None:
            columns += [(self._lowest, np.minimum, 2**32 - 1), (self._highest, np.maximum, 0)]
        return columns

    def _append_pages(self, pages: np.ndarray, shifts: np.ndarray) -> None:
        sizes = PAGE_KEYS >> shifts
        offsets = self._used + np.cumsum(sizes) - sizes
        self._shift_of_page[pages] = shifts
        self._offset_of_page[pages] = offsets
        self._pages = np.concatenate([self._pages, pages])
        self._offsets = np.concatenate([self._offsets, offsets])
        self._used += int(sizes.sum())

    def _track_extremes(self, bins: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> None:
        if self._lowest is not None and self._highest is not None:
            np.minimum.at(self._lowest, bins, lowest)
            np.maximum.at(self._highest, bins, highest)
