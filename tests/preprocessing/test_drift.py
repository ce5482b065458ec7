"""Camera drift: five grades, each further from the picture than the one before."""

import numpy as np
import pytest

from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.drift import AMOUNTS, KINDS, LEVELS, Drift, drifted


@pytest.fixture(scope="module")
def image():
    coarse = np.random.default_rng(0).integers(40, 180, (8, 10, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((30, 30, 1), np.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_each_level_is_further_from_the_picture(image, kind):
    before = image.copy()
    distances = []
    for level in range(1, LEVELS + 1):
        changed = Drift(kind, level).apply(image, "digest")
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
        assert np.array_equal(changed, Drift(kind, level).apply(image, "digest"))
        distances.append(np.abs(changed.astype(float) - image).mean())
    assert distances == sorted(distances) and distances[0] > 0
    assert np.array_equal(image, before)
    assert len(AMOUNTS[kind]) == LEVELS


@pytest.mark.parametrize("kind", KINDS)
def test_16_bit_drifts_like_8_bit(image, kind):
    eight = Drift(kind, 3).apply(image, "digest")
    sixteen = Drift(kind, 3).apply(image.astype(np.uint16) * 257, "digest")
    assert sixteen.dtype == np.uint16
    assert np.abs(eight - sixteen / 257).max() <= 0.51


def test_amounts_by_hand():
    grey = np.full((20, 20, 3), 100, np.uint8)
    balanced = {tuple(Drift("white_balance", 3).apply(grey, f"{i}")[0, 0].tolist()) for i in range(20)}
    assert balanced == {(120, 100, 80), (80, 100, 120)}
    exposed = {int(Drift("exposure", 5).apply(grey, f"{i}")[0, 0, 0]) for i in range(20)}
    assert exposed == {50, 200}
    noisy = Drift("noise", 2).apply(np.full((200, 200, 3), 128, np.uint8), "digest")
    assert noisy.std() == pytest.approx(0.02 * 255, rel=0.03)
    glare = Drift("glare", 5).apply(grey, "digest").astype(int)
    assert 0.7 * 204 < glare.max() - 100 <= 204
    assert Drift("glare", 5).apply(np.zeros((20, 20, 3), np.uint8), "digest").min() < 20


def test_a_drifted_image_is_another_image_for_the_cache(image):
    source = ImageSource.from_array(image, name="a.png", group="part 1")
    drifts = [Drift("jpeg", 1), Drift("jpeg", 2), Drift("noise", 1), Drift("noise", 1, seed=1)]
    found = [drifted(source, drift) for drift in drifts]
    assert len({source.digest, *(other.digest for other in found)}) == 5
    assert {(other.name, other.group) for other in found} == {("a.png", "part 1")}
    assert np.array_equal(found[0].read(), drifts[0].apply(image, source.digest))
