"""Outlier weights against scikit-learn and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import LocalOutlierFactor

from tests.memory.devices import DEVICES
from uad_orchestrator.memory import device as device_module
from uad_orchestrator.memory import outlier_weights as module
from uad_orchestrator.memory.outlier_weights import feature_space_lof, outlier_weights


def points(images: int, locations: int, p: int, seed: int = 0, offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((images, locations, p)) + offset).astype(np.float32)


@settings(max_examples=25)
@given(
    images=st.integers(8, 30),
    k=st.integers(1, 7),
    p=st.integers(1, 10),
    offset=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0, 10**6),
)
def test_lof_is_scikit_learns_at_each_location(images: int, k: int, p: int, offset: float, seed: int) -> None:
    given_points = points(images, 3, p, seed, offset)
    weights = outlier_weights(given_points, "lof", k)
    for location in range(3):
        model = LocalOutlierFactor(n_neighbors=k, algorithm="kd_tree").fit(
            given_points[:, location].astype(np.float64)
        )
        np.testing.assert_allclose(weights[:, location], -model.negative_outlier_factor_, rtol=1e-4)


def test_nearest_and_gaussian_are_what_the_paper_says() -> None:
    given_points = points(20, 5, 4)
    nearest, gaussian = (outlier_weights(given_points, name) for name in ("nearest", "gaussian"))
    for location in range(5):
        at = given_points[:, location].astype(np.float64)
        between = np.linalg.norm(at[:, None] - at[None], axis=2)
        np.testing.assert_allclose(nearest[:, location], np.sort(between)[:, :2].sum(axis=1) + 1, rtol=1e-5)
        inverse = np.linalg.inv(np.cov(at, rowvar=False) + 0.01 * np.eye(4))
        away = at - at.mean(axis=0)
        mahalanobis = np.sqrt([row @ inverse @ row for row in away])
        np.testing.assert_allclose(gaussian[:, location], mahalanobis + 1, rtol=1e-5)


@pytest.mark.parametrize("discriminator", ["lof", "nearest", "gaussian"])
def test_in_blocks_as_at_once(discriminator: module.Discriminator, monkeypatch: pytest.MonkeyPatch) -> None:
    given_points = points(12, 9, 5)
    at_once = outlier_weights(given_points, discriminator)
    monkeypatch.setattr(module, "BLOCK_VALUES", 300)
    np.testing.assert_allclose(outlier_weights(given_points, discriminator), at_once, rtol=1e-6)


def test_each_block_has_the_rows_that_the_one_before_it_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 300)
    blocks: list[slice] = []
    module.in_row_blocks(8, 100, "cpu", blocks.append)
    assert [list(range(8))[block] for block in blocks] == [[0, 1, 2], [3, 4, 5], [6, 7]]


@pytest.mark.parametrize("discriminator", ["lof", "nearest", "gaussian"])
def test_on_the_cpu_numpy_compares(
    discriminator: module.Discriminator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for with_torch in ("location_neighbours", "mahalanobis", "nearest_of_images"):
        monkeypatch.setattr(module, with_torch, None)
    assert np.isfinite(outlier_weights(points(9, 2, 3), discriminator)).all()
    assert np.isfinite(feature_space_lof(points(1, 40, 3)[0], np.arange(0, 41, 5))).all()


def test_equal_patches_are_no_outliers_of_each_other() -> None:
    given_points = np.repeat(points(1, 4, 6, offset=1000.0), 10, axis=0)
    np.testing.assert_allclose(outlier_weights(given_points, "lof", 3), 1.0)
    np.testing.assert_allclose(outlier_weights(given_points, "nearest"), 1.0)


@pytest.mark.parametrize(("discriminator", "images"), [("lof", 6), ("nearest", 1), ("gaussian", 1)])
def test_too_few_images(discriminator: module.Discriminator, images: int) -> None:
    with pytest.raises(ValueError, match=f"there are {images} images"):
        outlier_weights(points(images, 2, 3), discriminator, 6)


def brute_force_lof(rows: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """The definition: neighbours are the nearest patch of each of the k other images that come closest."""
    between = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    neighbours, distances = [], []
    for i in range(len(rows)):
        nearest = [
            min(np.flatnonzero(own == image), key=lambda j: between[i, j])
            for image in np.unique(own)
            if image != own[i]
        ]
        chosen = sorted(nearest, key=lambda j: between[i, j])[:k]
        neighbours.append(chosen)
        distances.append(between[i, chosen])
    reach = [d[-1] for d in distances]
    density = np.array(
        [
            1 / np.mean([max(d, reach[j]) for d, j in zip(distances[i], neighbours[i], strict=True)])
            for i in range(len(rows))
        ]
    )
    return np.array([density[neighbours[i]].mean() / density[i] for i in range(len(rows))])


def test_the_views_of_an_image_are_no_neighbours_of_each_other() -> None:
    rng = np.random.default_rng(3)
    parts = points(9, 4, 5)
    given_points = np.repeat(parts, 3, axis=0) + 0.1 * rng.standard_normal((27, 4, 5)).astype(np.float32)
    own = np.repeat(np.arange(9), 3)
    lof, nearest = (outlier_weights(given_points, name, 4, views=3) for name in ("lof", "nearest"))
    for location in range(4):
        rows = given_points[:, location].astype(np.float64)
        np.testing.assert_allclose(lof[:, location], brute_force_lof(rows, own, 4), rtol=1e-4)
        between = np.linalg.norm(rows[:, None] - rows[None], axis=2)
        between[own[:, None] == own] = np.inf
        np.testing.assert_allclose(nearest[:, location], between.min(axis=1) + 1, rtol=1e-5)
    with pytest.raises(ValueError, match="there are 9 images"):
        outlier_weights(given_points, "lof", 9, views=3)


def test_feature_space_lof_is_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 400)
    starts = np.array([0, 5, 9, 16, 20, 26])
    rows = points(1, 26, 4)[0]
    own = np.repeat(np.arange(5), np.diff(starts))
    found = feature_space_lof(rows, starts, k=3)
    np.testing.assert_allclose(found, brute_force_lof(rows.astype(np.float64), own, 3), rtol=1e-4)


def test_feature_space_lof_on_a_sample_of_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFERENCES", 200)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20 * 40, 3)).astype(np.float32)
    rows[::97] += 30
    starts = np.arange(21) * 40
    found = feature_space_lof(rows, starts, k=5, seed=1)
    assert found[::97].min() > np.quantile(np.delete(found, slice(None, None, 97)), 0.99)
    assert not np.array_equal(found, feature_space_lof(rows, starts, k=5, seed=2))
    with pytest.raises(ValueError, match="5 other images, but there are 5 images"):
        feature_space_lof(rows[:200], starts[:6], k=5)


def test_what_is_left_out_is_six_neighbours_and_seed_0(monkeypatch: pytest.MonkeyPatch) -> None:
    given_points = points(9, 3, 4)
    assert np.array_equal(outlier_weights(given_points, "lof"), outlier_weights(given_points, "lof", 6, 1))
    monkeypatch.setattr(module, "REFERENCES", 60)
    rows, starts = given_points.repeat(4, axis=1).reshape(108, 4), np.arange(10) * 12
    found = feature_space_lof(rows, starts)
    assert np.array_equal(found, feature_space_lof(rows, starts, 6, 0)), "and a seed gives one sample"
    assert not np.array_equal(found, feature_space_lof(rows, starts, 5, 0))
    assert (found.dtype, outlier_weights(given_points, "lof").dtype) == (np.float32, np.float32)


def test_two_images_are_enough_for_what_needs_one_neighbour() -> None:
    given_points = np.float32([[[0, 0], [1, 1]], [[3, 4], [1, 1]]])
    assert outlier_weights(given_points, "nearest", 6).tolist() == [[6, 1], [6, 1]]
    # mean (1.5, 2), covariance 12.5 along (3, 4) / 5, so that each lies 2.5 away: 2.5^2 / (12.5 + 0.01)
    gaussian = outlier_weights(given_points, "gaussian", 6)
    np.testing.assert_allclose(gaussian, [[1 + np.sqrt(6.25 / 12.51), 1]] * 2, rtol=1e-6)


def test_columns_far_from_the_origin_do_not_blur_the_feature_space() -> None:
    rows, starts = points(1, 40, 4)[0], np.arange(9) * 5
    far = rows + np.float32([0, 3e3, -3e3, 1e4])
    own = np.repeat(np.arange(8), 5)
    expected = brute_force_lof(far.astype(np.float64), own, 3)
    np.testing.assert_allclose(feature_space_lof(far, starts, k=3), expected, rtol=5e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("discriminator", ["lof", "nearest", "gaussian"])
def test_on_a_device_as_on_the_cpu(
    discriminator: module.Discriminator, views: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_points = points(24, 11, 7, offset=30.0)
    given_points[4:6] = given_points[2]  # duplicates
    expected = outlier_weights(given_points, discriminator, 5, views)
    for block in (10**7, 40_000):
        monkeypatch.setattr(device_module, "BLOCK_VALUES", block)
        monkeypatch.setattr(device_module, "LARGEST_BLOCK", block)
        found = outlier_weights(given_points, discriminator, 5, views, device=device)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_the_feature_space_on_a_device_as_on_the_cpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFERENCES", 60)
    rows, starts = points(1, 150, 6)[0], np.array([0, 20, 21, 50, 80, 100, 149, 150])
    expected = feature_space_lof(rows, starts, 3, 1)
    for block in (10**6, 3000):
        monkeypatch.setattr(device_module, "BLOCK_VALUES", block)
        monkeypatch.setattr(device_module, "LARGEST_BLOCK", block)
        np.testing.assert_allclose(feature_space_lof(rows, starts, 3, 1, device=device), expected, rtol=1e-5)


def test_a_device_without_float64_leaves_it_to_the_cpu() -> None:
    given_points = points(9, 3, 4)
    found = outlier_weights(given_points, "lof", device="mps:0")
    assert np.array_equal(found, outlier_weights(given_points, "lof"))
