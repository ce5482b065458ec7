"""Counting in threads gives the counts of one thread, bit for bit, in bounded memory, and errors at their image."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.made_pixels import map_sets, smooth_maps
from uad_orchestrator.metrics import NormalPixels, PixelCounts, count_pixels
from uad_orchestrator.metrics.pixels import float_bins, in_threads, score_histogram, top_scores
from uad_orchestrator.metrics.pixels.in_threads import count_in_threads
from uad_orchestrator.metrics.pixels.spro import Channel


def assert_same_bits(found: PixelCounts, expected: PixelCounts) -> None:
    arrays = expected.to_arrays()
    assert found.to_arrays().keys() == arrays.keys()
    for name, array in found.to_arrays().items():
        assert array.dtype == arrays[name].dtype
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)


def counted_one_by_one(maps: np.ndarray, masks: np.ndarray) -> PixelCounts:
    counts = PixelCounts()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        counts.update(anomaly_map, mask)
    return counts


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("top", [500, 1 << 17])
def test_counts_are_those_of_one_thread(threads: int, top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_scores, "TOP", top)
    monkeypatch.setattr(top_scores, "KEPT", 2 * top)
    maps, masks = smooth_maps(23, 64, seed=4)
    maps = maps * np.linspace(0.01, 30, 23, dtype=np.float32)[:, None, None]  # ever more pages
    found = count_pixels(zip(maps, masks, strict=True), threads=threads)
    expected = counted_one_by_one(maps, masks)
    assert_same_bits(found, expected)
    assert found.compute() == expected.compute()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_channels_are_counted_alike(threads: int) -> None:
    maps, masks = smooth_maps(9, 48, seed=6)
    images = [
        (m, [Channel(mask, int(mask.sum() // 2 + 1))] if mask.any() else [])
        for m, mask in zip(maps, masks, strict=True)
    ]
    expected = PixelCounts("spro")
    for anomaly_map, channels in images:
        expected.update_channels(anomaly_map, channels)
    assert_same_bits(count_pixels(images, overlap="spro", threads=threads), expected)


@given(map_sets(), st.randoms(use_true_random=False), st.sampled_from([3, 1 << 17]))
@settings(max_examples=60)
def test_any_tree_of_sums_gives_the_same_bits(
    case: tuple[np.ndarray, np.ndarray], random: Any, top: int
) -> None:
    maps, masks = case
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(top_scores, "TOP", top)
        patched.setattr(top_scores, "KEPT", 2 * top)
        whole = counted_one_by_one(maps, masks)
        parts = [counted_one_by_one(m[None], mask[None]) for m, mask in zip(maps, masks, strict=True)] + [
            PixelCounts()
        ]
        while len(parts) > 1:
            second, first = (parts.pop(random.randrange(len(parts))) for _ in range(2))
            if random.random() < 0.5:
                parts.append(first + second)
            else:
                first += second
                parts.append(first)
        assert_same_bits(parts[0], whole)
        assert parts[0].compute() == whole.compute()


@given(map_sets(), st.integers(0, 4))
@settings(max_examples=40)
def test_normal_pixels_of_any_shards_give_the_same_bits(
    case: tuple[np.ndarray, np.ndarray], cut: int
) -> None:
    def counted(maps: np.ndarray) -> NormalPixels:
        pixels = NormalPixels()
        for anomaly_map in maps:
            pixels.update(anomaly_map)
        return pixels

    maps, _ = case
    whole, parts = counted(maps), counted(maps[cut:]) + counted(maps[:cut])
    assert (parts.n_images, parts.n_pixels) == (whole.n_images, whole.n_pixels)
    for name, array in whole._histogram.to_arrays().items():
        np.testing.assert_array_equal(parts._histogram.to_arrays()[name], array, err_msg=name)


def test_no_images_give_no_counts() -> None:
    assert count_pixels([], threads=3).undefined_reason == "no images"


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_of_any_size_give_the_same_bits(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, masks = smooth_maps(11, 48, seed=8)
    images = [
        (m[:, : 48 - i], mask[:, : 48 - i]) for i, (m, mask) in enumerate(zip(maps, masks, strict=True))
    ]
    expected = PixelCounts()
    for image in images:
        expected.update(*image)
    for size in (32, 1504, 5024):  # multiples of STRIDE: less than an image, and two
        for module in (in_threads, score_histogram, float_bins):
            monkeypatch.setattr(module, "BATCH", size)
        assert_same_bits(count_pixels(images, threads=threads), expected)


def test_a_batch_ends_with_the_image_that_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_threads, "BATCH", 100)
    images = [(np.zeros((3, 11)), index) for index in range(9)]  # 33 pixels each
    batches = list(in_threads._batches(images))
    assert [[place for place, _ in batch] for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert all(place == truth for batch in batches for place, (_, truth) in batch)


@pytest.mark.parametrize("threads", [1, 3])
def test_few_images_are_taken_ahead(threads: int) -> None:
    maps, masks = smooth_maps(2, 32)
    counted, ahead = [], []

    def images() -> Iterator[int]:
        for index in range(60):
            ahead.append(index - len(counted))
            yield index

    def count(counts: PixelCounts, index: int) -> None:
        counts.update(maps[index % 2], masks[index % 2])
        counted.append(index)

    counts, _ = count_in_threads(PixelCounts, count, images(), threads=threads)
    assert counts.n_images == 60
    assert max(ahead) <= 3 * threads + 1


def test_each_thread_has_counts_of_its_own() -> None:
    together, made, used = threading.Barrier(3, timeout=30), [], []

    def none() -> PixelCounts:
        made.append(PixelCounts())
        return made[-1]

    def count(counts: PixelCounts, index: int) -> int:
        assert counts not in used
        used.append(counts)
        together.wait()  # three at once, none of them with another's counts
        used.remove(counts)
        together.wait()
        return index

    _, results = count_in_threads(none, count, range(9), threads=3)
    assert results == list(range(9))
    assert len(made) == 3


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_first_image_that_cannot_be_counted_is_named(threads: int) -> None:
    maps, masks = smooth_maps(12, 32)
    maps[7, 0, 0] = np.nan
    maps[9, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^image 7: 1 of 1024 pixels"):
        count_pixels(zip(maps, masks, strict=True), threads=threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupt_is_passed_on(threads: int) -> None:
    maps, masks = smooth_maps(2, 32)

    def images() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield maps[0], masks[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_pixels(images(), threads=threads)
