"""The bins below PixelCounts: keys that sort like floats, shifts that only grow, counts that lose nothing."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uad_orchestrator.metrics.pixels import score_histogram, top_scores
from uad_orchestrator.metrics.pixels.float_bins import (
    CAPACITY,
    N_PAGES,
    PAGE_KEYS,
    bin_shift,
    float_keys,
    scores_of_keys,
)
from uad_orchestrator.metrics.pixels.score_histogram import ScoreHistogram
from uad_orchestrator.metrics.pixels.top_scores import TopScores

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
NOTHING = np.empty(0, np.int64)


@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_keys_sort_like_their_floats_and_come_back(values: list[float]) -> None:
    scores = np.array(values, np.float32)
    keys = float_keys(scores)
    np.testing.assert_array_equal(scores_of_keys(keys), scores.astype(np.float64))
    np.testing.assert_array_equal(
        np.less.outer(keys, keys), np.less.outer(scores, scores), err_msg="order of keys and floats"
    )


def test_bins_only_grow_with_the_pages_and_all_pages_fit() -> None:
    shifts = [bin_shift(n) for n in range(1, N_PAGES + 1)]
    assert np.all(np.diff(shifts) >= 0)
    assert max(n * (PAGE_KEYS >> shift) for n, shift in enumerate(shifts, 1)) <= CAPACITY


def test_scores_that_are_all_positive_are_counted_as_such() -> None:
    scores = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    at_once, each = ScoreHistogram(), ScoreHistogram()
    at_once.add_positives(scores, 7)
    each.add(scores, np.arange(scores.size), np.full(scores.size, 7))
    expected = each.to_arrays()
    for name, array in at_once.to_arrays().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_every_page_can_be_kept() -> None:
    """Also where a page's bins begin right behind those of the page before it, as if they were numbered by key."""
    histogram = ScoreHistogram()
    bits = np.arange(0x0080, 0x7F80, dtype=np.uint32)  # one score in each page of the positive numbers
    scores = (bits << np.uint32(16)).view(np.float32)
    histogram.add(scores, NOTHING, NOTHING)
    histogram.add(-scores, NOTHING, NOTHING)
    arrays = histogram.to_arrays()
    assert arrays["totals"].sum() == 2 * scores.size == arrays["first_keys"].size


@given(st.lists(st.lists(FLOATS, max_size=30), max_size=6), st.sampled_from([4, 1 << 18]))
@example([[0.0, 0.0, 0.0, 0.0, 1.0, -(2.0**-149), -(2.0**-148)]], 4)
@settings(max_examples=150)
def test_every_score_is_counted_between_its_groups_bounds(batches: list[list[float]], top: int) -> None:
    histogram = ScoreHistogram()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(top_scores, "TOP", top)
        patched.setattr(top_scores, "KEPT", 2 * top)
        patched.setattr(score_histogram, "STRIDE", 1)
        for batch in batches:
            histogram.add(np.array(batch, np.float32), NOTHING, NOTHING)
        groups = histogram.groups()
    scores = np.sort(np.array(list(chain(*batches)), np.float32).astype(np.float64))
    counts = [
        int(((scores >= low) & (scores <= high)).sum())
        for low, high in zip(groups.lowest, groups.highest, strict=True)
    ]
    assert groups.negatives.tolist() == counts
    assert sum(counts) == scores.size
    distinct = [
        np.unique(scores[(scores >= low) & (scores <= high)]).size
        for low, high in zip(groups.lowest, groups.highest, strict=True)
    ]
    assert not np.any((np.array(distinct) > 1) & ~groups.mixed)
    if scores.size <= top:
        assert distinct == [1] * len(distinct)


@given(st.lists(st.sampled_from([-3.0, 0.0, 0.5, 0.5000001, 2.0, 8.0, 9.0]), max_size=60), st.integers(0, 60))
@settings(max_examples=100)
def test_the_highest_scores_are_kept_by_whole_values_in_any_order(values: list[float], cut: int) -> None:
    keys = float_keys(np.array(values, np.float32))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(top_scores, "KEPT", 10)
        whole, first, second = TopScores(), TopScores(), TopScores()
        whole.add(keys, keys[::3], np.full(keys[::3].size, 5))
        for part, chosen in ((first, slice(None, cut)), (second, slice(cut, None))):
            for key in keys[chosen][::-1]:
                part.add(np.array([key]), NOTHING.astype(np.uint32), NOTHING)
        second.add(NOTHING.astype(np.uint32), keys[::3], np.full(keys[::3].size, 5))
        second.add_arrays(first.to_arrays())
        found, parts = whole.to_arrays(), second.to_arrays()
    for name, array in found.items():
        np.testing.assert_array_equal(parts[name], array, err_msg=name)
    distinct, counts = np.unique(keys, return_counts=True)
    kept = np.cumsum(counts[::-1])[::-1] <= 10
    np.testing.assert_array_equal(found["top_keys"], distinct[kept])
    np.testing.assert_array_equal(found["top_totals"], counts[kept])
    assert found["top_weights"].sum() == 5 * found["top_positives"].sum()


def test_laying_bins_out_anew_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    histogram, everything = ScoreHistogram(), []
    for exponent in range(-60, 60):  # each batch brings new pages
        scores = (rng.uniform(1, 2, 512) * 2.0**exponent * rng.choice([-1, 1], 512)).astype(np.float32)
        positive = np.flatnonzero(rng.random(512) < 0.3)
        histogram.add(scores, positive, np.full(positive.size, 7))
        everything.append((scores, positive))
    at_once = ScoreHistogram()
    scores = np.concatenate([s for s, _ in everything])
    positive = np.concatenate([p + 512 * i for i, (_, p) in enumerate(everything)])
    at_once.add(scores, positive, np.full(positive.size, 7))
    for name, array in at_once.to_arrays().items():
        np.testing.assert_array_equal(histogram.to_arrays()[name], array, err_msg=name)
    assert histogram.to_arrays()["weights"].sum() == 7 * positive.size
