"""The pixel metrics without each image, from outlines, against counting all pixels of all other images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.made_pixels import map_sets, smooth_maps
from uad_orchestrator.metrics.pixels import left_out
from uad_orchestrator.metrics.pixels.counts import PixelCounts
from uad_orchestrator.metrics.pixels.left_out import CountsPerImage, outline_of, points_of
from uad_orchestrator.metrics.pixels.spro import Channel
from uad_orchestrator.metrics.pixels.weighed_pixels import weighed_by_channels, weighed_by_regions

LIMITS = (0.3, 0.05)
KINDS = ["good", "hole"] * 12


@pytest.mark.parametrize("overlap", ["pro", "spro"])
@pytest.mark.parametrize(
    ("points", "error", "alike", "spread"), [(16, 0.03, 0.97, 0.15), (128, 0.01, 0.999, 0.05)]
)
def test_figures_without_an_image_move_as_those_of_all_pixels_do(
    overlap: str, points: int, error: float, alike: float, spread: float
) -> None:
    maps, masks = smooth_maps(24, 64, seed=4)
    channels = [[Channel(mask, int(mask.sum()) // 2 + 1)] if mask.any() else [] for mask in masks]
    weighed = [
        weighed_by_regions(one, mask) if overlap == "pro" else weighed_by_channels(one, own)
        for one, mask, own in zip(maps, masks, channels, strict=True)
    ]
    counts = CountsPerImage.of([outline_of(pixels, points) for pixels in weighed], KINDS)
    found = counts.without_each(overlap, LIMITS)
    exact: dict[str, list[float]] = {name: [] for name in found}
    for left in range(24):
        counted = PixelCounts(overlap)
        for place, pixels in enumerate(weighed):
            if place != left:
                counted.add(pixels)
        for name, value in counted.compute(LIMITS).items():
            if name in exact:
                exact[name].append(value)
    assert len(exact) == 5
    for name, values in exact.items():
        assert found[name] == pytest.approx(values, abs=error), name
        assert np.corrcoef(found[name], values)[0, 1] > alike, name
        assert np.std(found[name]) == pytest.approx(np.std(values), rel=spread), name


@given(map_sets(st.floats(-1, 1, width=32)), st.integers(4, 20))
def test_whatever_the_maps_all_pixels_are_counted(sets: tuple[np.ndarray, np.ndarray], points: int) -> None:
    maps, masks = sets
    outlines = [outline_of(weighed_by_regions(*pair), points) for pair in zip(maps, masks, strict=True)]
    counts = CountsPerImage.of(outlines, [str(i) for i in range(len(maps))])
    assert counts.normals[:, -1].tolist() == [(~mask).sum() for mask in masks]
    assert counts.defects[:, -1].tolist() == [mask.sum() for mask in masks]
    regions = [weighed_by_regions(*pair).n_regions for pair in zip(maps, masks, strict=True)]
    assert counts.weights[:, -1] == pytest.approx(regions)
    for part in (counts.normals, counts.defects, counts.weights):
        assert (part[:, 0] == 0).all() and (np.diff(part) >= -1e-9).all(), "from the highest score down"


def test_of_very_many_images_of_a_kind_several_are_left_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, masks = smooth_maps(24, 32, seed=1)
    outlines = [outline_of(weighed_by_regions(*pair), 32) for pair in zip(maps, masks, strict=True)]
    single = CountsPerImage.of(outlines, KINDS)
    monkeypatch.setattr(left_out, "UNITS", 5)
    several = CountsPerImage.of(outlines, KINDS)
    assert sorted(several.kinds) == ["good"] * 5 + ["hole"] * 5
    for one, more in ((single.normals, several.normals), (single.weights, several.weights)):
        np.testing.assert_allclose(one.sum(axis=0), more.sum(axis=0))
    good = np.flatnonzero(single.kinds == "good")
    first = several.normals[np.flatnonzero(several.kinds == "good")[0]]
    np.testing.assert_allclose(first, single.normals[good[[0, 5, 10]]].sum(axis=0))


def test_what_is_kept_of_all_images_is_bounded() -> None:
    assert points_of(50) == 128
    assert max(images * points_of(images) for images in (500, 1000, 5000, 8192)) <= left_out.SHARED_POINTS
    large = outline_of(weighed_by_regions(np.zeros((900, 900)), np.ones((900, 900), bool)), 16)
    assert large.defect_scores.size == large.weights.size == 16 and large.normals == 0
