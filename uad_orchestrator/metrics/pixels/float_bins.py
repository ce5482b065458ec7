"""Which bin a float32 falls into: pages of neighbouring floats, cut into the wider bins the more pages there are.

A float32 becomes an integer key that sorts like the float (its bits, sign-fixed). The 2^32 keys are cut into
pages of 2^16 (an octave of floats is 128 pages). The pages in which a score was seen are cut into equal bins of
``2^shift`` keys; the shift follows from the number of these pages alone.

Inside, a page is the upper half of a float's bits as they are, and below zero its bins run backwards: turning every
score into its key would cost more than counting it.
"""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

PAGE_BITS = 16
PAGE_KEYS = 1 << PAGE_BITS
N_PAGES = 1 << (32 - PAGE_BITS)
BINS_BITS = 16
"""log2 of the bins that the seen pages share."""
CAPACITY = 1 << (BINS_BITS + 1)
"""Bins there is room for: a page has two at least, so that very many pages have more together."""
BATCH = 1 << 19
"""Scores whose bins are found together, at most."""
BLOCK = 1 << 16
"""Of these a step takes so many at a time: what lies between two steps stays in the processor's cache."""
LONG_BLOCK = 1 << 18
"""So many where several threads count: between two steps they wait for each other, for the interpreter's lock."""
_BELOW_ZERO = N_PAGES // 2  # the first page below zero, where -0.0 lies
_AFTER_FINITE = 0x7F80  # the page of infinity
_SLACK = 128  # pages a span has beyond those seen, so that a score beyond them does not move all bins
_NO_BIN = np.uint32(2**32 - 1)  # odd, which multiples of a page's bins, two or more, never are
_HIGH = 1 if sys.byteorder == "little" else 0  # which half of a float's bits is its page


def float_keys(scores: np.ndarray) -> np.ndarray:
    """Order-preserving keys: a < b as floats exactly if key(a) < key(b); -0.0 and 0.0 share a key.

    Args:
        scores: (n,) float32, finite.

    Returns:
        (n,) uint32.
    """
    bits = float_bits(scores).view(np.int32)
    if bits.min(initial=0) < 0:
        mirrored = bits >> 31  # all ones where negative: larger magnitudes then sort lower
        mirrored &= np.int32(0x7FFFFFFF)
        bits ^= mirrored
    keys = bits.view(np.uint32)
    keys ^= np.uint32(0x80000000)
    return keys


def scores_of_keys(keys: np.ndarray) -> np.ndarray:
    """The inverse of ``float_keys``, as float64."""
    return bits_of_keys(keys).view(np.float32).astype(np.float64)


def float_bits(scores: np.ndarray) -> np.ndarray:
    """The bits of (n,) float32, as uint32; -0.0 has those of 0.0."""
    return (scores + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0


def bits_of_keys(keys: np.ndarray) -> np.ndarray:
    """The bits of the floats whose keys these are, as uint32."""
    bits = (keys ^ np.uint32(0x80000000)).view(np.int32)
    return (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32)


def pages_of(bits: np.ndarray) -> np.ndarray:
    """The pages of floats by their bits, each page once, ascending."""
    return np.flatnonzero(np.bincount(bits >> np.uint32(PAGE_BITS)))


def bin_shift(n_pages: int) -> int:
    """log2 of the keys per bin where ``n_pages`` pages share ``2^BINS_BITS`` bins; it only grows with them.

    >>> bin_shift(0), bin_shift(1), bin_shift(3), bin_shift(N_PAGES)
    (0, 0, 2, 15)
    """
    return min(PAGE_BITS - 1, max(0, max(0, n_pages - 1).bit_length() + PAGE_BITS - BINS_BITS))


class Scratch:
    """What is written over again and again: fresh memory would cost more than what is computed in it.

    Args:
        block: how many scores a step takes at a time.

    Attributes:
        scores: (BATCH,) float32, where scores may be laid together.
        bins: (BATCH,) uint32, where bins are found.
        high: (BATCH,) bool, which scores are at least as high as was asked.
    """

    def __init__(self, block: int = BLOCK) -> None:
        self.block = block
        self.scores = np.empty(BATCH, np.float32)
        self.bins, self.high = np.empty(BATCH, np.uint32), np.empty(BATCH, bool)
        self.pages, self.shifted = np.empty(block, np.intp), np.empty(block, np.uint32)


@dataclass(frozen=True)
class Span:
    """All pages between two magnitudes, above zero or on both sides of it: a bin is found by adding two numbers.

    Attributes:
        first, end: pages of the magnitudes, ``[first, end)``.
        both_sides: whether there are those below zero, too, behind the others.
    """

    first: int
    end: int
    both_sides: bool

    @classmethod
    def around(cls, seen: np.ndarray, most_pages: int) -> Span | None:
        """The span of some pages, and a little more; None where it would have more pages than allowed."""
        if not seen.size:
            return None
        both_sides = bool((seen >= _BELOW_ZERO).any())
        magnitudes = seen % _BELOW_ZERO
        first, end = int(magnitudes.min()), int(magnitudes.max()) + 1
        spare = most_pages // (1 + both_sides) - (end - first)
        lowest = 1 if both_sides else 0  # -0.0 would be counted below zero
        if spare < 0 or first < lowest:
            return None
        slack = min(spare // 2, _SLACK)
        return cls(max(lowest, first - slack), min(_AFTER_FINITE, end + slack), both_sides)

    @property
    def pages(self) -> np.ndarray:
        """Its pages, in the order of their bins."""
        above = np.arange(self.first, self.end)
        return np.concatenate([above, above + _BELOW_ZERO]) if self.both_sides else above

    def holds(self, scores: np.ndarray, magnitudes: np.ndarray) -> bool:
        """Whether all of (n,) float32 lie in it.

        Args:
            magnitudes: (n,) float32, written over.
        """
        if self.both_sides:
            scores = np.abs(scores, out=magnitudes)
        first, end = (np.array([self.first, self.end], np.uint32) << np.uint32(PAGE_BITS)).view(np.float32)
        return bool(scores.min() >= first and scores.max() < end)


class BinLayout:
    """The bins of all pages in which a score was seen. It does not change.

    Attributes:
        seen: (n,) intp, the pages in which a score was seen.
        is_seen: (N_PAGES,) bool, the same.
        unseen_rows: the other pages that have bins, by their rows.
        shift: log2 of the keys per bin.
        per_page: bins of a page.
        pages: (m,) intp, the pages that have bins, in their order: those seen, in the order in which they were, or all
            of a span around them.
        size: how many bins there are.
        kind: the integers that number them, uint16 or uint32.
    """

    def __init__(self, seen: np.ndarray) -> None:
        self.shift = bin_shift(seen.size)
        self.per_page = PAGE_KEYS >> self.shift
        self._span = Span.around(seen, PAGE_KEYS // self.per_page)
        self.pages = seen if self._span is None else self._span.pages
        self.size = self.pages.size * self.per_page
        self.kind = np.uint16 if self.size <= PAGE_KEYS else np.uint32
        # a bin is (bits >> shift) + that of its page, modulo 2^32
        self._adjust = np.full(N_PAGES, _NO_BIN, np.uint32)
        self._adjust[self.pages] = ((np.arange(self.pages.size) - self.pages) * self.per_page) % (1 << 32)
        self._set_seen(seen)

    def with_pages(self, pages: np.ndarray) -> BinLayout:
        """The bins where a score was seen in these pages, too; itself, where it was."""
        new = pages[~self.is_seen[pages]]
        if not new.size:
            return self
        seen = np.concatenate([self.seen, new])
        if bin_shift(seen.size) != self.shift or self._adjust[new].max() == _NO_BIN:
            return BinLayout(seen)
        same_bins = copy(self)
        same_bins._set_seen(seen)
        return same_bins

    def _set_seen(self, seen: np.ndarray) -> None:
        self.seen, self.is_seen = seen, np.zeros(N_PAGES, bool)
        self.is_seen[seen] = True
        self.unseen_rows = np.flatnonzero(~self.is_seen[self.pages])

    def continues(self, other: BinLayout) -> bool:
        """Whether all bins of the other are where they were."""
        pages = self.pages[: other.pages.size]
        return (self.shift, self.kind) == (other.shift, other.kind) and np.array_equal(pages, other.pages)

    def rows(self, pages: np.ndarray) -> np.ndarray:
        """Where pages that have bins stand among all that have."""
        return self.bins_of((pages << PAGE_BITS).astype(np.uint32)) // self.per_page

    def bins_of(self, bits: np.ndarray) -> np.ndarray:
        """The bins of floats by their bits, as uint32; all of them on pages that have bins, and none -0.0."""
        return self._adjust[bits >> np.uint32(PAGE_BITS)] + (bits >> np.uint32(self.shift))

    def bins(self, scores: np.ndarray, floor: np.float32, scratch: Scratch) -> tuple[np.ndarray, np.ndarray]:
        """The bins of many scores, fast; besides, ``scratch.high`` says which are at least ``floor``.

        Args:
            scores: (n,) float32, finite, at least one and at most ``BATCH``.
            floor: the least score that is high.
            scratch: written over, but for its scores.

        Returns:
            (n,) uint16, or uint32 where there are more bins than it can number, in the scratch; and the places of
            scores whose bins are not found here: on pages without bins, or -0.0.
        """
        bins, unknown = scratch.bins.view(self.kind)[: scores.size], [np.empty(0, np.intp)]
        for start in range(0, scores.size, scratch.block):
            part = slice(start, start + scratch.block)
            np.greater_equal(scores[part], floor, out=scratch.high[: scores.size][part])
            if self._span is None or not self._find_in_span(self._span, scores[part], bins[part], scratch):
                unknown.append(start + self._find_by_page(scores[part], bins[part], scratch))
        return bins, np.concatenate(unknown)

    def ascending(self) -> tuple[np.ndarray, np.ndarray]:
        """All bins, ascending by key, and the first key of each."""
        below_zero = self.pages >= _BELOW_ZERO
        key_pages = np.where(below_zero, N_PAGES - 1 - self.pages, self.pages + _BELOW_ZERO)
        bins = np.arange(self.size).reshape(self.pages.size, self.per_page)
        bins[below_zero] = bins[below_zero, ::-1]
        first_keys = (np.sort(key_pages)[:, None] << PAGE_BITS) + (np.arange(self.per_page) << self.shift)
        return bins[np.argsort(key_pages)].ravel(), first_keys.ravel().astype(np.uint32)

    @cached_property
    def _table(self) -> np.ndarray:
        """``_adjust`` in the integers of the bins, without the page of -0.0, which counts as 0.0."""
        table = self._adjust.astype(self.kind)
        table[_BELOW_ZERO] = np.iinfo(self.kind).max
        return table

    def _find_in_span(self, span: Span, scores: np.ndarray, bins: np.ndarray, scratch: Scratch) -> bool:
        """Whether all scores lie in the span; if so, their bins are found."""
        shifted, signs = scratch.shifted[: scores.size], scratch.pages.view(np.int32)[: scores.size]
        if not span.holds(scores, shifted.view(np.float32)):
            return False
        np.right_shift(scores.view(np.uint32), np.uint32(self.shift), out=shifted)
        if span.both_sides:
            below = (
                span.end - span.first - _BELOW_ZERO
            ) * self.per_page  # bins below zero are so much further on
            np.right_shift(scores.view(np.int32), np.int32(31), out=signs)  # all ones below zero
            signs &= np.int32(below)
            shifted += signs.view(np.uint32)
        np.copyto(bins, shifted, casting="unsafe")
        bins += self._adjust[span.first].astype(self.kind)
        return True

    def _find_by_page(self, scores: np.ndarray, bins: np.ndarray, scratch: Scratch) -> np.ndarray:
        """Find the bins of scores page by page; returns the places of those that are not found."""
        bits, shifted, pages = (
            scores.view(np.uint32),
            scratch.shifted[: scores.size],
            scratch.pages[: scores.size],
        )
        pages[:] = bits.view(np.uint16)[_HIGH::2]
        self._table.take(pages, out=bins, mode="wrap")  # never wraps: take's fastest mode
        unknown = np.flatnonzero(bins == np.iinfo(self.kind).max)
        np.right_shift(bits, np.uint32(self.shift), out=shifted)
        within = pages.view(self.kind)[: scores.size]
        np.copyto(within, shifted, casting="unsafe")
        bins += within
        return unknown
