"""AUPIMO against its definition and against anomalib's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from tests.metrics.made_pixels import smooth_maps
from uad_orchestrator.metrics.pixels.pimo import AUPIMO_BOUNDS, NormalPixels

SIDE = 240


def maps_and_masks(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps, every second one with defects that overlap the highest normal scores."""
    return smooth_maps(n, SIDE, seed=seed, defect=5.0)


def counted(maps: np.ndarray) -> NormalPixels:
    pixels = NormalPixels()
    for anomaly_map in maps:
        pixels.update(anomaly_map)
    return pixels


def brute_force_aupimo(normals: list[np.ndarray], scores: np.ndarray, mask: np.ndarray) -> float:
    """A threshold per distinct score; between two of them the rate is that above the higher one."""
    lower, upper = AUPIMO_BOUNDS
    thresholds = np.unique(np.concatenate([scores[mask].ravel(), *(m.ravel() for m in normals)]))[::-1]
    kept = thresholds[:600]  # far more than the rates up to 1e-4 need here
    rates = np.mean([[np.mean(m >= t) for t in kept] for m in normals], axis=0)
    assert rates[-1] > upper
    found = np.array([np.mean(scores[mask] >= t) for t in kept])
    area = 0.0
    for k in range(1, kept.size):
        start, end = max(rates[k - 1], lower), min(rates[k], upper)
        if end > start:
            area += (found[k] + found[k - 1]) / 2 * math.log(end / start)
    return area / math.log(upper / lower)


def test_it_is_the_definition() -> None:
    maps, masks = maps_and_masks(8)
    rates = counted(maps[::2]).rates()
    scores = [rates.aupimo(m, mask) for m, mask in zip(maps[1::2], masks[1::2], strict=True)]
    expected = [
        brute_force_aupimo(list(maps[::2]), m, mask) for m, mask in zip(maps[1::2], masks[1::2], strict=True)
    ]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert 0.05 < np.mean(scores) < 0.95


def test_it_is_anomalibs() -> None:
    pytest.importorskip("anomalib", reason="anomalib is the oracle; pip install 'uad_orchestrator[anomalib]'")
    import torch
    from anomalib.metrics.pimo.pimo import _AUPIMO

    maps, masks = maps_and_masks(6, seed=1)
    oracle = _AUPIMO(num_thresholds=3000, return_average=False, force=True)
    oracle.update(torch.from_numpy(maps), torch.from_numpy(masks))
    expected = oracle.compute()[1].aupimos.numpy()[1::2]
    rates = counted(maps[::2]).rates()
    scores = [rates.aupimo(m, mask) for m, mask in zip(maps[1::2], masks[1::2], strict=True)]
    # anomalib starts and ends at the nearest rate it has, not at the bounds: 2 of 172,800 pixels are 1e-5
    assert scores == pytest.approx(expected, abs=0.03)


def anomalibs_procedure(
    maps: np.ndarray, masks: np.ndarray, num_thresholds: int | None, nearest_rates: bool = True
) -> np.ndarray:
    """Per-image AUPIMO step by step: anomalib's, or with the definition put in the place of its two approximations.

    Args:
        num_thresholds: so many between the least and the greatest normal score, evenly; None: one per score.
        nearest_rates: integrate between the rates nearest to the bounds; False: between the bounds.
    """
    normals = maps[~masks.any(axis=(1, 2))]
    if num_thresholds is None:
        thresholds = np.unique(maps)[::-1].astype(np.float64)
    else:
        thresholds = np.linspace(normals.min(), normals.max(), num_thresholds, dtype=np.float32)[::-1]
    rates = np.mean([share_from(m.ravel(), thresholds) for m in normals], axis=0)
    lower, upper = AUPIMO_BOUNDS
    found = []
    for anomaly_map, mask in zip(maps, masks, strict=True):
        if not mask.any():
            continue
        hits = share_from(anomaly_map[mask], thresholds)
        if nearest_rates:  # of equal ones anomalib takes the lowest threshold
            first, last = (rates.size - 1 - np.abs(rates[::-1] - bound).argmin() for bound in (lower, upper))
            x, y = rates[first : last + 1], hits[first : last + 1]
        else:
            inside = (rates > lower) & (rates < upper)
            ends = np.interp([lower, upper], rates, hits)
            x, y = np.r_[lower, rates[inside], upper], np.r_[ends[0], hits[inside], ends[1]]
        found.append(np.trapezoid(y, np.log(x)) / math.log(upper / lower))
    return np.clip(found, 0, 1)


def share_from(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of scores that are at least as high as each threshold."""
    return 1 - np.searchsorted(np.sort(scores), thresholds) / scores.size


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_parts_it_from_anomalibs_is_the_ends_and_the_thresholds_alone(seed: int) -> None:
    """On small maps few rates lie in the bounds: anomalib begins and ends at the nearest, and misses scores.

    Its own procedure gives its figures; with the bounds themselves and a threshold per score it gives ours.
    """
    pytest.importorskip("anomalib", reason="anomalib is the oracle; pip install 'uad_orchestrator[anomalib]'")
    import torch
    from anomalib.metrics.pimo.pimo import _AUPIMO

    maps, masks = maps_and_masks(6, seed=seed)
    thresholds = 3000
    oracle = _AUPIMO(num_thresholds=thresholds, return_average=False, force=True)
    oracle.update(torch.from_numpy(maps), torch.from_numpy(masks))
    theirs = oracle.compute()[1].aupimos.numpy()[1::2]
    rates = counted(maps[::2]).rates()
    ours = [rates.aupimo(m, mask) for m, mask in zip(maps[1::2], masks[1::2], strict=True)]
    assert anomalibs_procedure(maps, masks, thresholds) == pytest.approx(theirs, abs=1e-6)
    assert anomalibs_procedure(maps, masks, None, nearest_rates=False) == pytest.approx(ours, abs=2e-3)
    ends = anomalibs_procedure(maps, masks, None) - anomalibs_procedure(
        maps, masks, None, nearest_rates=False
    )
    missed = anomalibs_procedure(maps, masks, thresholds) - anomalibs_procedure(maps, masks, None)
    assert theirs - ours == pytest.approx(ends + missed, abs=2e-3)


def test_each_normal_image_weighs_alike_whatever_its_size() -> None:
    maps, masks = maps_and_masks()
    smaller = [maps[0], maps[2][:100], maps[4][:, :77], maps[6]]
    scores, mask = maps[1], masks[1]
    pixels = NormalPixels()
    for anomaly_map in smaller:
        pixels.update(anomaly_map)
    expected = brute_force_aupimo(smaller, scores, mask)
    assert pixels.rates().aupimo(scores, mask) == pytest.approx(expected, abs=1e-4)


def test_shards_of_normals_add_up_to_the_same_bits() -> None:
    maps, masks = maps_and_masks(10)
    whole, backwards = counted(maps[::2]), counted(maps[6::2]) + counted(maps[:6:2])
    assert (whole.n_images, whole.n_pixels) == (backwards.n_images, backwards.n_pixels)
    for m, mask in zip(maps[1::2], masks[1::2], strict=True):
        assert whole.rates().aupimo(m, mask) == backwards.rates().aupimo(m, mask)


def test_defects_above_and_below_every_normal_pixel() -> None:
    normal = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    mask = np.zeros((400, 400), bool)
    mask[:20] = True
    rates = counted(normal[None]).rates()
    assert rates.aupimo(np.where(mask, 99, 0), mask) == pytest.approx(1.0)
    assert rates.aupimo(np.where(mask, -99, 0), mask) == 0.0


def test_normal_pixels_of_one_score_enter_evenly() -> None:
    """All normals alike: from rate 0 to 1 the found share rises on a straight line, here from 1/2 to 1."""
    mask = np.zeros((400, 400), bool)
    mask[:20] = True
    scores = np.where(mask, 0.5, 0.0)
    scores[:10] = 2
    found = counted(np.full((1, 400, 400), 0.5)).rates().aupimo(scores, mask)
    lower, upper = AUPIMO_BOUNDS
    assert found == pytest.approx(0.5 + 0.5 * (upper - lower) / math.log(upper / lower))


def test_two_tied_groups_inside_the_bounds_are_integrated_piece_by_piece() -> None:
    """Ties at rates 0 to 5e-5 and 5e-5 to 1.5e-4: straight lines in the rate, with a step between the groups."""
    normal = np.zeros(160_000)
    normal[:8], normal[8:24] = 3, 2
    mask = np.zeros((400, 400), bool)
    mask[0, :10] = True
    scores = np.zeros((400, 400))
    scores[0, :10] = [4, 4, 3, 3, 3, 2.5, 2, 2, 1, 1]

    def found(rate: float) -> float:
        high = rate < 5e-5
        return np.interp(rate, [0, 5e-5], [0.2, 0.5]) if high else np.interp(rate, [5e-5, 1.5e-4], [0.6, 0.8])

    lower, upper = (math.log(bound) for bound in AUPIMO_BOUNDS)
    area, _ = quad(lambda log_rate: found(math.exp(log_rate)), lower, upper, points=[math.log(5e-5)])
    score = counted(normal.reshape(1, 400, 400)).rates().aupimo(scores, mask)
    assert score == pytest.approx(area / (upper - lower), abs=1e-6)


def test_too_few_normal_pixels_say_so() -> None:
    pixels = counted(np.zeros((2, 100, 100)))
    assert pixels.undefined_reason == (
        "20000 pixels of 2 normal images cannot show a false-positive rate of 1e-05: 100000 are needed"
    )
    with pytest.raises(ValueError, match="100000 are needed"):
        pixels.rates()


def test_an_empty_mask_is_an_error() -> None:
    rates = counted(np.random.default_rng(0).normal(size=(1, 400, 400))).rates()
    with pytest.raises(ValueError, match="its mask is empty"):
        rates.aupimo(np.zeros((4, 4)), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="they must agree"):
        rates.aupimo(np.zeros((4, 4)), np.zeros((4, 5), bool))
