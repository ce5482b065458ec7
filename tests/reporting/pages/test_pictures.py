"""The pictures of pages, against the drawings that a contact sheet has of the same images."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from uad_orchestrator.reporting.pages.pictures import MAP_SIDE, map_png, truth_svg
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, overlay
from uad_orchestrator.reporting.pictures.thumbnail import VIEW_SIDE, view_jpeg

SCALE = HeatmapScale.from_normals(1.0, 0.1, 2.0, pixel_threshold=1.8)


def test_a_map_laid_over_its_image_is_the_overlay() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    values = np.linspace(0.5, 1.79, 40 * 50, dtype=np.float32).reshape(40, 50)  # nothing above the limit
    over = Image.open(io.BytesIO(map_png(values, SCALE))).convert("RGBA")
    laid = Image.alpha_composite(Image.fromarray(image).convert("RGBA"), over).convert("RGB")
    assert np.abs(np.asarray(laid, int) - overlay(image, values, SCALE)).max() <= 4


def test_what_is_above_the_limit_has_a_white_line_around_it() -> None:
    values = np.ones((30, 30), np.float32)
    values[10:20, 5:15] = 1.9
    drawn = np.asarray(Image.open(io.BytesIO(map_png(values, SCALE))).convert("RGBA"))
    white = (drawn == 255).all(axis=2)
    edge = np.zeros_like(white)
    edge[10:20, 5:15] = True
    edge[11:19, 6:14] = False
    assert (white == edge).all()
    assert (drawn[~edge & (values == 1)][:, 3] == 0).all(), "at the floor the image shows through"


@pytest.mark.parametrize(("size", "most"), [((3000, 1500), (1600, 800)), ((200, 100), (200, 100))])
def test_pictures_are_no_larger_than_they_may_be(size: tuple[int, int], most: tuple[int, int]) -> None:
    view = Image.open(io.BytesIO(view_jpeg(np.zeros((*size, 3), np.uint16))))
    assert view.size == most[::-1] and max(most) <= VIEW_SIDE
    assert max(Image.open(io.BytesIO(map_png(np.zeros(size, np.float32), SCALE))).size) <= MAP_SIDE


def test_the_ground_truth_is_outlined_in_the_pixels_of_the_image() -> None:
    mask = np.zeros((2000, 3000), bool)
    mask[500:900, 1200:1800] = True
    svg = truth_svg(mask, [(10.0, 20.0, 30.0, 40.0)], mask.shape)
    assert 'viewBox="0 0 3000 2000"' in svg and "M10 20h30v40h-30Z" in svg
    path = re.search(r'd="(M[^h]+Z)', svg)
    assert path
    points = np.array(
        [tuple(map(float, point.split())) for point in re.findall(r"[ML]([\d.]+ [\d.]+)", path[1])]
    )[:-1]
    assert np.abs(points.min(axis=0) - (1200, 500)).max() < 4
    assert np.abs(points.max(axis=0) - (1800, 900)).max() < 4
