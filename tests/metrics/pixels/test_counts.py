"""PixelCounts against scikit-learn, anomalib and brute force."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from tests.metrics.made_pixels import brute_force_aupro, map_sets, smooth_maps
from uad_orchestrator.metrics import PixelCounts
from uad_orchestrator.metrics.pixels import top_scores
from uad_orchestrator.metrics.pixels.float_bins import float_keys

LIMITS = (0.3, 0.05)

TINY = np.full(
    (1, 12, 10), 1e-45, np.float32
)  # 0 and the least float above it share a bin, and 0 is rare in it
TINY[0, 0, :2] = 1, 0


def counted(maps: np.ndarray, masks: np.ndarray) -> PixelCounts:
    counts = PixelCounts()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        counts.update(anomaly_map, mask)
    return counts


def f1_max_of(masks: np.ndarray, maps: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(masks.ravel(), maps.ravel())
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300)))


FAMILIES = {
    "centred at 0": lambda base: base,
    "exponential tails": lambda base: np.exp(1.5 * base),
    "20 +- .5": lambda base: 20 + 0.5 * base,
    "1.02 +- .01": lambda base: 1.02 + 0.01 * base,
    "1000 +- 5": lambda base: 1000 + 5 * base,
    "many ties": lambda base: np.round(20 * base) / 20,
    "constant": lambda base: np.full_like(base, 0.7),
    "one outlier": lambda base: np.where(np.arange(base.size).reshape(base.shape) == 77, 1e4, base),
    "zeros beside 1000 +- 5": lambda base: np.where(base < -1, 0, 1000 + 5 * base),
}


@pytest.mark.parametrize("top", [1 << 18, 1 << 13])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_metric_is_exact_to_1e_5_on_every_family_of_scores(
    family: str, top: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_scores, "TOP", top)
    monkeypatch.setattr(top_scores, "KEPT", top)  # of 196,608 pixels: all of them, or one in 24
    base, masks = smooth_maps(12, 128)
    maps = np.asarray(FAMILIES[family](base), np.float32)
    found = counted(maps, masks).compute(LIMITS)
    truth, scores = masks.ravel(), maps.ravel()
    area_error = 1e-7 if top > scores.size else 1e-6
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=area_error)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(truth, scores), abs=5e-6)
    assert found["pixel_f1_max"] == pytest.approx(f1_max_of(masks, maps), abs=1e-5)


@given(map_sets(), st.sampled_from([0, 3, 40]))
@settings(max_examples=60)
def test_f1_max_is_exact_below_the_scores_that_other_metrics_take_one_by_one(
    case: tuple[np.ndarray, np.ndarray], top: int
) -> None:
    maps, masks = case
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(top_scores, "TOP", top)
        found = counted(maps, masks).compute()
    assert found["pixel_f1_max"] == pytest.approx(f1_max_of(masks, maps), abs=1e-12)
    called = maps.astype(np.float64) > found["pixel_f1_max_threshold"]
    assert f1_score(masks.ravel(), called.ravel()) == pytest.approx(found["pixel_f1_max"], abs=1e-12)


def test_f1_max_is_exact_where_more_pixels_are_called_than_other_metrics_take_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 1000, 1000)).astype(np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[:, :220, :220] = True
    maps[masks] += np.float32(1.8)
    exact = f1_max_of(masks, maps)
    assert counted(maps, masks).compute()["pixel_f1_max"] == pytest.approx(exact, abs=1e-12)
    monkeypatch.setattr(top_scores, "KEPT", top_scores.TOP)
    assert exact - counted(maps, masks).compute()["pixel_f1_max"] > 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_aupro_has_a_threshold_per_score_as_anomalib_has(family: str) -> None:
    pytest.importorskip("anomalib", reason="anomalib is the oracle; pip install 'uad_orchestrator[anomalib]'")
    import torch
    from anomalib.metrics.aupro import _AUPRO

    base, masks = smooth_maps(8, 96, seed=3)
    maps = np.asarray(FAMILIES[family](base), np.float32)
    found = counted(maps, masks).compute(LIMITS)
    for limit in LIMITS:
        oracle = _AUPRO(fpr_limit=limit)
        oracle.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
        assert found[f"aupro_{limit:g}"] == pytest.approx(float(oracle.compute()), abs=1e-5)


@given(map_sets())
@example((TINY, TINY > 0.5))
@settings(max_examples=60)
def test_areas_are_exact_but_for_neighbours_among_floats(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Trapezoids treat a shared bin as a tie: rounding the scores to their bins must give the same areas."""
    maps, masks = case
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(top_scores, "TOP", 0)
        patched.setattr(top_scores, "KEPT", 0)
        counts = counted(maps, masks)
        found, groups = counts.compute((*LIMITS, 1.0)), counts._histogram.groups()
    lowest, highest = groups.lowest[::-1], groups.highest[::-1]
    assert np.all(highest - lowest <= 2.0**-14 * np.maximum(abs(lowest), abs(highest)) + 1e-39)
    bins = float_keys(maps.ravel()) >> counts._histogram._layout.shift
    occupied, of_bin = np.unique(bins, return_inverse=True)
    assert occupied.size == lowest.size
    rounded = lowest[of_bin].reshape(maps.shape)  # a bin's bounds may be those of its commonest score alone
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), rounded.ravel()), abs=1e-12)
    for limit in (*LIMITS, 1.0):
        assert found[f"aupro_{limit:g}"] == pytest.approx(brute_force_aupro(rounded, masks, limit), abs=1e-9)


@given(map_sets(finite=st.sampled_from([-2.0, -0.0, 0.0, 0.1, 0.3, 1.0, 7.0])))
@settings(max_examples=60)
def test_ties_are_treated_as_scikit_learn_does(case: tuple[np.ndarray, np.ndarray]) -> None:
    maps, masks = case
    found = counted(maps, masks).compute((*LIMITS, 1.0))
    truth, scores = masks.ravel(), maps.ravel()
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert found["pixel_f1_max"] == pytest.approx(f1_max_of(masks, maps), abs=1e-12)
    for limit in (*LIMITS, 1.0):
        assert found[f"aupro_{limit:g}"] == pytest.approx(brute_force_aupro(maps, masks, limit), abs=1e-9)


@given(map_sets(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_shards_in_any_order_give_the_same_bits(case: tuple[np.ndarray, np.ndarray], random) -> None:  # type: ignore[no-untyped-def]
    maps, masks = case
    whole = counted(maps, masks)
    order = list(range(len(maps)))
    random.shuffle(order)
    cut = random.randint(0, len(order))
    first, second = order[:cut], order[cut:]
    parts = counted(maps[second], masks[second]) + counted(maps[first], masks[first])
    assert parts.compute() == whole.compute()
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(parts.to_arrays()[name], array, err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_large_shards_in_any_order_give_the_same_bits(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_scores, "TOP", 500)
    monkeypatch.setattr(top_scores, "KEPT", 1000)  # less than a map's pixels: what is kept one by one changes
    base, masks = smooth_maps(9, 96, seed=5)
    # Ever wider maps: each one brings new pages, so bins are merged again and again.
    maps = np.asarray(FAMILIES[family](base * np.linspace(0.1, 3, 9)[:, None, None]), np.float32)
    whole = counted(maps, masks)
    backwards = counted(maps[::-1], masks[::-1])
    shards = counted(maps[6:], masks[6:]) + (counted(maps[3:6], masks[3:6]) + counted(maps[:3], masks[:3]))
    assert whole.compute() == backwards.compute() == shards.compute()
    assert list(whole.curves(50)["pro"].y) == list(backwards.curves(50)["pro"].y)


def test_adding_changes_neither_part_and_nothing_adds_nothing() -> None:
    maps, masks = smooth_maps(4, 64)
    first, second = counted(maps[:2], masks[:2]), counted(maps[2:], masks[2:])
    before = first.compute(), second.compute()
    both = first + second
    assert (first.compute(), second.compute()) == before
    assert both.n_images == 4
    assert both.n_regions == first.n_regions + second.n_regions
    assert (both + PixelCounts()).compute() == both.compute() == (PixelCounts() + both).compute()


def test_counts_survive_being_stored(tmp_path) -> None:  # type: ignore[no-untyped-def]
    maps, masks = smooth_maps(4, 64)
    counts = counted(maps, masks)
    np.savez(tmp_path / "counts.npz", **counts.to_arrays())
    with np.load(tmp_path / "counts.npz", allow_pickle=False) as stored:
        read = PixelCounts.from_arrays(dict(stored))
    assert read.compute() == counts.compute()
    assert (read + counts).n_pixels == 2 * counts.n_pixels


@pytest.mark.parametrize(
    ("top", "digest"),
    [
        (1000, "e54976a053d850003f3b18e8a7581461a1af5dd3e6cb4d470c1aa9c8e521e577"),
        (1 << 17, "49e024dbfb8833f2d47c2d4440c1b75beed1d0f75a0bd3b8eea6480e1fe0d8d3"),
    ],
)
def test_arrays_are_those_of_0_1_0(top: int, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_scores, "KEPT", top)
    spread = np.arange(6 * 64 * 64, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)
    unit = (spread >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)  # exact on every machine
    maps = ((unit - np.float32(0.25)) * np.float32(8)).reshape(6, 64, 64)
    masks = np.zeros(maps.shape, bool)
    masks[1::2, 5:15, 7:29] = masks[3, 40:44, 40:60] = True
    found = hashlib.sha256()
    for name, array in sorted(counted(maps, masks).to_arrays().items()):
        found.update(name.encode() + str(array.dtype).encode() + array.tobytes())
    assert found.hexdigest() == digest


def test_damaged_arrays_are_refused() -> None:
    arrays = counted(*smooth_maps(2, 32)).to_arrays()
    with pytest.raises(ValueError, match="totals missing"):
        PixelCounts.from_arrays({name: a for name, a in arrays.items() if name != "totals"})
    with pytest.raises(ValueError, match="damaged"):
        PixelCounts.from_arrays({**arrays, "totals": arrays["totals"] + 1})


def test_one_class_only_gives_nan_and_says_why() -> None:
    counts = PixelCounts()
    assert counts.undefined_reason == "no images"
    counts.update(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))
    found = counts.compute()
    assert list(found) == [
        "pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_f1_max_threshold", "aupro_0.3", "aupro_0.05"
    ]  # fmt: skip
    assert all(math.isnan(value) for value in found.values())
    assert counts.undefined_reason == "no defect pixels in 1 images"
    assert counts.curves() == {}
    full = counted(np.zeros((1, 4, 4), np.float32), np.ones((1, 4, 4), bool))
    assert full.undefined_reason == "no normal pixels in 1 images"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    anomaly_map = np.zeros((4, 6), np.float32)
    anomaly_map[1, 2] = bad
    with pytest.raises(ValueError, match=r"1 of 24 pixels of the \(4, 6\) anomaly map are not finite"):
        PixelCounts().update(anomaly_map, np.zeros((4, 6), bool))


def test_a_mask_of_another_size_or_kind_is_refused_never_resized() -> None:
    with pytest.raises(ValueError, match=r"mask is \(4, 4\), the anomaly map \(8, 8\)"):
        PixelCounts().update(np.zeros((8, 8), np.float32), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="bool or integers, got float64"):
        PixelCounts().update(np.zeros((8, 8), np.float32), np.zeros((8, 8)))
    with pytest.raises(ValueError, match=r"shape \(H, W\)"):
        PixelCounts().update(np.zeros((1, 8, 8), np.float32), np.zeros((1, 8, 8), bool))


def test_maps_are_pooled_raw_never_normalised_per_image() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(6, 32, 32)).astype(np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[3:, 8:16, 8:16] = True
    maps[masks] += 100  # far above every normal image, whose own maximum would also become 1
    assert counted(maps, masks).compute()["pixel_ap"] == 1.0


def test_offset_scores_keep_their_precision() -> None:
    base, masks = smooth_maps(6, 96)
    maps = (1000 + 5 * base).astype(np.float32)
    found = counted(maps, masks).compute()["pixel_ap"]
    assert found == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-6)
    as_float16 = counted(maps.astype(np.float16), masks).compute()["pixel_ap"]
    assert abs(as_float16 - found) > 1e-4  # what storing float16 would have cost


def test_f1_max_threshold_reaches_f1_max_with_scores_above_it() -> None:
    maps, masks = smooth_maps(6, 64)
    found = counted(maps, masks).compute()
    called = maps > np.float64(found["pixel_f1_max_threshold"])
    f1 = 2 * np.sum(called & masks) / (called.sum() + masks.sum())
    assert f1 == pytest.approx(found["pixel_f1_max"], abs=1e-9)


def test_regions_touching_at_a_corner_are_one_region() -> None:
    mask = np.zeros((6, 6), bool)
    mask[1, 1] = mask[2, 2] = True
    counts = PixelCounts()
    counts.update(np.arange(36, dtype=np.float32).reshape(6, 6), mask)
    assert counts.n_regions == 1


def test_curves_run_from_corner_to_corner_and_their_areas_are_the_metrics() -> None:
    maps, masks = smooth_maps(6, 64)
    counts = counted(maps, masks)
    found, curves = counts.compute((1.0,)), counts.curves(2000)
    assert [(c.x[0], c.y[0], c.x[-1], c.y[-1]) for c in (curves["roc"], curves["pro"])] == [(0, 0, 1, 1)] * 2
    assert np.trapezoid(curves["roc"].y, curves["roc"].x) == pytest.approx(found["pixel_auroc"], abs=1e-3)
    assert np.trapezoid(curves["pro"].y, curves["pro"].x) == pytest.approx(found["aupro_1"], abs=1e-3)
    assert all(len(curve.x) <= 2000 for curve in curves.values())
    with pytest.raises(ValueError, match="n_points=1"):
        counts.curves(1)


def test_a_limit_outside_0_1_is_refused() -> None:
    counts = counted(*smooth_maps(2, 32))
    for limit in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"in \(0, 1\]"):
            counts.compute((limit,))
