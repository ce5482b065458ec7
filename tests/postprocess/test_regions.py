"""Regions of anomaly maps, against scipy's labelling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from uad_orchestrator.postprocess.regions import find_regions


@given(arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 9)))
def test_regions_are_scipys(anomaly_map: np.ndarray) -> None:
    mask = anomaly_map > 5
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    expected = set()
    for number in range(1, count + 1):
        rows, columns = np.nonzero(labels == number)
        values = anomaly_map[rows, columns]
        at = int(values.argmax())  # reading order: the first of equals
        expected.add(
            (
                (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1),
                len(rows),
                float(values.max()),
                (rows[at], columns[at]),
                pytest.approx(values.mean(dtype=np.float64)).expected,
            )
        )
    found = find_regions(anomaly_map, mask)
    assert {(tuple(r.box), r.area, r.peak, r.peak_at, r.mean) for r in found} == expected
    peaks = [region.peak for region in found]
    assert peaks == sorted(peaks, reverse=True)


def test_diagonal_neighbours_are_one_region() -> None:
    assert len(find_regions(np.eye(4), np.eye(4) > 0)) == 1


def test_a_calm_map_has_no_regions() -> None:
    assert find_regions(np.zeros((5, 6)), np.zeros((5, 6), bool)) == ()


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        find_regions(np.zeros((2, 3)), np.zeros((3, 2), bool))
