"""Map sets on disk, and the statistics of normal maps."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from uad_orchestrator.postprocess import map_set
from uad_orchestrator.postprocess.map_set import MapSet, NormalMapStatistics, PixelMoments


def test_a_map_comes_back_as_it_was(tmp_path: Path) -> None:
    maps = MapSet(tmp_path / "maps")
    written = (1000 + np.random.default_rng(0).random((37, 53))).astype(np.float32)
    path = maps.write("bottle/test/crack/007.png", "crack", written)
    assert path == tmp_path / "maps" / "crack" / "007.tiff"
    read = maps.read("bottle/test/crack/007.png", "crack")
    assert read.dtype == np.float32
    assert np.array_equal(read, written)
    assert list(maps.paths()) == [path]


def test_mvtecs_reader_can_read_it(tmp_path: Path) -> None:
    import tifffile

    path = MapSet(tmp_path).write("a.png", "good", np.full((4, 6), 2.5))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert page.dtype == np.float32
        assert page.compression.name == "ADOBE_DEFLATE"
        assert page.shape == (4, 6)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 1)), np.array([[np.nan, 1.0]]), np.array([[np.inf, 1.0]])])
def test_what_is_no_map_is_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="007"):
        MapSet(tmp_path).write("007.png", "crack", wrong)
    assert not list(tmp_path.rglob("*.tiff"))


def test_two_images_of_one_stem_do_not_overwrite_each_other(tmp_path: Path) -> None:
    maps = MapSet(tmp_path)
    maps.write("test/crack/000.png", "crack", np.zeros((2, 2)))
    with pytest.raises(ValueError, match="000"):
        maps.write("test/crack/000.jpg", "crack", np.zeros((2, 2)))


def test_a_missing_map_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"test/crack/000\.png"):
        MapSet(tmp_path).read("test/crack/000.png", "crack")


@pytest.mark.parametrize("defect_type", ["..", "a/b", ""])
def test_nothing_is_written_outside_the_set(tmp_path: Path, defect_type: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        MapSet(tmp_path / "set").write("x.png", defect_type, np.zeros((2, 2)))


@settings(max_examples=30)
@given(
    st.lists(
        hnp.arrays(
            np.float32,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
            elements=st.floats(-100, 1000, width=32),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_streaming_statistics_are_those_of_all_pixels(maps: list[np.ndarray]) -> None:
    statistics = NormalMapStatistics()
    for one in maps:
        statistics.update(one)
    pixels = np.concatenate([m.ravel() for m in maps]).astype(np.float64)
    found = statistics.summary()
    assert found["maps"] == len(maps)
    assert found["mean"] == pytest.approx(pixels.mean(), abs=1e-6)
    assert found["std"] == pytest.approx(pixels.std(), abs=1e-6)
    assert (found["min"], found["max"]) == (pixels.min(), pixels.max())
    assert found["maxima_p90"] == pytest.approx(np.quantile([m.max() for m in maps], 0.9))


def test_moments_are_those_of_all_pixels_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = (1000 + np.random.default_rng(0).random((61, 47))).astype(np.float32)
    for at_once in (1, 7, 1 << 15):
        monkeypatch.setattr(map_set, "PIXELS_AT_ONCE", at_once)
        moments = PixelMoments.of(scores)
        pixels = scores.astype(np.float64)
        assert moments.count == scores.size
        assert (moments.minimum, moments.maximum) == (pixels.min(), pixels.max())
        assert moments.mean == pytest.approx(pixels.mean(), rel=1e-13)
        assert moments.squares == pytest.approx(((pixels - pixels.mean()) ** 2).sum(), rel=1e-9)


def test_of_two_that_write_one_map_at_once_one_fails(tmp_path: Path) -> None:
    maps, together = MapSet(tmp_path), threading.Barrier(2, timeout=30)

    def write(image: str) -> Path | ValueError:
        together.wait()
        try:
            return maps.write(image, "crack", np.ones((300, 300)))
        except ValueError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(write, ["test/000.png", "test/000.jpg"]))
    assert sum(isinstance(one, ValueError) for one in found) == 1
    assert np.array_equal(maps.read("test/000.png", "crack"), np.ones((300, 300)))


def test_no_maps_no_numbers() -> None:
    assert NormalMapStatistics().summary()["mean"] is None
