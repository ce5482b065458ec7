"""Contact sheets: always within their bytes, legible, one colour scale."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from uad_orchestrator.postprocess.map_set import NormalMapStatistics
from uad_orchestrator.reporting.cases import ChosenCase
from uad_orchestrator.reporting.pictures.contact_sheet import Case, contact_sheet, data_uri
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, displayable, overlay

SCALE = HeatmapScale.from_normals(mean=1.0, std=0.2, maximum=2.0, pixel_threshold=1.8)
KINDS = ("highest_defect", "lowest_defect", "highest_normal")


def noisy_case(kind: str, size: tuple[int, int], seed: int, name: str = "000.png", dtype=np.uint8) -> Case:
    """Noise is what JPEG compresses worst."""
    rng = np.random.default_rng(seed)
    label = int(kind != "highest_normal")
    chosen = ChosenCase(kind, f"bottle/test/cut/{name}", label, "cut" if label else "good", rng.normal())
    image = rng.integers(0, np.iinfo(dtype).max, (*size, 3), dtype, endpoint=True)
    anomaly_map = rng.normal(1.5, 1, size).astype(np.float32)
    return Case(chosen, image, anomaly_map, rng.random(size) > 0.99 if label else None)


def decoded(sheet: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sheet)).convert("RGB"))


@settings(max_examples=5)
@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.integers(1, 4),
    st.sampled_from([50_000, 20_000]),
    st.sampled_from([np.uint8, np.uint16]),
)
def test_a_sheet_never_exceeds_its_bytes(size, per_kind, max_bytes, dtype):
    cases = [noisy_case(kind, size, i, dtype=dtype) for kind in KINDS for i in range(per_kind)]
    sheet = contact_sheet(cases, threshold=0.5, scale=SCALE, title="a/b · c", max_bytes=max_bytes)
    assert len(sheet) <= max_bytes
    assert sheet[:2] == b"\xff\xd8"
    assert decoded(sheet).shape[1] > 100


def test_a_model_without_maps_gets_a_sheet_without_them() -> None:
    cases = [replace(noisy_case(kind, (64, 80), i), anomaly_map=None) for i, kind in enumerate(KINDS)]
    plain = decoded(contact_sheet(cases, threshold=0.5, scale=None))
    third = plain[120:-20, plain.shape[1] * 2 // 3 + 10 :]
    assert third.mean() > 240, "the column of maps is empty"


def test_the_same_cases_give_the_same_bytes():
    sheets = [
        contact_sheet([noisy_case("lowest_defect", (64, 64), 3)], threshold=1.0, scale=SCALE) for _ in "ab"
    ]
    assert sheets[0] == sheets[1]


def test_cases_may_come_one_at_a_time_and_have_any_name():
    names = ("Ünlü-欠陥-" + "x" * 300 + ".png", "a.png")
    cases = (noisy_case("highest_normal", (48, 300), i, name) for i, name in enumerate(names))
    assert len(contact_sheet(cases, threshold=math.nan, scale=SCALE, title="t" * 500)) <= 50_000


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match="at least one case"):
        contact_sheet([], threshold=1.0, scale=SCALE)
    with pytest.raises(ValueError, match="do not fit into 500 bytes"):
        contact_sheet([noisy_case("lowest_defect", (64, 64), 0)], threshold=1.0, scale=SCALE, max_bytes=500)
    good = noisy_case("lowest_defect", (64, 64), 0)
    with pytest.raises(ValueError, match=r"cut/000.png: the mask is \(32, 64\), the image \(64, 64\)"):
        Case(good.chosen, good.image, good.anomaly_map, np.zeros((32, 64), bool))


def test_the_smallest_defect_keeps_its_outline():
    """One pixel of a 2000 x 2000 mask would vanish if the mask were shrunk with the image."""
    size = (2000, 2000)
    mask = np.zeros(size, bool)
    mask[1000, 1000] = True
    chosen = ChosenCase("lowest_defect", "000.png", 1, "dot", 0.0)
    grey = np.full((*size, 3), 90, np.uint8)
    pixels = decoded(
        contact_sheet([Case(chosen, grey, np.ones(size, np.float32), mask)], threshold=1.0, scale=SCALE)
    ).astype(int)
    tiles = pixels[pixels.shape[0] // 2 :, pixels.shape[1] // 3 : 2 * pixels.shape[1] // 3]
    assert (tiles[..., 1] - tiles[..., 0]).max() > 40


def test_no_map_is_scaled_by_itself():
    """A value has one colour in every image; a normal image stays as it is beside a strong defect."""
    grey = np.full((8, 8, 3), 100, np.uint8)
    calm, strong = np.full((8, 8), 1.0, np.float32), np.full((8, 8), 1.0, np.float32)
    calm[0, 0] = strong[0, 0] = 1.5
    strong[4:, 4:] = 50.0
    shown_calm, shown_strong = overlay(grey, calm, SCALE), overlay(grey, strong, SCALE)
    np.testing.assert_array_equal(shown_calm[:4], shown_strong[:4])
    np.testing.assert_array_equal(shown_calm[1:, 1:], grey[1:, 1:])
    assert np.abs(shown_strong[4:, 4:].astype(int) - 100).max() > 50


@given(st.floats(-1e3, 1e3), st.floats(0, 10), st.floats(-1e3, 1e3))
def test_the_limit_is_the_middle_of_the_scale(mean, std, limit):
    scale = HeatmapScale.from_normals(mean, std, limit, pixel_threshold=limit)
    assert scale.floor < scale.limit
    middle, low = scale.position(np.array([scale.limit, scale.floor]))
    assert low == pytest.approx(0.0, abs=1e-6)
    assert middle == pytest.approx(0.5, abs=1e-6)


def test_scales_of_a_cell():
    statistics = NormalMapStatistics()
    maps = np.random.default_rng(0).normal(1, 0.2, (3, 16, 16)).astype(np.float32)
    with pytest.raises(ValueError, match="from_maps"):
        HeatmapScale.from_summary(statistics.summary())
    for anomaly_map in maps:
        statistics.update(anomaly_map)
    assert HeatmapScale.from_summary(statistics.summary()).limit == pytest.approx(maps.max())
    assert HeatmapScale.from_summary(statistics.summary(), 1.7).limit == 1.7
    assert HeatmapScale.from_maps(iter(maps)).limit == pytest.approx((maps.mean() + maps.max()) / 2)
    with pytest.raises(ValueError, match="finite"):
        HeatmapScale.from_normals(math.nan, 0.1, 1.0)


def test_deep_images_are_shown_by_the_bits_they_use():
    twelve_bit = np.linspace(0, 4095, 4 * 4 * 3).reshape(4, 4, 3).astype(np.uint16)
    shown = displayable(twelve_bit)
    assert shown.dtype == np.uint8 and shown.min() == 0 and shown.max() == 255
    np.testing.assert_array_equal(displayable(shown), shown)


def test_the_sheet_as_an_address_of_itself():
    sheet = contact_sheet([noisy_case("lowest_defect", (64, 64), 3)], threshold=1.0, scale=SCALE)
    import base64

    assert base64.b64decode(data_uri(sheet).removeprefix("data:image/jpeg;base64,")) == sheet
