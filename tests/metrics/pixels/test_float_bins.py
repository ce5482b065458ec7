"""Bins found by span and by page are those of the keys, and what a layout has bins for only grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.metrics.pixels import float_bins
from uad_orchestrator.metrics.pixels.float_bins import (
    N_PAGES,
    BinLayout,
    Scratch,
    float_bits,
    float_keys,
    pages_of,
)

SCRATCH = Scratch()
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
CLOSE = st.floats(0.5, 40, width=32).flatmap(lambda x: st.sampled_from([x, -x, x / 3]))


def keys_of_bins(layout: BinLayout, bins: np.ndarray) -> np.ndarray:
    """The first key of each bin, by the order of all bins."""
    ascending, first_keys = layout.ascending()
    of_bin = np.zeros(layout.size, np.uint32)
    of_bin[ascending] = first_keys
    return of_bin[bins]


@given(st.lists(st.one_of(FLOATS, CLOSE), min_size=1, max_size=60), st.integers(0, 60))
def test_a_bin_holds_the_keys_that_begin_alike(values: list[float], cut: int) -> None:
    scores = np.array(values, np.float32)
    layout = BinLayout(pages_of(float_bits(scores[:cut])))
    bins, unknown = layout.bins(scores, np.float32(0), SCRATCH)
    known = np.setdiff1d(np.arange(scores.size), unknown)
    expected = float_keys(scores) >> layout.shift << layout.shift
    np.testing.assert_array_equal(keys_of_bins(layout, bins[known]), expected[known])
    np.testing.assert_array_equal(SCRATCH.high[: scores.size], scores >= 0)
    its_pages = scores[unknown].view(np.uint32) >> np.uint32(16)
    assert np.all(~np.isin(its_pages, layout.pages) | (its_pages == N_PAGES // 2))
    grown = layout.with_pages(pages_of(float_bits(scores[unknown])))
    np.testing.assert_array_equal(
        keys_of_bins(grown, grown.bins_of(float_bits(scores))),
        float_keys(scores) >> grown.shift << grown.shift,
    )


@pytest.mark.parametrize("sides", ["above", "both"])
def test_a_span_is_taken_where_it_fits_and_finds_what_pages_find(
    sides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.1, 10, 200_000).astype(np.float32)
    scores *= rng.choice([-1, 1], scores.size).astype(np.float32) if sides == "both" else 1
    layout = BinLayout(pages_of(float_bits(scores)))
    monkeypatch.setattr(BinLayout, "_find_by_page", lambda *_: pytest.fail("page by page"))
    found = layout.bins(scores, np.float32(0), SCRATCH)[0].copy()
    monkeypatch.undo()
    monkeypatch.setattr(float_bins.Span, "holds", lambda *_: False)
    by_page, unknown = layout.bins(scores, np.float32(0), SCRATCH)
    assert not unknown.size
    np.testing.assert_array_equal(found, by_page)


def test_a_score_just_beyond_the_span_is_not_found_in_it() -> None:
    octave = np.linspace(1, 2, 1000, dtype=np.float32)
    layout = BinLayout(pages_of(float_bits(np.concatenate([octave, -octave]))))
    span = layout._span
    assert span is not None
    ends = (np.array([span.first, span.end], np.uint32) << np.uint32(16)).view(np.float32)
    inside = np.array([ends[0], np.nextafter(ends[1], np.float32(0))], np.float32)
    outside = np.array([np.nextafter(ends[0], np.float32(0)), ends[1]], np.float32)
    for sign in (1, -1):
        assert not layout.bins(sign * inside, np.float32(0), SCRATCH)[1].size
        for score in outside:
            _, unknown = layout.bins(np.array([1, sign * score], np.float32), np.float32(0), SCRATCH)
            assert unknown.tolist() == [1]


def test_minus_zero_is_counted_with_zero() -> None:
    for others in ([], [-1.0], [2.0**-149]):
        scores = np.array([0.0, -0.0, *others], np.float32)
        layout = BinLayout(pages_of(float_bits(scores)))
        bins, unknown = layout.bins(scores, np.float32(0), SCRATCH)
        assert 1 in unknown or bins[0] == bins[1]
        both = layout.bins_of(float_bits(scores))
        assert both[0] == both[1]


def test_a_layout_that_has_bins_for_a_page_already_stays() -> None:
    layout = BinLayout(pages_of(float_bits(np.linspace(1, 2, 300, dtype=np.float32))))
    unseen = layout.pages[layout.unseen_rows[:1]]
    grown = layout.with_pages(unseen)
    assert grown.continues(layout)
    assert grown.seen.size == layout.seen.size + 1
    assert grown.unseen_rows.size == layout.unseen_rows.size - 1
    assert layout.with_pages(layout.seen) is layout
    assert not layout.with_pages(np.arange(N_PAGES // 4)).continues(layout)
