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

import sys
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
_BATCH = 1 << 20  # scores whose bins are counted together: counting clears and reads all bins once
_BLOCK = (
    1 << 16
)  # scores brought to bins at a time: what lies between two steps stays in the processor's cache
_NO_BIN = np.uint32(2**32 - 1)  # what is added to a page's bits is a multiple of its bins, two or more: even
_LEAST_KEY = 0x007FFFFF  # that of minus infinity
_PAGE_OF_MINUS_ZERO = N_PAGES // 2
_HIGH = 1 if sys.byteorder == "little" else 0  # which half of a float's bits is its page


def float_keys(scores: np.ndarray) -> np.ndarray:
    """Order-preserving keys: a < b as floats exactly if key(a) < key(b); -0.0 and 0.0 share a key.

    Args:
        scores: (n,) float32, finite.

    Returns:
        (n,) uint32.
    """
    bits = _bits(scores).view(np.int32)
    if bits.min(initial=0) < 0:
        mirrored = bits >> 31  # all ones where negative: larger magnitudes then sort lower
        mirrored &= np.int32(0x7FFFFFFF)
        bits ^= mirrored
    keys = bits.view(np.uint32)
    keys ^= np.uint32(0x80000000)
    return keys


def scores_of_keys(keys: np.ndarray) -> np.ndarray:
    """The inverse of ``float_keys``, as float64."""
    return _bits_of_keys(keys).view(np.float32).astype(np.float64)


def bin_shift(n_pages: int) -> int:
    """log2 of the keys per bin where ``n_pages`` pages share ``2^BINS_BITS`` bins; it only grows with them.

    >>> bin_shift(1), bin_shift(3), bin_shift(N_PAGES)
    (0, 2, 15)
    """
    return min(PAGE_BITS - 1, max(0, (n_pages - 1).bit_length() + PAGE_BITS - BINS_BITS))


class ScoreHistogram:
    """Per bin: how many scores, how many positive ones, their weights, and whether all are the same.

    Inside, a page is the upper half of a float's bits as they are, and below zero its bins run backwards: turning
    every score into its key would cost more than counting it. What is handed out is in the order of the keys.
    """

    def __init__(self) -> None:
        self._pages = np.empty(0, np.intp)  # kept pages, in the order of their bins
        self._shift = 0
        # a score's bin is (bits >> shift) + that of its page, modulo 2^32; _NO_BIN: the page is not kept
        self._adjust_of_page = np.full(N_PAGES, _NO_BIN, np.uint32)
        # the same in the smallest integers that hold all bins, without the page of -0.0, which counts as 0.0
        self._table = self._adjust_of_page.astype(np.uint16)
        self._totals, self._positives, self._weights = self._counts = np.zeros((3, CAPACITY), np.int64)
        self._only_key = np.full(CAPACITY, UNSEEN, np.uint32)  # the bin's one key, or UNSEEN, or SEVERAL
        self._top = TopScores()
        self._scratch: _Scratch | None = None

    def add(self, scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> None:
        """Count scores.

        Args:
            scores: (n,) float32, finite.
            positive: (p,) indices of the positive ones, ascending.
            weights: (p,) int64 weights of those.
        """
        for start in range(0, scores.size, _BATCH):
            first, last = np.searchsorted(positive, (start, start + _BATCH))
            batch, places, own = (
                scores[start : start + _BATCH],
                positive[first:last] - start,
                weights[first:last],
            )
            bins = self._bins(batch)
            self._totals[: self._used] += self._occupancy(bins)
            self._note_scores(bins[::STRIDE], batch[::STRIDE])
            bins_of_positives = bins[places].astype(np.intp)
            np.add.at(self._positives, bins_of_positives, 1)
            np.add.at(self._weights, bins_of_positives, own)
            self._keep_highest(batch, batch[places], own)

    def add_positives(self, scores: np.ndarray, weight: int) -> None:
        """Count scores that are all positive and of one weight.

        Args:
            scores: (n,) float32, finite.
            weight: that of each.
        """
        for start in range(0, scores.size, _BATCH):
            batch = scores[start : start + _BATCH]
            bins = self._bins(batch)
            occupancy = self._occupancy(bins)
            self._totals[: self._used] += occupancy
            self._positives[: self._used] += occupancy
            self._weights[: self._used] += occupancy * weight
            self._note_scores(bins[::STRIDE], batch[::STRIDE])
            self._keep_highest(batch, batch, np.broadcast_to(np.int64(weight), batch.shape))

    def merge(self, other: ScoreHistogram) -> None:
        """Count what another one has counted, too; that one stays as it is."""
        self._keep_pages(other._pages)
        rows = self._bins_of((other._pages << PAGE_BITS).astype(np.uint32)) // self._per_page
        wider = self._shift - other._shift
        counts, only_keys = self._by_page(self._counts), self._by_page(self._only_key)
        counts[:, rows] += _sums(other._by_page(other._counts), wider)
        theirs = _common_keys(other._by_page(other._only_key), wider)
        only_keys[rows] = _common_key(only_keys[rows], theirs)
        self._top.merge(other._top)

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Count what ``to_arrays`` of a histogram returned."""
        bits, only_keys = _bits_of_keys(arrays["first_keys"]), arrays["only_keys"]
        self._keep_pages(np.unique(bits >> np.uint32(PAGE_BITS)).astype(np.intp))
        bins = self._bins_of(bits)
        for column, name in zip(self._counts, ("totals", "positives", "weights"), strict=True):
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
        return self._bin_arrays() | self._top.to_arrays()

    def groups(self) -> Groups:
        """The highest scores one by one, below them the bins with what is left in them; highest score first."""
        arrays = self.to_arrays()
        first_keys, top_keys = arrays["first_keys"], arrays["top_keys"]
        # of the bins from the floor on, where their highest scores begin: every one of them is kept
        floor_bin = max(int(np.searchsorted(first_keys, arrays["top_floor"], side="right")) - 1, 0)
        edges = np.searchsorted(top_keys, np.append(first_keys[floor_bin:], SEVERAL))
        left = {}
        for column in ("totals", "positives", "weights"):
            left[column] = arrays[column].copy()
            sums = np.concatenate([[0], np.cumsum(arrays[f"top_{column}"])])
            left[column][floor_bin:] -= np.diff(sums[edges])
        some = np.flatnonzero(left["totals"])
        lowest, bin_highest = self._bounds(first_keys[some], arrays["only_keys"][some])
        below = np.uint32(max(int(arrays["top_floor"]) - 1, 0))  # the bin at the floor is only half left
        totals, positives, weights = (
            np.concatenate([left[column][some], arrays[f"top_{column}"]])[::-1]
            for column in ("totals", "positives", "weights")
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

    @property
    def _per_page(self) -> int:
        """Bins of a page."""
        return PAGE_KEYS >> self._shift

    @property
    def _used(self) -> int:
        """Bins of all kept pages."""
        return self._pages.size * self._per_page

    def _by_page(self, column: np.ndarray) -> np.ndarray:
        """A view of ``(..., CAPACITY)`` values of bins as ``(..., pages, bins of a page)``."""
        return column[..., : self._used].reshape(*column.shape[:-1], self._pages.size, self._per_page)

    def _bins(self, scores: np.ndarray) -> np.ndarray:
        """The bin of each of at most ``_BATCH`` scores, and which are high; pages not seen before get their bins.

        Returns:
            (n,) uint16, or uint32 where there are too many bins for it; the next call writes over it.
        """
        if self._scratch is None:
            self._scratch = _Scratch()
        if not self._pages.size:  # most of the pages there will be: unknown ones cost time
            self._keep_pages(_pages_of(scores[::STRIDE]))
        table, shift, floor = self._table, np.uint32(self._shift), self._floor
        bins, no_bin = self._scratch.bins.view(table.dtype)[: scores.size], np.iinfo(table.dtype).max
        unknown: list[np.ndarray] = []
        for start in range(0, scores.size, _BLOCK):
            bits, of_block = scores[start : start + _BLOCK].view(np.uint32), bins[start : start + _BLOCK]
            pages, shifted, within = (part[: bits.size] for part in self._scratch.block)
            pages[:] = bits.view(np.uint16)[_HIGH::2]
            table.take(pages, out=of_block, mode="wrap")  # never wraps: take's fastest mode
            if of_block.max(initial=0) == no_bin:
                unknown.append(start + np.flatnonzero(of_block == no_bin))
            np.greater_equal(bits.view(np.float32), floor, out=self._scratch.high[start : start + bits.size])
            np.right_shift(bits, shift, out=shifted)
            within = within.view(table.dtype)[: bits.size]
            np.copyto(within, shifted, casting="unsafe")
            of_block += within
        if unknown:
            places = np.concatenate(unknown)
            self._keep_pages(_pages_of(scores[places]))
            if self._shift != shift or self._table is not table:
                return self._bins(scores)  # all bins have moved
            bins[places] = self._bins_of(_bits(scores[places]))
        return bins

    def _bins_of(self, bits: np.ndarray) -> np.ndarray:
        """The bins of floats, all on kept pages, by their bits, as uint32."""
        return self._adjust_of_page[bits >> np.uint32(PAGE_BITS)] + (bits >> np.uint32(self._shift))

    def _occupancy(self, bins: np.ndarray) -> np.ndarray:
        """(used,) int64: how many of (n,) bins are each."""
        import cv2

        if bins.dtype != np.uint16:
            return np.bincount(bins, minlength=self._used)
        # float32 counts exactly: a batch has fewer than 2^24 scores
        counted = cv2.calcHist([bins[None]], [0], None, [self._used], [0, self._used])
        return counted.ravel().astype(np.int64)

    def _keep_highest(self, scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> None:
        """Hand on what ``_bins`` found to be high; few scores, once many were seen."""
        assert self._scratch is not None
        high = scores[np.flatnonzero(self._scratch.high[: scores.size])]
        if self._top.are_many(high.size) and self._top.raise_floor(*self._ascending_totals()):
            high = high[high >= self._floor]
        of_positives = np.flatnonzero(positives >= self._floor)
        self._top.add(float_keys(high), float_keys(positives[of_positives]), weights[of_positives])

    @property
    def _floor(self) -> np.float32:
        """The least score that may be among the highest."""
        keys = np.array([max(self._top.floor, _LEAST_KEY)], np.uint32)
        return np.float32(scores_of_keys(keys)[0])

    def _bin_arrays(self) -> dict[str, np.ndarray]:
        """The occupied bins, ascending by key."""
        bins, first_keys = self._ascending()
        occupied = np.flatnonzero(self._totals[bins])
        bins = bins[occupied]
        return {
            "first_keys": first_keys[occupied],
            "only_keys": self._only_key[bins],
            "totals": self._totals[bins],
            "positives": self._positives[bins],
            "weights": self._weights[bins],
        }

    def _ascending_totals(self) -> tuple[np.ndarray, np.ndarray]:
        """First keys and totals of all bins, ascending by key."""
        bins, first_keys = self._ascending()
        return first_keys, self._totals[bins]

    def _ascending(self) -> tuple[np.ndarray, np.ndarray]:
        """All bins, ascending by key, and the first key of each."""
        below_zero = self._pages >= N_PAGES // 2
        key_pages = np.where(below_zero, N_PAGES - 1 - self._pages, self._pages + N_PAGES // 2)
        bins = np.arange(self._used).reshape(self._pages.size, self._per_page)
        bins[below_zero] = bins[below_zero, ::-1]
        first_keys = (np.sort(key_pages)[:, None] << PAGE_BITS) + (np.arange(self._per_page) << self._shift)
        return bins[np.argsort(key_pages)].ravel(), first_keys.ravel().astype(np.uint32)

    def _bounds(self, first_keys: np.ndarray, only_keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest key of each bin: its one key, or its first and last."""
        one_key = (only_keys != UNSEEN) & (only_keys != SEVERAL)
        last_keys = first_keys | np.uint32((1 << int(self._shift)) - 1)
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

    def _keep_pages(self, pages: np.ndarray) -> None:
        """Give bins to those pages that have none, behind all others; where they are too many, bins become wider."""
        new_pages = pages[self._adjust_of_page[pages] == _NO_BIN]
        if not new_pages.size:
            return
        first = self._pages.size
        wider = bin_shift(first + new_pages.size) - self._shift
        if wider:
            counts = _sums(self._by_page(self._counts), wider).reshape(3, -1)
            only_keys = _common_keys(self._by_page(self._only_key), wider).ravel()
            self._counts[:, : self._used], self._only_key[: self._used] = 0, UNSEEN
            self._counts[:, : only_keys.size], self._only_key[: only_keys.size] = counts, only_keys
            self._shift, first = self._shift + wider, 0
        self._pages = np.concatenate([self._pages, new_pages])
        moved = self._pages[first:]
        adjust = (np.arange(first, self._pages.size) - moved) * self._per_page
        self._adjust_of_page[moved] = adjust % (1 << 32)
        if self._used > PAGE_KEYS and self._table.dtype == np.uint16:
            self._table = self._adjust_of_page.copy()
        self._table[moved] = (adjust % (1 << 32)).astype(self._table.dtype)
        self._table[_PAGE_OF_MINUS_ZERO] = np.iinfo(self._table.dtype).max


class _Scratch:
    """What counting writes over again and again: fresh memory would cost more than what is computed in it."""

    def __init__(self) -> None:
        self.bins, self.high = np.empty(_BATCH, np.uint32), np.empty(_BATCH, bool)
        self.block = np.empty(_BLOCK, np.intp), np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32)


def _bits(scores: np.ndarray) -> np.ndarray:
    """The bits of float32, as uint32; -0.0 has those of 0.0."""
    return (scores + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0


def _pages_of(scores: np.ndarray) -> np.ndarray:
    """The pages of float32, each once."""
    return np.unique(_bits(scores) >> np.uint32(PAGE_BITS)).astype(np.intp)


def _bits_of_keys(keys: np.ndarray) -> np.ndarray:
    """The bits of the floats whose keys these are, as uint32."""
    bits = (keys ^ np.uint32(0x80000000)).view(np.int32)
    return (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32)


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
