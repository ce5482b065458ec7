"""Shapes to masks against pycocotools, and against the points inside by matplotlib."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from uad_orchestrator.datasets.annotations.annotation_files import EntryError
from uad_orchestrator.datasets.annotations.marks import Bitmap, Box, CocoPolygons, Polygon, RunLengths
from uad_orchestrator.datasets.annotations.rasterise import box_around, draw, in_pixels

coco = pytest.importorskip("pycocotools.mask", reason="needs the import extra")

SIZE = (30, 40)
coordinates = st.lists(
    st.tuples(st.floats(0, SIZE[1], width=32), st.floats(0, SIZE[0], width=32)), min_size=3, max_size=8
)
regions = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).random(SIZE) < np.random.default_rng(seed + 1).random()
)


@given(coordinates)
def test_coco_polygons_are_those_of_pycocotools(points: list[tuple[float, float]]) -> None:
    flat = [float(value) for point in points for value in point]
    expected = coco.decode(coco.frPyObjects([flat], *SIZE))[..., 0].astype(bool)
    shape = CocoPolygons((np.array(points, float),))
    if all(value == round(value) for value in flat):
        return  # they name pixels: see the next test
    if expected.any():
        assert np.array_equal(draw(shape, SIZE), expected)
    else:
        with pytest.raises(EntryError, match="covers no pixel"):
            draw(shape, SIZE)


@given(coordinates)
def test_a_polygon_holds_what_is_inside_and_no_more_than_its_outline(
    points: list[tuple[float, float]],
) -> None:
    hull = _convex(np.array(points, float))
    if hull is None or hull[:, 0].min() >= SIZE[1] or hull[:, 1].min() >= SIZE[0]:
        return
    drawn = draw(Polygon(hull), SIZE)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    at = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = Outline(np.concatenate([hull, hull[:1]])).contains_points(at).reshape(SIZE)
    distance = _distance(at, hull).reshape(SIZE)
    assert not (inside & (distance > 0.75) & ~drawn).any()
    assert not (drawn & ~inside & (distance > 1.5)).any()


@given(regions)
def test_the_outlines_that_opencv_finds_come_back(region: np.ndarray) -> None:
    import cv2

    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        points = outline[:, 0].astype(float)
        expected = cv2.drawContours(np.zeros(SIZE, np.uint8), [outline], -1, 1, cv2.FILLED) > 0
        assert np.array_equal(draw(Polygon(points), SIZE), expected)
        if len(points) > 2:
            assert np.array_equal(draw(CocoPolygons((points,)), SIZE), expected)


@given(regions)
def test_run_lengths_come_back_compressed_or_not(region: np.ndarray) -> None:
    compressed = coco.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()
    flat = region.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    runs = tuple(int(count) for count in np.diff(np.concatenate([[0], edges])))
    for counts in (compressed, runs):
        if region.any():
            assert np.array_equal(draw(RunLengths(counts, SIZE), SIZE), region)
        else:
            with pytest.raises(EntryError, match="covers no pixel"):
                draw(RunLengths(counts, SIZE), SIZE)


@given(
    st.one_of(
        st.text(st.characters(max_codepoint=127), max_size=30), st.lists(st.integers(-5, 2000), max_size=8)
    )
)
def test_run_lengths_that_do_not_fill_the_image_are_refused(counts: str | list[int]) -> None:
    """pycocotools gives unset memory for them."""
    try:
        drawn = draw(RunLengths(counts if isinstance(counts, str) else tuple(counts), SIZE), SIZE)
    except EntryError:
        return
    assert isinstance(counts, str) or (min(counts) >= 0 and sum(counts) == drawn.size)


def test_run_lengths_of_a_huge_declared_size_are_never_decoded() -> None:
    with pytest.raises(EntryError, match="run lengths of 1000000 x 1000000"):
        draw(RunLengths((10**12,), (10**6, 10**6)), SIZE)


@given(regions, st.integers(-3, 12), st.integers(-3, 12))
def test_a_bitmap_lies_where_it_says(region: np.ndarray, left: int, top: int) -> None:
    small = region[:8, :9]
    expected = np.zeros((SIZE[0] + 20, SIZE[1] + 20), bool)
    expected[top + 10 : top + 18, left + 10 : left + 19] = small
    expected = expected[10 : 10 + SIZE[0], 10 : 10 + SIZE[1]]
    if expected.any():
        assert np.array_equal(draw(Bitmap(small, left, top), SIZE, clip=True), expected)


def test_what_reaches_over_the_border_is_an_error_unless_it_is_cut_off() -> None:
    over = Polygon(np.array([[30, 5], [45, 5], [38, 20]], float))
    with pytest.raises(EntryError, match=r"over the image's border by 5 pixels.*--clip"):
        draw(over, SIZE)
    assert draw(over, SIZE, clip=True)[6, 39]
    for away in ([[50, 5], [60, 5], [55, 9]], [[-9, -9], [-5, -9], [-5, -5]], [[1e30, 0], [1e30, 1], [2, 2]]):
        with pytest.raises(EntryError, match="outside of the image"):
            draw(Polygon(np.array(away, float)), SIZE, clip=True)


def test_rectangles_are_boxes_however_they_are_drawn() -> None:
    upright = np.array([[2, 3], [12, 3], [12, 8], [2, 8]], float)
    assert box_around(Polygon(upright), SIZE) == Box(2, 3, 10, 5)
    assert box_around(Polygon(np.concatenate([upright, upright[:1]])), SIZE) == Box(2, 3, 10, 5)
    assert box_around(CocoPolygons((upright,)), SIZE) == Box(2, 3, 10, 5)
    turned = np.array([[10, 5], [15, 10], [10, 15], [5, 10]], float)
    assert box_around(Polygon(turned), SIZE) == Box(5, 5, 10, 10)
    assert box_around(Polygon(np.array([[2, 3], [12, 3], [12, 8], [3, 9]], float)), SIZE) is None
    assert box_around(in_pixels(Box(0.25, 0.5, 0.5, 0.5), SIZE), SIZE) == Box(10, 15, 20, 15)


def _convex(points: np.ndarray) -> np.ndarray | None:
    """The points' convex hull; None of a line."""
    import cv2

    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(float)
    return hull if len(hull) > 2 and cv2.contourArea(hull.astype(np.float32)) > 1 else None


def _distance(at: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """From each point to the nearest side."""
    nearest = np.full(len(at), np.inf)
    for start, end in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        side = end - start
        along = np.clip((at - start) @ side / max(side @ side, 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.hypot(*(at - start - along[:, None] * side).T))
    return nearest
