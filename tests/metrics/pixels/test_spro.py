"""sPRO against its definition: every threshold, every channel by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.made_pixels import SHAPE, brute_force_spro, map_sets, smooth_maps
from uad_orchestrator.metrics import PixelCounts
from uad_orchestrator.metrics.pixels.spro import Channel

LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
FEW_VALUES = st.sampled_from([-2.0, 0.0, 0.1, 0.3, 1.0, 7.0])


def counted(maps: np.ndarray, channels: list[list[tuple[np.ndarray, int]]]) -> PixelCounts:
    counts = PixelCounts("spro")
    for anomaly_map, own in zip(maps, channels, strict=True):
        counts.update_channels(anomaly_map, [Channel(mask, area) for mask, area in own])
    return counts


@st.composite
def channel_sets(draw: st.DrawFn) -> tuple[np.ndarray, list[list[tuple[np.ndarray, int]]]]:
    """Maps with ties, and per image up to three channels that may overlap, each with a saturation area."""
    maps, masks = draw(map_sets(finite=FEW_VALUES))
    channels = []
    for mask in masks:
        own = []
        for _ in range(draw(st.integers(0, 3))):
            part = mask & draw(st.sampled_from([np.arange(SHAPE[1]) < 6, np.arange(SHAPE[1]) > 2]))
            if part.any():
                own.append((part, draw(st.integers(1, int(part.sum())))))
        channels.append(own)
    corner = np.zeros(SHAPE, bool)
    corner[0, 0] = True
    channels[0].append((corner, 1))
    return maps, channels


@given(channel_sets())
@settings(max_examples=40)
def test_it_is_the_definition_at_every_limit_with_ties_and_overlapping_channels(case) -> None:  # type: ignore[no-untyped-def]
    maps, channels = case
    found = counted(maps, channels).compute(LIMITS)
    for name, value in brute_force_spro(maps, channels, LIMITS).items():
        assert found[name] == pytest.approx(value, abs=1e-9)


def test_it_is_the_definition_on_smooth_maps() -> None:
    maps, masks = smooth_maps(4, 48, seed=4)
    whole = [[(mask, max(1, int(0.4 * mask.sum())))] if mask.any() else [] for mask in masks]
    found = counted(maps, whole).compute(LIMITS)
    for name, value in brute_force_spro(maps, whole, LIMITS).items():
        assert found[name] == pytest.approx(value, abs=1e-5)


def test_a_place_counts_as_found_once_its_saturation_area_is_covered() -> None:
    mask = np.zeros((4, 8), bool)
    mask[0] = True  # eight pixels, two of which are seen
    scores = np.zeros((4, 8), np.float32)
    scores[0, :2] = 1
    saturated = counted(scores[None], [[(mask, 2)]]).compute(LIMITS)
    whole = counted(scores[None], [[(mask, 8)]]).compute(LIMITS)
    assert saturated["spro_0.05"] == pytest.approx(1.0)
    # the other six enter with all normal pixels: from 2 / 8 on along a straight line
    assert whole["spro_1"] == pytest.approx((2 / 8 + 1) / 2)


def test_connected_components_of_one_channel_are_one_place() -> None:
    """AUPRO would average over both halves and see one of two."""
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[5, 5] = True
    scores = np.zeros((6, 6), np.float32)
    scores[0, 0] = 1
    found = counted(scores[None], [[(mask, 1)]]).compute((0.3,))
    assert found["spro_0.3"] == pytest.approx(1.0)


@given(channel_sets(), st.integers(0, 4))
@settings(max_examples=30)
def test_two_shards_add_up_to_the_same_bits(case, cut: int) -> None:  # type: ignore[no-untyped-def]
    maps, channels = case
    whole = counted(maps, channels)
    parts = counted(maps[cut:], channels[cut:]) + counted(maps[:cut], channels[:cut])
    assert parts.compute(LIMITS) == whole.compute(LIMITS)
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(parts.to_arrays()[name], array, err_msg=name)
    assert PixelCounts.from_arrays(whole.to_arrays()).compute(LIMITS) == whole.compute(LIMITS)


@pytest.mark.parametrize("area", [0, 9])
def test_a_saturation_area_of_0_or_beyond_the_channel_is_an_error(area: int) -> None:
    mask = np.zeros((4, 8), bool)
    mask[0] = True
    with pytest.raises(ValueError, match=f"a channel of 8 pixels has the saturation area {area}"):
        counted(np.zeros((1, 4, 8), np.float32), [[(mask, area)]])


def test_counts_of_regions_and_of_channels_do_not_mix() -> None:
    with pytest.raises(ValueError, match="these counts are of spro, not of pro"):
        PixelCounts("spro").update(np.zeros((4, 4)), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="do not mix"):
        PixelCounts() + PixelCounts("spro")
