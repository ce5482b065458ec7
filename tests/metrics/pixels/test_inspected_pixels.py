"""Pixels outside a region of interest: left out of every count, and their defects named."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from uad_orchestrator.metrics import PixelCounts
from uad_orchestrator.metrics.cell import Thresholds, evaluate_cell
from uad_orchestrator.metrics.pixels.regions import regions_outside
from uad_orchestrator.metrics.pixels.spro import Channel, GroundTruth
from uad_orchestrator.metrics.protocol import PROTOCOLS
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint, SegmentationPoint


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_counts_are_those_of_the_inspected_pixels_alone(seed):
    rng = np.random.default_rng(seed)
    maps = rng.random((3, 12, 15)).astype(np.float32)
    masks, inspected = rng.random((3, 12, 15)) < 0.3, rng.random((3, 12, 15)) < 0.6
    counts = PixelCounts()
    for anomaly_map, mask, inside in zip(maps, masks, inspected, strict=True):
        counts.update(anomaly_map, mask, inside)
    found = counts.compute()
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(masks[inspected], maps[inspected]), abs=1e-6)
    assert found["pixel_ap"] == pytest.approx(
        average_precision_score(masks[inspected], maps[inspected]), abs=1e-6
    )
    assert (counts.n_pixels, counts.n_defect_pixels) == (inspected.sum(), masks[inspected].sum())


def test_a_rectangle_counts_like_the_image_cut_to_it():
    """Regions too: the half of one that lies inside counts as a whole."""
    rng = np.random.default_rng(0)
    anomaly_map, mask, inside = (
        rng.random((20, 30)).astype(np.float32),
        np.zeros((20, 30), bool),
        np.zeros((20, 30), bool),
    )
    mask[4:9, 5:15] = mask[14:18, 20:24] = True
    inside[2:18, 10:30] = True
    whole, cut = PixelCounts(), PixelCounts()
    whole.update(anomaly_map, mask, inside)
    cut.update(anomaly_map[2:18, 10:30], mask[2:18, 10:30])
    assert whole.compute() == cut.compute()
    assert whole.n_regions == 2


def test_everything_inspected_changes_nothing():
    rng = np.random.default_rng(1)
    anomaly_map, mask = rng.random((9, 9)).astype(np.float32), rng.random((9, 9)) < 0.2
    whole, same = PixelCounts(), PixelCounts()
    whole.update(anomaly_map, mask)
    same.update(anomaly_map, mask, np.ones((9, 9), bool))
    for name, array in whole.to_arrays().items():
        assert np.array_equal(array, same.to_arrays()[name])


def test_regions_wholly_outside_are_counted():
    mask, inside = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    inside[:, 5:] = True
    mask[1, 1] = mask[8, 2] = True
    mask[4, 3:7] = True  # reaches in
    assert regions_outside(mask, inside) == 2
    assert regions_outside(mask & inside, inside) == 0
    assert regions_outside(np.zeros((10, 10), bool), inside) == 0


@dataclass(frozen=True)
class Row:
    image: str
    label: int
    score: float
    defect_type: str = "good"


def test_the_operating_point_of_pixels_counts_what_is_inspected():
    maps = {"a": np.zeros((4, 4), np.float32), "b": np.zeros((4, 4), np.float32)}
    maps["a"][0, 0] = maps["b"][0, 0] = 9  # outside: no false positive
    maps["b"][2, 2] = 9
    truth = {"a": np.zeros((4, 4), bool), "b": np.zeros((4, 4), bool)}
    truth["b"][2, 2:] = True
    inside = np.zeros((4, 4), bool)
    inside[2:] = True
    point = OperatingPoint(threshold=5.0, source="validation", n=3, contamination=0.1)
    found = evaluate_cell(
        [Row("a", 0, 0.1), Row("b", 1, 0.9, "scratch")],
        lambda row: maps[row.image],
        lambda row: GroundTruth(truth[row.image]),
        protocol=PROTOCOLS["mvtec_ad"],
        thresholds=Thresholds(point, point, SegmentationPoint(threshold=5.0, source="validation", n=3)),
        inspected=lambda row: inside,
    )
    assert (found.pixel_point.false_positive_rate, found.pixel_point.recall) == (0, 0.5)
    assert found.pixel_point.precision == 1


def test_a_channel_is_what_of_it_is_inspected():
    """sPRO of a rectangle counts like the image cut to it; a channel wholly outside is none."""
    rng = np.random.default_rng(2)
    anomaly_map, mask, far = (
        rng.random((8, 9)).astype(np.float32),
        np.zeros((8, 9), bool),
        np.zeros((8, 9), bool),
    )
    mask[2:5, 3:8] = far[0, 0] = True
    inside = np.zeros((8, 9), bool)
    inside[1:7, 4:9] = True
    truth = GroundTruth(mask | far, [Channel(mask, 13), Channel(far, 1)])
    narrowed = truth.within(inside)
    assert [(int(c.mask.sum()), c.saturation_area) for c in narrowed.channels] == [(12, 12)]
    found, cut = PixelCounts("spro"), PixelCounts("spro")
    found.update_channels(anomaly_map[inside][None], narrowed.channels)
    cut.update_channels(anomaly_map[1:7, 4:9], [Channel(mask[1:7, 4:9], 12)])
    assert found.compute() == cut.compute()
