"""The filter bank: exactness, invariance, and that it sees defects."""

import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from uad_orchestrator.embedders.filter_bank import FilterBank
from uad_orchestrator.embedders.protocol import PatchEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings


@pytest.fixture(scope="module")
def bank():
    return FilterBank(EmbedderSettings(name="filter_bank"))


def part(angle=0.0, center=(128, 128), scratch=False):
    """A bright textured disc with a bar across it, on a dark bench; optionally scratched."""
    ys, xs = np.mgrid[:256, :256].astype(np.float32)
    x, y = xs - center[0], ys - center[1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    radius = np.hypot(x, y)
    image = np.full((256, 256, 3), 40, np.float32)
    image += np.clip(80 - radius, 0, 1)[..., None] * np.array([120, 90, 60], np.float32)
    image -= (np.clip(8 - abs(across), 0, 1) * np.clip(50 - abs(along), 0, 1))[..., None] * 50
    if scratch:
        cv2.line(image, (100, 150), (150, 175), (220, 220, 220), 2, cv2.LINE_AA)
    return np.clip(image, 0, 255).astype(np.uint8)


def nearest_distances(queries, references):
    squared = (queries**2).sum(1)[:, None] + (references**2).sum(1) - 2 * queries @ references.T
    return np.maximum(squared, 0).min(axis=1)


def test_it_is_a_patch_embedder(bank):
    assert isinstance(bank, PatchEmbedder)
    found = bank.embed(part())
    assert found.patch_embeddings.dtype == np.float32 and found.patch_embeddings.flags["C_CONTIGUOUS"]
    assert found.patch_embeddings.shape[0] == 32 * 32 and np.isfinite(found.patch_embeddings).all()
    assert found.region == (0, 0, 256, 256) and found.original_size == (256, 256)


def test_alone_and_in_a_batch_of_mixed_sizes_are_bit_equal(bank):
    images = [part(), part()[:100, :180], np.full((7, 9, 3), 5, np.uint8), part().astype(np.uint16) * 257]
    for image, found in zip(images, bank.embed_batch(images), strict=True):
        alone = bank.embed(image)
        assert np.array_equal(found.patch_embeddings, alone.patch_embeddings)
        assert found[1:] == alone[1:]


def test_16_bit_is_the_same_picture_as_8_bit(bank):
    eight, sixteen = bank.embed(part()), bank.embed(part().astype(np.uint16) * 257)
    assert np.allclose(eight.patch_embeddings, sixteen.patch_embeddings, atol=1e-5)


def test_the_same_numbers_on_any_number_of_threads(bank):
    here = bank.embed(part()).patch_embeddings
    script = (
        "import sys, hashlib, cv2\ncv2.setNumThreads(int(sys.argv[1]))\n"
        "from tests.embedders.test_filter_bank import part, FilterBank, EmbedderSettings\n"
        "found = FilterBank(EmbedderSettings(name='filter_bank')).embed(part())\n"
        "print(hashlib.sha256(found.patch_embeddings.tobytes()).hexdigest())\n"
    )
    runs = set()
    for threads in ("1", "4"):
        command = [sys.executable, "-c", script, threads]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        runs.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert runs == {hashlib.sha256(here.tobytes()).hexdigest() + "\n"}


def test_a_quarter_turn_of_the_image_turns_the_grid_and_changes_no_embedding(bank):
    upright = bank.embed(part()).patch_embeddings.reshape(32, 32, -1)
    turned = bank.embed(np.ascontiguousarray(np.rot90(part()))).patch_embeddings.reshape(32, 32, -1)
    assert np.abs(np.rot90(upright) - turned).max() < 1e-3 * np.abs(upright).max()


def test_a_defect_stands_out_far_above_rotation_and_shift(bank):
    references = np.concatenate([
        bank.embed(part(angle, (128 + dx, 128 - dx))).patch_embeddings
        for angle in np.arange(0, np.pi, np.pi / 8)
        for dx in (-6, 0, 6)
    ])  # fmt: skip
    normal = nearest_distances(bank.embed(part(0.53, (131, 125))).patch_embeddings, references)
    scratched = nearest_distances(
        bank.embed(part(0.53, (131, 125), scratch=True)).patch_embeddings, references
    )
    assert scratched.max() > 5 * normal.max()
    row, column = np.divmod(scratched.argmax(), 32)
    assert 12 <= column <= 19 and 17 <= row <= 22


def test_a_planted_spot_lights_up_at_its_own_place_on_a_non_square_image():
    image = np.full((200, 500, 3), 128, np.uint8)
    spotted = image.copy()
    cv2.circle(spotted, (480, 20), 8, (255, 255, 255), -1)
    for values in ({}, {"resize": "shorter_edge", "image_size": 128}):
        bank = FilterBank(EmbedderSettings(name="filter_bank", **values))
        before, after = bank.embed(image), bank.embed(spotted)
        change = np.square(after.patch_embeddings - before.patch_embeddings).sum(1).reshape(after.grid_shape)
        row, column = np.unravel_index(change.argmax(), change.shape)
        region = after.region
        x = region.left + (column + 0.5) * (region.right - region.left) / after.grid_shape[1]
        y = region.top + (row + 0.5) * (region.bottom - region.top) / after.grid_shape[0]
        assert abs(x - 480) < 16 and abs(y - 20) < 16


def test_size_and_policy_do_something():
    image = part()[:, :200]

    def shape(**values):
        return FilterBank(EmbedderSettings(name="filter_bank", **values)).embed(image).grid_shape

    assert shape() == (32, 32)
    assert shape(image_size=128) == (16, 16)
    assert shape(image_size=(128, 256)) == (16, 32)
    assert shape(resize="shorter_edge", image_size=200) == (32, 25)


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)]
)
def test_another_shape_or_dtype_is_an_error(bank, image):
    with pytest.raises(ValueError, match="expected RGB"):
        bank.embed(image)
