"""A picture saved with loss is met again by saving its original; another picture of a like part is not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.own_data.cases import picture
from uad_orchestrator.datasets.checks.same_picture import Picture, likeness, read_picture
from uad_orchestrator.images.reading_settings import ReadingSettings

Step = tuple[str, dict[str, Any]]

LOSSY: st.SearchStrategy[Step] = st.one_of(
    st.tuples(
        st.just("JPEG"),
        st.fixed_dictionaries({"quality": st.integers(30, 97), "subsampling": st.sampled_from([0, 1, 2])}),
    ),
    st.tuples(
        st.just("WEBP"), st.fixed_dictionaries({"quality": st.sampled_from([50, 60, 75, 80, 85, 90, 95])})
    ),
)
FILES: st.SearchStrategy[Step] = st.one_of(
    st.just(("PNG", {})),
    st.tuples(st.just("JPEG"), st.fixed_dictionaries({"quality": st.integers(30, 97)})),
)
SCALES = (0.5, 0.75, 1.5)


def still(seed: int) -> np.ndarray:
    """A part that does not move: only the camera's noise differs."""
    noise = np.random.default_rng(seed).normal(0, 3, (96, 96, 3))
    return np.clip(picture(0)[0] + noise, 0, 255).astype(np.uint8)


SCENES = {"lies anew": lambda seed: picture(seed)[0], "does not move": still}


def read(pixels: np.ndarray, *steps: Step) -> Picture:
    """The picture after it was saved in each of the ways, one after the other."""
    for kind, options in steps:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **options)
        pixels = np.asarray(Image.open(file).convert("RGB"))
    return read_picture(file.getvalue(), "made", ReadingSettings())


@pytest.mark.parametrize("scene", SCENES)
@given(seed=st.integers(1, 1000), lossy=LOSSY, file=FILES)
@settings(max_examples=8, deadline=None)
def test_saved_twice(scene: str, seed: int, lossy: Step, file: Step) -> None:
    original = read(SCENES[scene](seed), ("PNG", {}))
    copy, other = (read(SCENES[scene](number), lossy, file) for number in (seed, seed + 1))
    assert likeness(original, copy).is_copy and likeness(copy, original).is_copy
    assert not likeness(original, other).is_copy and not likeness(other, original).is_copy


@pytest.mark.parametrize("scene", SCENES)
@given(
    seed=st.integers(1, 1000),
    scale=st.sampled_from(SCALES),
    how=st.sampled_from([Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR]),
    quality=st.integers(50, 97),
)
@settings(max_examples=8, deadline=None)
def test_scaled_and_saved_as_jpeg(
    scene: str, seed: int, scale: float, how: Image.Resampling, quality: int
) -> None:
    size = (round(96 * scale),) * 2
    original = read(SCENES[scene](seed), ("PNG", {}))
    copy, other = (
        read(
            np.asarray(Image.fromarray(SCENES[scene](number)).resize(size, how)),
            ("JPEG", {"quality": quality}),
        )
        for number in (seed, seed + 1)
    )
    assert likeness(original, copy).is_copy
    assert not likeness(original, other).is_copy
