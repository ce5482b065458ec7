"""Tiles cover an image, lie flush with its end, and none comes twice."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import Box, TileSource, cut_tile, iter_tiles, tile_grid, whole_of
from uad_orchestrator.inference import iter_tiles as public_name

LENGTHS = st.integers(1, 90)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[tuple[int, int], int, int]:
    side = draw(st.integers(1, 40))
    return (draw(LENGTHS), draw(LENGTHS)), side, draw(st.integers(1, side))


@settings(max_examples=150)
@given(cuts())
def test_tiles_cover_every_pixel_and_lie_on_the_image(cut: tuple[tuple[int, int], int, int]) -> None:
    size, side, stride = cut
    covered = np.zeros(size, int)
    boxes = list(tile_grid(size, side, stride).boxes())
    for box in boxes:
        covered[box.top : box.bottom, box.left : box.right] += 1
        assert (box.bottom - box.top, box.right - box.left) == (side, side)
        assert box.bottom <= max(size[0], side) and box.right <= max(size[1], side)
    assert covered.min() >= 1
    assert len(set(boxes)) == len(boxes) == len(tile_grid(size, side, stride))
    assert boxes[-1].bottom == max(size[0], side) and boxes[-1].right == max(size[1], side)


@settings(max_examples=100)
@given(cuts())
def test_no_tile_could_be_left_out(cut: tuple[tuple[int, int], int, int]) -> None:
    (length, _), side, stride = cut
    tops = tile_grid((length, 1), side, stride).tops
    assert list(tops) == sorted(set(tops))
    assert all(after - before == stride for before, after in pairwise(tops[:-1]))
    if len(tops) > 1:
        assert tops[-2] + side < length  # without the last one the end would not be covered


@settings(max_examples=60)
@given(cuts())
def test_pixels_are_those_of_the_image_mirrored_where_it_ends(cut: tuple[tuple[int, int], int, int]) -> None:
    size, side, stride = cut
    image = np.random.default_rng(0).integers(0, 65535, (*size, 3), dtype=np.uint16)
    larger = np.pad(image, [(0, max(side - size[0], 0)), (0, max(side - size[1], 0)), (0, 0)], "reflect")
    for box, pixels in iter_tiles(image, side, stride):
        assert pixels.dtype == image.dtype
        assert np.array_equal(pixels, larger[box.top : box.bottom, box.left : box.right])


def test_a_tile_is_an_image_of_its_own_in_the_group_of_its_image() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    whole = ImageSource.from_array(image, name="a.png", group="part 7")
    other = ImageSource.from_array(image[::-1], name="a.png", group="part 7")
    box, beside = Box(0, 8, 16, 24), Box(0, 0, 16, 16)
    tile = TileSource.cut_from(whole, box, "reflect")
    assert np.array_equal(tile.read(), image[:16, 8:24])
    assert (tile.size(), tile.group, whole_of(tile), whole_of(whole)) == ((16, 16), "part 7", whole, whole)
    others = [
        TileSource.cut_from(other, box, "reflect"),
        TileSource.cut_from(whole, beside, "reflect"),
        TileSource.cut_from(whole, Box(0, 8, 15, 23), "reflect"),
        TileSource.cut_from(whole, box, "edge"),
    ]
    assert len({source.digest for source in (whole, tile, *others)}) == 6
    assert tile.digest == TileSource.cut_from(whole, box, "reflect").digest


def test_inside_an_image_a_tile_is_a_view() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    assert np.shares_memory(cut_tile(image, Box(4, 5, 12, 13)), image)


def test_the_stride_is_three_quarters_of_a_tile_unless_it_is_given() -> None:
    image = np.zeros((1000, 700))
    assert public_name is iter_tiles
    given_, default = (list(iter_tiles(image, 400, stride)) for stride in (300, None))
    assert [tile.box for tile in given_] == [tile.box for tile in default]


@pytest.mark.parametrize(("side", "stride"), [(8, 9), (8, 0), (0, 1), (8, -1)])
def test_a_stride_that_leaves_gaps_is_refused(side: int, stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        tile_grid((20, 20), side, stride)


@pytest.mark.parametrize("nothing", [np.zeros(5), np.zeros((0, 4, 3))])
def test_what_is_no_image_is_refused(nothing: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        list(iter_tiles(nothing, 4))
