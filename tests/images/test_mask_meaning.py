"""A mask in any channels means the pixels that its maker drew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from uad_orchestrator.images.decode import ImageError, read_mask
from uad_orchestrator.images.mask_meaning import mask_values

SHAPE = (9, 11)


def drawn() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[2:5, 3:9] = True
    return mask


def palette(colours: list[int], mask: np.ndarray, **more: int) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8), "P")
    image.putpalette(colours + [0] * (768 - len(colours)))
    return image


def rgba(colour: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([colour, alpha]).astype(np.uint8), "RGBA")


def flat(*colour: int) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (*SHAPE, 3))


def painted(mask: np.ndarray, defect: tuple[int, ...], ground: tuple[int, ...]) -> np.ndarray:
    return np.where(mask[..., None], np.array(defect, np.uint8), np.array(ground, np.uint8))


WAYS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "grey": lambda m: Image.fromarray(m.astype(np.uint8) * 255),
    "zero and one": lambda m: Image.fromarray(m.astype(np.uint8)),
    "one bit": lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("1"),
    "red": lambda m: Image.fromarray(painted(m, (255, 0, 0), (0, 0, 0))),
    "label palette": lambda m: palette([0, 0, 0, 128, 0, 0], m),
    "palette, first entry not black": lambda m: palette([255, 255, 255, 255, 0, 0], m),
    "palette, black last": lambda m: palette([255, 255, 255, 0, 0, 0], ~m),
    "white, defect in alpha": lambda m: rgba(flat(255, 255, 255), m * 255),
    "black, defect in alpha": lambda m: rgba(flat(0, 0, 0), m * 255),
    "red on transparent white": lambda m: rgba(painted(m, (255, 0, 0), (255, 255, 255)), m * 255),
    "white on black, opaque": lambda m: rgba(painted(m, (255, 255, 255), (0, 0, 0)), np.full(SHAPE, 255)),
    "white on black, all hidden": lambda m: rgba(painted(m, (255, 255, 255), (0, 0, 0)), np.zeros(SHAPE)),
    "grey and alpha": lambda m: rgba(flat(255, 255, 255), m * 255).convert("LA"),
    "16 bits": lambda m: Image.fromarray(m.astype(np.uint16) * 65535),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_save_a_mask_is_read_as_it_was_drawn(tmp_path: Path, way: str) -> None:
    WAYS[way](drawn()).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), drawn())


def test_where_all_of_a_plain_picture_is_hidden_the_mask_is_empty(tmp_path: Path) -> None:
    rgba(flat(255, 255, 255), np.zeros(SHAPE)).save(tmp_path / "mask.png")
    assert not read_mask(tmp_path / "mask.png").any()


def test_a_transparent_entry_of_a_palette_is_background(tmp_path: Path) -> None:
    image = palette([255, 255, 255, 255, 0, 0], drawn())
    image.save(tmp_path / "mask.png", transparency=0)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), drawn())


def test_floating_point_is_read_and_nan_is_refused(tmp_path: Path) -> None:
    values = drawn().astype(np.float32)
    Image.fromarray(values).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), drawn())
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "mask.tif")
    with pytest.raises(ImageError, match=r"mask\.tif: holds NaN"):
        read_mask(tmp_path / "mask.tif")


@given(st.integers(1, 2**40), st.integers(1, 255), st.integers(1, 255))
def test_any_drawing_stands_in_colours_or_in_alpha(seed: int, colour: int, shown: int) -> None:
    mask = np.random.default_rng(seed).random((5, 6)) < 0.4
    opaque = np.full(mask.shape, shown, np.uint8)
    in_colours = np.dstack([mask * np.uint8(colour)] * 3 + [opaque])
    in_alpha = np.dstack([np.full(mask.shape, colour, np.uint8)] * 3 + [mask * np.uint8(shown)])
    assert ((mask_values(in_colours, with_alpha=True) > 0) == mask).all()
    if not mask.all():
        assert ((mask_values(in_alpha, with_alpha=True) > 0) == mask).all()
