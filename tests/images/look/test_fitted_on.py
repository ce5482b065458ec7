"""Whether a new image is of the kind that a detector was fitted on."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.images.header import Refused
from uad_orchestrator.images.look import FittedOn, Look, tinted
from uad_orchestrator.images.look.fitted_on import FAINTEST_TINT


def textured(seed: int, size: tuple[int, int] = (64, 80), brightness: float = 0.5) -> np.ndarray:
    grain = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(*size, 3)), (0, 0), 1)
    return np.clip(255 * brightness * (1 + 0.3 * grain), 0, 255).astype(np.uint8)


def fitted(dtype: type = np.uint8, factor: int = 1) -> FittedOn:
    return FittedOn.of([Look.of(textured(seed).astype(dtype) * dtype(factor)) for seed in range(6)])


def at_depth(image: np.ndarray, depth: int) -> np.ndarray:
    return (image.astype(np.uint32) * (2**depth - 1) // 255).astype(np.uint16)


def unusual(fitted_on: FittedOn, image: np.ndarray) -> set[str]:
    return {remark.kind for remark in fitted_on.unusual(Look.of(image))}


@given(seed=st.integers(10, 1000))
@settings(max_examples=30)
def test_an_image_of_the_same_kind_is_nothing_to_speak_of(seed: int) -> None:
    assert unusual(fitted(), textured(seed)) == set()


def test_what_is_unlike_is_named() -> None:
    usual, image = fitted(), textured(50)
    assert unusual(usual, image // 2) == {"brightness"}
    assert unusual(usual, np.repeat(image[..., :1], 3, 2)) == {"channels"}
    assert unusual(usual, textured(50, (128, 160))) == {"size"}
    assert unusual(usual, textured(50, (80, 64))) == {"size"}
    assert "sharpness" in unusual(usual, cv2.GaussianBlur(image, (0, 0), 2))
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 60, image.shape), 0, 255).astype(np.uint8)
    assert "sharpness" in unusual(usual, noisy)
    assert unusual(usual, np.zeros_like(image)) == {"brightness", "channels"}


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=4))
def test_the_tint_is_the_mean_colour_and_takes_no_value_beyond_white(
    colours: list[tuple[int, int, int]],
) -> None:
    looks = [Look.of(np.full((4, 4, 3), colour, np.uint8)) for colour in colours]
    found = FittedOn.of(looks).tint
    mean = np.mean(colours, axis=0)
    if any(len(set(colour)) == 1 for colour in colours) or mean.min() / mean.max() > FAINTEST_TINT:
        assert found is None
        return
    assert found == pytest.approx(tuple(mean / mean.max()), abs=1e-5) and max(found) == 1
    white = np.full((2, 2, 3), 65535, np.uint16)
    assert tinted(white, found).dtype == np.uint16
    assert tinted(white, found)[0, 0].tolist() == pytest.approx(65535 * mean / mean.max(), abs=1)


def test_it_comes_back_from_json() -> None:
    for usual in (
        fitted(),
        FittedOn.of([Look.of(np.zeros((4, 4, 3), np.uint8))], {(n, n) for n in range(1, 40)}),
    ):
        assert FittedOn.from_json(json.loads(json.dumps(usual.to_json()))) == usual


def test_of_many_sizes_the_ends_count() -> None:
    usual = FittedOn.of([Look.of(textured(0, (n, 60))) for n in range(20, 60)])
    assert unusual(usual, textured(1, (33, 60))) == set()
    assert unusual(usual, textured(1, (61, 60))) == {"size"}


@given(depth=st.sampled_from([10, 12, 14]), seed=st.integers(0, 50))
@settings(max_examples=20)
def test_another_depth_is_refused_by_the_file_or_by_its_values(depth: int, seed: int) -> None:
    image = textured(seed).astype(np.uint16)
    deep = at_depth(image, depth)
    with pytest.raises(
        Refused, match=rf"16 bits per channel .*those of {depth} bits.*fitted on images of 8 bits"
    ):
        fitted().refuse_depth(Look.of(deep), stated=False)
    full = fitted(np.uint16, 257)
    with pytest.raises(Refused, match=rf"those of {depth} bits in 16; .*bit_depth: {depth}"):
        full.refuse_depth(Look.of(deep), stated=False)
    shallow = FittedOn.of([Look.of(at_depth(textured(n), depth)) for n in range(6)])
    with pytest.raises(Refused, match="of 16 bits; fitted on images whose values end at"):
        shallow.refuse_depth(Look.of(image * 257), stated=False)
    for usual, look in ((full, image * 257), (shallow, deep)):
        usual.refuse_depth(Look.of(look), stated=False)
    fitted().refuse_depth(Look.of(image * 257), stated=True)
    with pytest.raises(Refused, match="8 bits per channel; fitted on images of 16 bits"):
        full.refuse_depth(Look.of(image.astype(np.uint8)), stated=False)


def test_a_dark_image_is_unusual_and_not_refused() -> None:
    dark = (textured(3).astype(np.uint16) * 257 // 3).astype(np.uint16)
    full = fitted(np.uint16, 257)
    full.refuse_depth(Look.of(dark), stated=False)
    assert unusual(full, dark) == {"brightness"}
