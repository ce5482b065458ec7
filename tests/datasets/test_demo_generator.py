from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.datasets import demo_generator as generator
from uad_orchestrator.datasets.checks.headers import check_category
from uad_orchestrator.datasets.demo_generator import (
    DEMO_CATEGORIES,
    DemoSizes,
    generate_defective,
    generate_demo,
    generate_normals,
    write_normals,
)
from uad_orchestrator.datasets.demo_pictures.exact import Draws, smooth_noise
from uad_orchestrator.datasets.load import find_categories, load_dataset, prepare_dataset
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.images.decode import read_image, read_mask

SMALL = DemoSizes(train=3, test_good=2, test_per_defect=1)
SMALL_DIGEST = "3dc4ece9b45ee820acc71ae3ed368f8a7292c4c028d2d64cb45fa311e1b487a6"
"""Of all names and bytes of the SMALL demo with seed 0: the same on every machine and for every version."""


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.png")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    generate_demo(root, sizes=SMALL)
    return root


def test_the_same_seed_gives_the_same_bytes_everywhere(demo: Path) -> None:
    assert _digest(demo) == SMALL_DIGEST


def test_another_seed_gives_other_pictures(demo: Path, tmp_path: Path) -> None:
    generate_demo(tmp_path, seed=1, sizes=SMALL, categories=["weave"])
    assert {p.name for p in tmp_path.iterdir()} == {"weave"}
    theirs = (tmp_path / "weave" / "train" / "good" / "000.png").read_bytes()
    assert theirs != (demo / "weave" / "train" / "good" / "000.png").read_bytes()


def test_three_kinds_with_five_defects_each(demo: Path) -> None:
    assert find_categories("demo", demo) == sorted(DEMO_CATEGORIES) == ["connector", "gear", "weave"]
    for category in DEMO_CATEGORIES:
        manifest = load_dataset("demo", demo, category)
        assert (len(manifest.train), len(manifest.select("test", 0))) == (3, 2)
        assert len({record.defect_type for record in manifest.select("test", 1)}) == 5
        assert check_category(manifest) == []
        digests = [record.digest for record in manifest.records]
        assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("category", DEMO_CATEGORIES)
def test_a_mask_is_exactly_what_the_defect_changed(demo: Path, category: str) -> None:
    """The counterpart is rendered apart, from the same streams without the defect."""
    painter = generator._PAINTERS[category]
    for kind, defect in enumerate(painter.defects):
        image = read_image(demo / category / "test" / defect / "000.png")
        mask = read_mask(demo / category / "ground_truth" / defect / "000_mask.png")
        normal = generator._picture(painter, 0, generator._DEFECTIVE, kind)
        np.testing.assert_array_equal(mask, (image != normal).any(axis=2))
        assert 0.0005 < mask.mean() < 0.2, defect


@pytest.mark.parametrize("category", DEMO_CATEGORIES)
def test_defects_get_harder(category: str) -> None:
    """The summed change of the pixels falls from the first grade to the last."""
    painter = generator._PAINTERS[category]
    for kind, defect in enumerate(painter.defects):
        change = []
        for number in (0, 3):
            stream = number * len(painter.defects) + kind
            normal = generator._picture(painter, 0, generator._DEFECTIVE, stream).astype(int)
            defective, _ = generate_defective(category, defect, number)
            change.append(int(np.abs(defective - normal).sum()))
        assert 0 < change[1] < 0.8 * change[0], defect


@pytest.mark.parametrize("category", DEMO_CATEGORIES)
def test_normals_vary_in_light_place_and_noise_and_none_is_clipped(category: str) -> None:
    normals = np.stack(list(generate_normals(category, 8)))
    assert normals.dtype == np.uint8
    brightness = normals.mean(axis=(1, 2, 3))
    assert 1 < brightness.std() < 12
    assert np.mean((normals == 0) | (normals == 255)) < 1e-3
    different = [(a != b).any(axis=2).mean() for a, b in pairwise(normals)]
    assert min(different) > 0.5


def test_fresh_normals_are_endless_and_none_is_in_the_set(demo: Path, tmp_path: Path) -> None:
    together = list(generate_normals("gear", 4))
    apart = [*generate_normals("gear", 2), *generate_normals("gear", 2, start=2)]
    np.testing.assert_array_equal(together, apart)
    paths = write_normals(tmp_path / "new", "gear", 2, start=2)
    assert [path.name for path in paths] == ["0002.png", "0003.png"]
    np.testing.assert_array_equal([read_image(path) for path in paths], together[2:])
    known = {record.digest for record in load_dataset("demo", demo, "gear").records}
    assert not known & {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    generate_demo(tmp_path, sizes=SMALL, categories=["weave"])
    kept = tmp_path / "weave" / "train" / "good" / "000.png"
    before = kept.stat().st_mtime_ns
    generate_demo(tmp_path, sizes=SMALL, categories=["weave"])
    assert kept.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["weave"]


def test_a_generation_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def full(path: Path, pixels: np.ndarray) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    monkeypatch.setattr(generator, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        generate_demo(tmp_path, sizes=SMALL, categories=["weave"])
    assert list(tmp_path.iterdir()) == []


def test_before_it_is_generated_the_error_says_how(tmp_path: Path) -> None:
    assert find_categories("demo", tmp_path / "nowhere") == ["connector", "gear", "weave"]
    with pytest.raises(DatasetError, match="not generated yet"):
        load_dataset("demo", tmp_path / "nowhere", "gear")
    with pytest.raises(DatasetError, match=r"unknown category 'geer'.*did you mean 'gear'"):
        prepare_dataset("demo", tmp_path, "geer")


def test_prepare_generates_one_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DemoSizes, "__init__", lambda self: self.__dict__.update(vars(SMALL)))
    prepare_dataset("demo", tmp_path / "new", "weave")
    assert len(load_dataset("demo", tmp_path / "new", "weave").train) == 3


def test_unknown_words_are_errors() -> None:
    with pytest.raises(ValueError, match="unknown demo category 'nut'"):
        next(generate_normals("nut", 1))
    with pytest.raises(ValueError, match="gear has no defect 'rust'; expected scratch"):
        generate_defective("gear", "rust", 0)


def test_the_noise_is_nearly_gaussian_and_draws_are_uniform() -> None:
    bell = Draws(1).bell((200_000,))
    assert abs(bell.mean()) < 0.01
    assert abs(bell.std() - 1) < 0.01
    uniform = Draws(2).uniforms((200_000,))
    assert np.abs(np.histogram(uniform, 10, (0, 1))[0] / 20_000 - 1).max() < 0.03
    turns = np.array([Draws(3, k).turn() for k in range(400)])
    np.testing.assert_allclose((turns**2).sum(axis=1), 1)
    assert np.abs(turns.mean(axis=0)).max() < 0.15
    assert np.abs(smooth_noise(Draws(4), (50, 70), (8, 11))).max() <= 1
