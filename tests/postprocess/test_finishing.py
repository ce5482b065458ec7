"""Post-processing of maps against scipy and scikit-image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import disk

from uad_orchestrator.postprocess.finishing import (
    MapScale,
    Operation,
    clipped,
    morphology,
    normalised,
    structuring_element,
    without_small_regions,
)

MAP = np.random.default_rng(0).gamma(2.0, 1.0, (41, 56)).astype(np.float32)
SCIPY = {
    "opening": ndimage.grey_opening,
    "closing": ndimage.grey_closing,
    "dilation": ndimage.grey_dilation,
    "erosion": ndimage.grey_erosion,
}


@pytest.mark.parametrize("operation", SCIPY)
@pytest.mark.parametrize(("size", "shape"), [(3, "disk"), (7, "disk"), (5, "square"), (1, "square")])
def test_morphology_is_scipys(operation: Operation, size: int, shape: str) -> None:
    found = morphology(MAP, operation, size, shape)  # type: ignore[arg-type]
    footprint = disk(size // 2) if shape == "disk" else np.ones((size, size))
    assert found.dtype == np.float32
    assert np.array_equal(found, SCIPY[operation](MAP, footprint=footprint))


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_the_disk_is_scikit_images(size: int) -> None:
    assert np.array_equal(structuring_element(size, "disk"), disk(size // 2))


def test_normalised_normals_have_mean_0_and_spread_1_and_ranks_stay() -> None:
    found = normalised(MAP, MapScale(float(MAP.mean()), float(MAP.std())))
    assert found.dtype == np.float32
    assert abs(found.mean()) < 1e-5 and abs(found.std() - 1) < 1e-5
    assert np.array_equal(
        np.argsort(found, axis=None, kind="stable"), np.argsort(MAP, axis=None, kind="stable")
    )


def test_constant_normal_maps_are_only_shifted() -> None:
    assert normalised(np.full((2, 2), 3.0), MapScale(2.0, 0.0)).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_clipping_holds_either_side() -> None:
    assert np.array_equal(clipped(MAP, 1.0, 2.0), np.clip(MAP, 1, 2))
    assert clipped(MAP, None, 2.0).min() == MAP.min()
    assert clipped(MAP, 1.0, None).dtype == np.float32


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), threshold=st.floats(1.0, 5.0), min_area=st.integers(1, 12))
def test_small_regions_are_lowered_to_the_threshold(seed: int, threshold: float, min_area: int) -> None:
    scores = np.random.default_rng(seed).gamma(2.0, 1.0, (20, 26)).astype(np.float32)
    found = without_small_regions(scores, threshold, min_area)
    regions, n = ndimage.label(scores.astype(np.float64) > threshold, structure=np.ones((3, 3)))
    areas = ndimage.sum_labels(regions > 0, regions, range(n + 1))
    small = (regions > 0) & (areas[regions] < min_area)
    assert found.dtype == np.float32
    assert np.array_equal(found[~small], scores[~small])
    assert not (found[small].astype(np.float64) > threshold).any()
    np.testing.assert_allclose(found[small], threshold, rtol=1e-6)


def test_without_a_threshold_nothing_is_a_region() -> None:
    assert np.array_equal(without_small_regions(MAP, float("nan"), 1000), MAP)
