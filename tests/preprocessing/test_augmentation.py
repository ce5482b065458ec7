"""Augmented views: drawn from the image's digest, the same wherever and whenever."""

import numpy as np
import pytest

from uad_orchestrator.preprocessing.augmentation import Augmentation, AugmentSettings

ALL = {"brightness": 0.2, "white_balance": 0.1, "blur": 1.0, "noise": 0.02, "jpeg": 60, "rotation": 10}


@pytest.fixture(scope="module")
def image():
    coarse = np.random.default_rng(0).integers(40, 200, (6, 8, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


def view(number=0, **amounts):
    return Augmentation(AugmentSettings(**amounts), number)


def test_the_same_image_gives_the_same_view_and_another_gives_another(image):
    before = image.copy()
    first = view(**ALL).apply(image, "digest a")
    assert np.array_equal(first, view(**ALL).apply(image, "digest a"))
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    others = [view(**ALL).apply(image, "digest b"), view(1, **ALL).apply(image, "digest a")]
    others.append(view(**ALL, seed=1).apply(image, "digest a"))
    assert all(not np.array_equal(first, other) for other in others)
    assert np.array_equal(image, before)


def test_the_name_tells_views_apart_and_more_copies_keep_the_first():
    names = {view(**ALL).name, view(1, **ALL).name, view(**ALL, seed=1).name, view(brightness=0.2).name}
    assert len(names) == 4
    assert view(**ALL, copies=5).name == view(**ALL).name


@pytest.mark.parametrize("amount", ALL)
def test_every_amount_changes_pixels(image, amount):
    changed = view(**{amount: ALL[amount]}).apply(image, "digest")
    assert not np.array_equal(changed, image)
    sixteen = view(**{amount: ALL[amount]}).apply(image.astype(np.uint16) * 257, "digest")
    assert sixteen.dtype == np.uint16
    assert np.abs(changed - sixteen / 257).max() <= 0.51


def test_amounts_stay_within_what_is_given(image):
    grey = np.full((8, 8, 3), 100, np.uint8)
    levels = [view(brightness=0.2).apply(grey, f"digest {i}")[0, 0, 0] for i in range(60)]
    assert min(levels) >= 80 and max(levels) <= 120
    assert min(levels) < 90 and max(levels) > 110


def test_switching_one_on_leaves_the_others_as_they_were():
    grey = np.full((8, 8, 3), 100, np.uint8)
    alone = view(brightness=0.3).apply(grey, "digest")
    assert np.array_equal(view(brightness=0.3, rotation=5).apply(grey, "digest"), alone)


def test_a_mask_moves_with_the_picture():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[5:15, 40:50] = 255
    turned = view(rotation=20)
    moved = turned.move_mask(picture[..., 0] > 0, "digest")
    assert np.array_equal(moved, turned.apply(picture, "digest")[..., 0] > 127)
    assert not np.array_equal(moved, picture[..., 0] > 0)
    mask = picture[..., 0] > 0
    assert view(blur=1).move_mask(mask, "digest") is mask


def test_nothing_to_augment_is_an_error():
    with pytest.raises(ValueError, match="nothing is augmented"):
        AugmentSettings(copies=3)
