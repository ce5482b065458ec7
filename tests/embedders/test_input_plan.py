"""Sizes and regions: arithmetic with known answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.embedders.input_plan import LARGEST_INPUT, check_sizes, plan_input
from uad_orchestrator.embedders.settings import EmbedderSettings


def settings_of(image_size, resize):
    return EmbedderSettings(name="x", image_size=image_size, resize=resize)


def test_squash_ignores_the_aspect_and_covers_all():
    plan = plan_input((480, 640), settings_of((224, 320), "squash"))
    assert plan.resized_size == plan.input_size == (224, 320)
    assert plan.region == (0, 0, 480, 640)


@pytest.mark.parametrize(
    ("original", "resized", "kept"),
    [
        ((480, 640), (448, 597), (448, 588)),
        ((900, 300), (1344, 448), (1344, 448)),
        ((50, 50), (448, 448), (448, 448)),
    ],
)
def test_shorter_edge_keeps_the_aspect_and_cuts_to_patches(original, resized, kept):
    plan = plan_input(original, settings_of(448, "shorter_edge"), multiple=14)
    assert (plan.resized_size, plan.input_size) == (resized, kept)
    assert plan.region.right == pytest.approx(original[1] * kept[1] / resized[1])
    assert plan.region.bottom == pytest.approx(original[0] * kept[0] / resized[0])


@given(st.integers(64, 3000), st.integers(64, 3000), st.sampled_from([1, 14, 16]))  # longer ones are refused
def test_no_margin_is_lost_but_less_than_a_patch_at_the_right_and_bottom(height, width, multiple):
    plan = plan_input((height, width), settings_of(448, "shorter_edge"), multiple)
    assert plan.region.top == plan.region.left == 0
    for resized, kept, full, end in zip(
        plan.resized_size, plan.input_size, (height, width), plan.region[2:], strict=True
    ):
        assert kept % multiple == 0
        assert 0 <= resized - kept < multiple
        assert end == pytest.approx(full * kept / resized)


@pytest.mark.parametrize(
    ("size", "resize", "multiple", "said"),
    [
        (448, "crop", 1, "valid are squash, shorter_edge"),
        ((224, 320), "shorter_edge", 1, "takes one number"),
        (450, "squash", 14, "such as 448"),
        (8, "shorter_edge", 14, "such as 14"),
    ],
)
def test_sizes_that_fit_no_image_are_refused(size, resize, multiple, said):
    with pytest.raises(ValueError, match=said):
        check_sizes(settings_of(size, resize), multiple)


@given(
    short=st.integers(1, 300),
    aspect=st.floats(1, 100),
    size=st.sampled_from([28, 224, 448, 1500, 4000]),
    upright=st.booleans(),
)
def test_a_long_image_gives_no_more_pixels_than_the_bound(short, aspect, size, upright):
    original = (int(short * aspect), short) if upright else (short, int(short * aspect))
    try:
        plan = plan_input(original, settings_of(size, "shorter_edge"))
    except ValueError as error:
        assert "cut it into several images" in str(error)
        assert size * size * aspect * 1.01 > max(LARGEST_INPUT, 4 * size * size)
    else:
        assert plan.resized_size[0] * plan.resized_size[1] <= max(LARGEST_INPUT, 4 * size * size)


def test_a_square_image_is_taken_at_any_size():
    assert plan_input((9, 9), settings_of(5000, "shorter_edge")).resized_size == (5000, 5000)
