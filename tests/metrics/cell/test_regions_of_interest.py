"""Regions and channels that a region of interest cuts, against the definitions of PRO and sPRO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from tests.metrics.made_pixels import area_up_to, brute_force_aupro
from uad_orchestrator.metrics import OperatingPoint, PixelCounts
from uad_orchestrator.metrics.cell import CellMetrics, Thresholds, evaluate_cell
from uad_orchestrator.metrics.pixels.regions import REGION_UNIT, region_weights, regions_outside
from uad_orchestrator.metrics.pixels.spro import Channel, GroundTruth
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.thresholds.operating_point import SegmentationPoint

EIGHT = np.ones((3, 3))
"""Pixels that touch at a corner are one region."""

SHAPE = (7, 8)
MASKS = hnp.arrays(np.bool_, SHAPE)
LIMITS = (0.05, 0.3, 1.0)
POINT = OperatingPoint(0.5, "validation", 20, 0.05)
POINTS = Thresholds(POINT, POINT, SegmentationPoint(0.5, "validation", 20))


@dataclass(frozen=True)
class Row:
    image: str
    label: int
    score: float
    defect_type: str


def evaluated(
    maps: np.ndarray, truths: list[GroundTruth], inspected: np.ndarray, protocol: EvaluationProtocol
) -> CellMetrics:
    """One cell: an image per map, normal where its mask is empty."""
    rows = [Row(str(i), int(truth.mask.any()), 0.0, "dent") for i, truth in enumerate(truths)]
    return evaluate_cell(
        rows,
        lambda row: maps[int(row.image)],
        lambda row: truths[int(row.image)],
        protocol=protocol,
        thresholds=POINTS,
        inspected=lambda row: inspected[int(row.image)],
    )


@given(MASKS)
def test_a_pixel_weighs_one_over_its_8_connected_region(mask: np.ndarray) -> None:
    places, weights, n_regions = region_weights(mask)
    regions, expected = label(mask, structure=EIGHT)
    assert n_regions == expected
    np.testing.assert_array_equal(places, np.flatnonzero(mask))
    areas = np.bincount(regions.ravel())[regions.ravel()[places]]
    np.testing.assert_allclose(weights, REGION_UNIT / areas, atol=0.5)


def test_regions_that_touch_at_a_corner_are_one_inside_and_outside() -> None:
    """Four-connected, the first would be three regions, two of them outside, and the second would be two."""
    mask, inside = np.zeros((5, 6), bool), np.zeros((5, 6), bool)
    mask[[0, 1, 2], [0, 1, 2]] = True  # a diagonal, of which the last pixel is inspected
    mask[4, 5] = mask[3, 4] = True  # another, not inspected at all
    inside[2, 2:4] = True
    assert region_weights(mask)[2] == 2
    assert regions_outside(mask, inside) == 1
    assert regions_outside(mask.T, inside.T) == 1
    assert regions_outside(mask, np.zeros_like(inside)) == 2
    assert regions_outside(mask, np.ones_like(inside)) == 0


@given(MASKS, MASKS)
def test_a_region_is_outside_when_none_of_its_pixels_is_inspected(
    mask: np.ndarray, inside: np.ndarray
) -> None:
    regions, n = label(mask, structure=EIGHT)
    assert regions_outside(mask, inside) == sum(not inside[regions == k].any() for k in range(1, n + 1))


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_aupro_averages_over_what_of_each_region_is_inspected(seed: int) -> None:
    """Whatever lies outside is as if it were not there: neither a false positive nor a part of a region."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 4, (3, *SHAPE)).astype(np.float32)
    masks, inspected = rng.random((3, *SHAPE)) < 0.25, rng.random((3, *SHAPE)) < 0.7
    masks[0] = False
    masks[1, 0, 0] = inspected[:, 0, 0] = True
    found = evaluated(maps, [GroundTruth(mask) for mask in masks], inspected, EvaluationProtocol(LIMITS))
    for limit in LIMITS:
        expected = aupro_inside(maps, masks, inspected, limit)
        assert found.metrics[f"aupro_{limit:g}"] == pytest.approx(expected, abs=1e-9)


def aupro_inside(maps: np.ndarray, masks: np.ndarray, inspected: np.ndarray, limit: float) -> float:
    inside = [label(mask & seen, structure=EIGHT)[0] for mask, seen in zip(masks, inspected, strict=True)]
    regions = [maps[i][found == k] for i, found in enumerate(inside) for k in range(1, found.max() + 1)]
    negatives = maps[inspected & ~masks]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        overlap = float(np.mean([np.mean(region >= threshold) for region in regions]))
        points.append((float(np.mean(negatives >= threshold)), overlap))
    return area_up_to(points, limit)


def test_without_a_region_of_interest_it_is_the_plain_aupro() -> None:
    rng = np.random.default_rng(3)
    maps, masks = rng.random((4, 9, 9)).astype(np.float32), rng.random((4, 9, 9)) < 0.2
    masks[0] = False
    everything = np.ones(masks.shape, bool)
    truths = [GroundTruth(mask) for mask in masks]
    found = evaluated(maps, truths, everything, EvaluationProtocol((0.3,)))
    assert found.metrics["aupro_0.3"] == pytest.approx(brute_force_aupro(maps, masks, 0.3), abs=1e-9)


@st.composite
def channels_and_roi(draw: st.DrawFn) -> tuple[np.ndarray, list[GroundTruth], np.ndarray]:
    """A normal image and two with up to three channels each; saturation areas from 1 to the whole channel."""
    maps = draw(hnp.arrays(np.float32, (3, *SHAPE), elements=st.sampled_from([0.0, 0.1, 0.5, 2.0])))
    inspected = draw(hnp.arrays(np.bool_, (3, *SHAPE)))
    inspected[:, 0, 0] = True  # an image of which nothing is inspected is refused before
    corner = np.zeros(SHAPE, bool)
    corner[0, 0] = True
    places = [[], [corner, *draw(st.lists(MASKS, max_size=2))], draw(st.lists(MASKS, min_size=1, max_size=3))]
    truths = []
    for masks in places:
        channels = [Channel(mask, draw(st.integers(1, int(mask.sum())))) for mask in masks if mask.any()]
        whole = np.any([channel.mask for channel in channels], axis=0) if channels else np.zeros(SHAPE, bool)
        truths.append(GroundTruth(whole, channels))
    return maps, truths, inspected


@given(channels_and_roi())
@settings(max_examples=80)
def test_a_channel_is_found_when_its_inspected_part_or_its_saturation_area_is_covered(case) -> None:  # type: ignore[no-untyped-def]
    """sPRO by its definition, threshold by threshold, over the inspected pixels alone."""
    maps, truths, inspected = case
    parts = [
        (maps[i][channel.mask & inspected[i]], channel.saturation_area)
        for i, truth in enumerate(truths)
        for channel in truth.channels
        if (channel.mask & inspected[i]).any()
    ]
    masks = np.stack([truth.mask for truth in truths])
    negatives = maps[inspected & ~masks]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        covered = [min(np.sum(part >= threshold) / min(area, part.size), 1.0) for part, area in parts]
        points.append((float(np.mean(negatives >= threshold)), float(np.mean(covered))))
    counts = PixelCounts("spro")
    for anomaly_map, truth, seen in zip(maps, truths, inspected, strict=True):
        counts.update_channels(anomaly_map[seen][None], truth.within(seen).channels)
    found = counts.compute(LIMITS)
    through = evaluated(maps, truths, inspected, EvaluationProtocol((), LIMITS))
    for limit in LIMITS:
        assert found[f"spro_{limit:g}"] == pytest.approx(area_up_to(points, limit), abs=1e-9)
        assert through.metrics[f"spro_{limit:g}"] == found[f"spro_{limit:g}"]


def test_a_part_smaller_than_the_saturation_area_has_to_be_covered_whole() -> None:
    mask, inside = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    mask[1:3, 1:5] = True  # eight pixels, six of which saturate it
    inside[:, :3] = True  # four of the eight
    truth = GroundTruth(mask, [Channel(mask, 6)])
    narrowed = truth.within(inside)
    assert narrowed.mask.shape == (1, 12) and int(narrowed.mask.sum()) == 4
    (part,) = narrowed.channels
    assert (part.saturation_area, int(part.mask.sum())) == (4, 4)
    larger, outside = truth.within(np.ones_like(inside)), truth.within(~mask)
    assert [c.saturation_area for c in larger.channels] == [6], "a part above it stays saturated by it"
    assert outside.channels == [] and not outside.mask.any(), "a channel wholly outside is none"
    assert truth.channels[0].saturation_area == 6, "the ground truth itself stays"
