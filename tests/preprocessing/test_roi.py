"""The step roi: which pixels are inspected, and how much of a patch is."""

import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.preprocessing.presets import Preset, resolve_preset
from uad_orchestrator.preprocessing.roi import patch_coverage
from uad_orchestrator.preprocessing.settings import PresetSettings, parse_step

SIZE = (20, 40)


def preset(*rois):
    return Preset("test", tuple(parse_step({"roi": roi}) for roi in rois))


def test_a_rectangle_in_fractions_and_in_pixels():
    fractions = preset({"top": 0.25, "left": 0.5, "bottom": 0.75, "right": 1.0})
    pixels = preset({"top": 5, "left": 20, "bottom": 15, "right": 40, "unit": "pixels"})
    expected = np.zeros(SIZE, bool)
    expected[5:15, 20:] = True
    assert np.array_equal(fractions.inspected(SIZE), expected)
    assert np.array_equal(pixels.inspected(SIZE), expected)


def test_without_a_region_everything_is_inspected():
    assert resolve_preset("industrial_fast").inspected(SIZE) is None
    assert not resolve_preset("plain").has_roi
    assert preset({}).inspected(SIZE).all()


def test_a_polygon_holds_the_pixels_whose_centre_is_inside():
    triangle = preset({"method": "polygon", "points": [[0, 0], [40, 0], [0, 20]], "unit": "pixels"})
    y, x = np.mgrid[:20, :40] + 0.5
    beside_the_edge = np.abs(x / 40 + y / 20 - 1) > 1e-9
    inside = x / 40 + y / 20 < 1
    assert np.array_equal(triangle.inspected(SIZE)[beside_the_edge], inside[beside_the_edge])
    in_fractions = preset({"method": "polygon", "points": [[0, 0], [1, 0], [0, 1]]})
    assert np.array_equal(in_fractions.inspected(SIZE), triangle.inspected(SIZE))


def test_several_regions_leave_what_is_inside_all(tmp_path):
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 10:30] = 255
    cv2.imwrite(str(tmp_path / "roi.png"), mask)
    both = preset({"bottom": 0.5}, {"method": "mask", "path": tmp_path / "roi.png"})
    expected = np.zeros(SIZE, bool)
    expected[:10, 10:30] = True
    assert np.array_equal(both.inspected(SIZE), expected)


def test_what_does_not_fit_the_image_is_an_error(tmp_path):
    cv2.imwrite(str(tmp_path / "roi.png"), np.full((20, 41), 255, np.uint8))
    with pytest.raises(ValueError, match=r"roi\.png is \(20, 41\), the image \(20, 40\)"):
        preset({"method": "mask", "path": tmp_path / "roi.png"}).inspected(SIZE)
    with pytest.raises(ValueError, match="beyond the image"):
        preset({"bottom": 30, "right": 10, "unit": "pixels"}).inspected(SIZE)
    with pytest.raises(ValueError, match="no pixel"):
        preset({"bottom": 0.5}, {"top": 0.5}).inspected(SIZE)


def test_a_masks_content_is_part_of_the_version_not_its_path(tmp_path):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    cv2.imwrite(str(first), np.full(SIZE, 255, np.uint8))
    shutil.copy(first, second)
    recipe = preset({"method": "mask", "path": first}).recipe()
    assert preset({"method": "mask", "path": second}).recipe() == recipe
    cv2.imwrite(str(second), np.eye(20, 40, dtype=np.uint8))
    assert preset({"method": "mask", "path": second}).recipe() != recipe
    second.unlink()
    with pytest.raises(ValueError, match=r"b\.png"):
        preset({"method": "mask", "path": second}).recipe()


def test_a_masks_path_is_relative_to_the_project_file(tmp_path):
    settings_ = PresetSettings.model_validate([{"roi": {"method": "mask", "path": "fixtures/roi.png"}}])
    (step,) = settings_.located(tmp_path).steps
    assert step.path == tmp_path / "fixtures/roi.png"


def test_pixels_and_their_recipe_do_not_know_the_region():
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    with_region = Preset("a", (parse_step("denoise"), parse_step({"roi": {"bottom": 0.5}})))
    without = Preset("b", (parse_step("denoise"),))
    assert np.array_equal(with_region.apply(image), without.apply(image))
    assert with_region.pixel_recipe() == without.pixel_recipe() == without.recipe() != with_region.recipe()


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 5), st.integers(-4, 3), st.integers(1, 40))
def test_coverage_is_the_share_of_inspected_area(seed, gh, gw, begin, extent):
    """Against counting on a canvas in which every edge of a cell lies between two pixels."""
    inside = np.random.default_rng(seed).random((6, 7)) < 0.5
    region = (begin / 4, 0.5, begin / 4 + extent / 4, 6.5)
    per_row, per_column = 4 * gh, 2 * gw
    rows = 20 * per_row
    fine = np.zeros((rows, 7 * per_column), bool)  # from -1 pixel to 19
    fine[per_row : 7 * per_row] = np.kron(inside, np.ones((per_row, per_column), bool))
    top = round((region[0] + 1) * per_row)
    height, width = extent * per_row // 4, 6 * per_column
    part = fine[top : top + height, per_column // 2 : per_column // 2 + width]
    cells = part.reshape(gh, height // gh, gw, width // gw).mean(axis=(1, 3))
    assert np.allclose(patch_coverage(inside, region, (gh, gw)), cells)
