"""The bins below PixelCounts: keys that sort like floats, shifts that only grow, counts that lose nothing."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.metrics.score_histogram import (
    CAPACITY,
    N_PAGES,
    PAGE_KEYS,
    ScoreHistogram,
    float_keys,
    page_shifts,
    scores_of_keys,
)

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


@pytest.mark.parametrize("n_pages", [1, 4, 5, 16, 17, 255, 256, 257, 1000, 4096, 4097, 65535])
def test_shifts_only_grow_with_pages_and_with_rank(n_pages: int) -> None:
    shifts, wider = page_shifts(n_pages), page_shifts(n_pages + 1)
    assert np.all(np.diff(shifts.astype(int)) <= 0)
    assert np.all(wider[1:] >= shifts)  # a new page below: same rank from the top
    assert np.all(wider[:-1] >= shifts)  # a new page above: rank one lower


def test_any_number_of_pages_fits() -> None:
    needed = [
        int((PAGE_KEYS >> page_shifts(n)).sum()) for n in (*range(1, 3000), *range(3000, N_PAGES + 1, 97))
    ]
    assert max(needed) <= 0.7 * CAPACITY


@given(st.lists(st.lists(FLOATS, max_size=30), max_size=6))
@settings(max_examples=100, deadline=None)
def test_every_score_is_counted_between_its_bins_bounds(batches: list[list[float]]) -> None:
    histogram = ScoreHistogram()
    for batch in batches:
        histogram.add(np.array(batch, np.float32), NOTHING, NOTHING)
    scores = np.sort(np.array(list(chain(*batches)), np.float32).astype(np.float64))
    groups = histogram.groups()
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
    assert groups.mixed.tolist() == [n > 1 for n in distinct]


def test_running_out_of_room_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    histogram, everything = ScoreHistogram(), []
    for exponent in range(-60, 60):  # each batch brings new highest pages, at the finest resolution
        scores = (rng.uniform(1, 2, 500) * 2.0**exponent * rng.choice([-1, 1], 500)).astype(np.float32)
        positive = np.flatnonzero(rng.random(500) < 0.3)
        histogram.add(scores, positive, np.full(positive.size, 7))
        everything.append((scores, positive))
    at_once = ScoreHistogram()
    scores = np.concatenate([s for s, _ in everything])
    positive = np.concatenate([p + 500 * i for i, (_, p) in enumerate(everything)])
    at_once.add(scores, positive, np.full(positive.size, 7))
    for name, array in at_once.to_arrays().items():
        np.testing.assert_array_equal(histogram.to_arrays()[name], array, err_msg=name)
    assert histogram.to_arrays()["weights"].sum() == 7 * positive.size
