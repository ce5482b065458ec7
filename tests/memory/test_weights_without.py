"""Outlier weights without some images, against the weights of the others alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.memory.devices import DEVICES
from uad_orchestrator.memory.outlier_weights import feature_space_lof, outlier_weights
from uad_orchestrator.memory.weights_without import KnownNeighbours, known_anywhere, known_at_places

SPANS = [slice(0, 1), slice(4, 5), slice(2, 5), slice(8, 11)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("views", [1, 2])
def test_at_their_places_they_are_those_of_the_others(views: int, device: str) -> None:
    points = np.random.default_rng(0).standard_t(3, (11 * views, 7, 5)).astype(np.float32)
    factors = known_at_places(points, 4, views, most=3, device=device)
    nearest = known_at_places(points, 1, views, most=3, device=device)
    for span in SPANS:
        left = np.delete(np.arange(11 * views), np.r_[span.start * views : span.stop * views])
        for found, way in ((factors.lof(span), "lof"), (nearest.nearest(span), "nearest")):
            assert found is not None
            expected = outlier_weights(points[left], way, 4, views)
            np.testing.assert_allclose(found.reshape(-1, 7)[left], expected, rtol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_wherever_they_lie_they_are_those_of_the_others(device: str) -> None:
    starts = np.cumsum([0, 6, 9, 5, 7, 8, 6, 6, 9, 5, 7, 6])
    points = np.random.default_rng(1).standard_t(3, (starts[-1], 5)).astype(np.float32)
    known = known_anywhere(points, starts, 4, seed=0, most=3, device=device)
    for span in SPANS:
        left = np.delete(np.arange(len(points)), np.r_[starts[span.start] : starts[span.stop]])
        counts = np.delete(np.diff(starts), np.r_[span])
        expected = feature_space_lof(points[left], np.cumsum([0, *counts]), 4)
        found = known.lof(span)
        assert found is not None
        np.testing.assert_allclose(found[left], expected, rtol=1e-4)


def test_fewer_neighbours_are_taken_where_fewer_are_left_and_nothing_where_none_is() -> None:
    points = np.random.default_rng(2).normal(size=(5, 3, 4)).astype(np.float32)
    known: KnownNeighbours = known_at_places(points, 4, 1, most=4)
    found = known.lof(slice(3, 5))
    assert found is not None
    np.testing.assert_allclose(found.reshape(5, 3)[:3], outlier_weights(points[:3], "lof", 2), rtol=1e-5)
    assert known.lof(slice(1, 5)) is None and known.nearest(slice(1, 5)) is None
