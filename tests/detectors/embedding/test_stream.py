"""The embedding stream: each image once, in order, the same numbers from cache and embedder."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.detectors.conftest import CellMeans, textures
from uad_orchestrator.detectors.embedding import stream as stream_module
from uad_orchestrator.detectors.embedding.embedded_image import complete, largest_value
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.embedding.views import PLAIN, View
from uad_orchestrator.embedders.protocol import PatchEmbedding, Region
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.augmentation import Augmentation, AugmentSettings
from uad_orchestrator.preprocessing.camera import turn
from uad_orchestrator.storage.embedding_cache import EmbeddingCache


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{i}.png") for i, image in enumerate(images)]


def test_no_image_is_embedded_twice(tmp_path: Path, embedder: CellMeans) -> None:
    images = sources(textures(7))
    stream = open_stream(embedder, cache=EmbeddingCache(tmp_path), batch_size=3)
    first = list(stream.stream(images))
    again = list(stream.stream(images[::-1]))
    assert [e.source.name for e in again] == [f"{i}.png" for i in range(7)][::-1]
    assert embedder.seen == stream.embedded_images == stream.embedded_views == 7
    for a, b in zip(first, again[::-1], strict=True):
        assert np.array_equal(a.embedding.patch_embeddings, b.embedding.patch_embeddings)
        assert a.embedding[1:] == b.embedding[1:]
        assert a.seconds == b.seconds > 0
    other = open_stream(CellMeans(cell=4), cache=EmbeddingCache(tmp_path))
    assert len(next(other.stream(images)).embedding.patch_embeddings) == 4 * len(
        first[0].embedding.patch_embeddings
    )


def test_changed_pixels_are_embedded_again(tmp_path: Path, embedder: CellMeans) -> None:
    stream = open_stream(embedder, cache=EmbeddingCache(tmp_path))
    image = textures(1)[0]
    list(stream.stream([ImageSource.from_array(image, name="same.png")]))
    changed = image.copy()
    changed[0, 0] += 1
    list(stream.stream([ImageSource.from_array(changed, name="same.png")]))
    assert embedder.seen == 2


def test_a_preset_and_weights_are_part_of_the_cache_key(tmp_path: Path, embedder: CellMeans) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"one")
    spaces = {
        open_stream(embedder).space,
        open_stream(embedder, preset="industrial_fast").space,
        open_stream(embedder, weights=weights).space,
    }
    weights.write_bytes(b"two")
    spaces.add(open_stream(embedder, weights=weights).space)
    assert len(spaces) == 4
    assert open_stream(CellMeans(), preset="plain", batch_size=2, device="cpu").space in spaces


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_numbers_do_not_depend_on_what_the_cache_holds(
    tmp_path: Path, embedder: CellMeans, precision: str
) -> None:
    images = sources(textures(3))
    fresh = [e.embedding.patch_embeddings for e in open_stream(embedder).stream(images, precision=precision)]
    for other in ("float32", "float16"):
        stream = open_stream(embedder, cache=EmbeddingCache(tmp_path / other))
        list(stream.stream(images, precision=other))
        found = [e.embedding.patch_embeddings for e in stream.stream(images, precision=precision)]
        assert all(np.array_equal(a, b) for a, b in zip(fresh, found, strict=True))


def test_values_beyond_float16_are_kept(tmp_path: Path) -> None:
    stream = open_stream(CellMeans(scale=1e4), cache=EmbeddingCache(tmp_path))
    for _ in range(2):
        (embedded,) = stream.stream(sources(textures(1)))
        assert np.isfinite(embedded.embedding.patch_embeddings).all()
        assert embedded.embedding.patch_embeddings.max() > 1e5


def test_a_damaged_cache_entry_is_embedded_again(tmp_path: Path, embedder: CellMeans) -> None:
    stream = open_stream(embedder, cache=EmbeddingCache(tmp_path))
    before = list(stream.stream(sources(textures(2))))
    next(tmp_path.rglob("*.npz")).write_bytes(b"garbage")
    after = list(stream.stream(sources(textures(2))))
    assert embedder.seen == 3
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(a.embedding.patch_embeddings, b.embedding.patch_embeddings)


@pytest.mark.parametrize("most_bytes", [0, 1 << 20])
def test_caching_lasts_only_as_long_as_it_is_asked_for(
    embedder: CellMeans, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most_bytes: int
) -> None:
    monkeypatch.setattr("uad_orchestrator.detectors.embedding.stream.HELD_BYTES", most_bytes)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stream = open_stream(embedder)
    with stream.caching():
        assert stream.cache is not None
        list(stream.stream(sources(textures(2))))
        assert len(list(tmp_path.rglob("*.npz"))) == (0 if most_bytes else 2)
        list(stream.stream(sources(textures(2))))
    assert embedder.seen == 2
    assert stream.cache is None
    assert not list(tmp_path.iterdir())


def test_nothing_is_loaded_before_an_image_comes() -> None:
    open_stream("resnet18", weights="/no/such/file.pth")


def test_an_injected_embedder_needs_only_embed(tmp_path: Path) -> None:
    class Plain:
        def embed(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
            return np.ones((6, 4)), (2, 3), image.shape[:2]

    (embedded,) = open_stream(Plain()).stream(sources(textures(1)))
    assert embedded.embedding.region == Region(0, 0, 48, 64)
    assert embedded.embedding.input_size == (48, 64)
    with pytest.raises(ValueError, match=r"Plain has no recipe"):
        open_stream(Plain(), cache=EmbeddingCache(tmp_path))


@pytest.mark.parametrize(
    ("rows", "match"),
    [(np.ones((5, 4)), "do not fill"), (np.full((6, 4), np.nan), "NaN"), (np.ones((0, 4)), "do not fill")],
)
def test_wrong_embeddings_are_refused_by_the_images_name(rows: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=f"bad.png.*{match}"):
        complete(PatchEmbedding(rows, (2, 3), (10, 10)), "bad.png")


def test_an_unreadable_image_is_an_error_that_names_it(tmp_path: Path, embedder: CellMeans) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(Exception, match=r"broken\.png"):
        list(open_stream(embedder).stream([ImageSource.from_path(broken)]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rotation_keeps_the_canvas_and_reflects_at_the_border(dtype: type) -> None:
    image = (np.random.default_rng(0).random((31, 31, 3)) * np.iinfo(dtype).max).astype(dtype)
    assert np.array_equal(turn(image, 180), image[::-1, ::-1])
    assert np.array_equal(turn(image, 90), np.rot90(image))
    flat = np.full((20, 40, 3), 77, dtype)
    assert np.array_equal(turn(flat, 45), flat)  # no black corners
    assert turn(image[:20], 45).shape == (20, 31, 3)


def test_rotated_views_are_cached_apart(tmp_path: Path, embedder: CellMeans) -> None:
    stream = open_stream(embedder, cache=EmbeddingCache(tmp_path))
    images = sources(textures(2))
    for _ in range(2):
        list(stream.stream(images))
        list(stream.stream(images, view=View(90.0)))
    assert (stream.embedded_images, stream.embedded_views) == (2, 4)


def images_on_disk(folder: Path, n: int, size: tuple[int, int] = (48, 64)) -> list[ImageSource]:
    for i, image in enumerate(textures(n, size=size)):
        cv2.imwrite(str(folder / f"{i:03}.png"), image[..., ::-1])
    return [ImageSource.from_path(folder / f"{i:03}.png", name=f"{i:03}.png") for i in range(n)]


@pytest.mark.parametrize("batch_size", [1, 4, "auto"])
def test_numbers_and_order_do_not_depend_on_the_readers(tmp_path: Path, batch_size: Any) -> None:
    images = images_on_disk(tmp_path, 23)
    expected = [np.asarray(CellMeans().embed(image.read()).patch_embeddings) for image in images]
    for readers in (1, 2, 5):
        stream = open_stream(CellMeans(), batch_size=batch_size, readers=readers)
        found = list(stream.stream(images, precision="float32"))
        assert [embedded.source.name for embedded in found] == [image.name for image in images]
        for embedded, rows in zip(found, expected, strict=True):
            assert np.array_equal(embedded.embedding.patch_embeddings, rows)


def test_images_are_read_beside_each_other_and_not_far_ahead(embedder: CellMeans) -> None:
    together, taken = threading.Barrier(3, timeout=30), []

    def source(i: int) -> ImageSource:
        taken.append(i)
        image = textures(1, seed=i)[0]

        def read() -> np.ndarray:
            if i < 3:
                together.wait()  # hangs unless three are read at a time
            return image

        return ImageSource(f"{i}.png", f"{i:064x}", f"{i}", read)

    stream = open_stream(embedder, batch_size=4, readers=3)
    results = stream.stream(source(i) for i in range(100))
    next(results)
    assert max(taken) < 4 + 3 + 2


def test_what_is_read_ahead_is_bounded_by_its_pixels(
    monkeypatch: pytest.MonkeyPatch, embedder: CellMeans
) -> None:
    monkeypatch.setattr(stream_module, "HELD_PIXELS", 3 * 48 * 64)
    batches: list[int] = []
    embed = embedder.embed_batch
    monkeypatch.setattr(embedder, "embed_batch", lambda images: batches.append(len(images)) or embed(images))
    found = list(open_stream(embedder, batch_size=8, readers=4).stream(sources(textures(10))))
    assert len(found) == 10
    assert max(batches) == 3


@pytest.mark.parametrize("readers", [1, 4])
def test_images_before_one_that_cannot_be_read_come_first(
    tmp_path: Path, embedder: CellMeans, readers: int
) -> None:
    images = images_on_disk(tmp_path, 12)
    (tmp_path / "005.png").write_bytes(b"no image")
    found = []
    with pytest.raises(ImageError, match=r"005\.png"):
        for embedded in open_stream(embedder, batch_size=4, readers=readers).stream(images):
            found.append(embedded.source.name)
    assert found == [f"{i:03}.png" for i in range(5)]


def test_images_that_come_one_by_one_are_not_waited_for(embedder: CellMeans) -> None:
    """A camera's next image comes when it comes: with a batch of 1 a result needs no further one."""
    taken = []

    def arriving() -> Iterator[ImageSource]:
        for i, image in enumerate(textures(3)):
            taken.append(i)
            yield ImageSource.from_array(image, name=f"{i}.png")

    for count, _ in enumerate(open_stream(embedder, batch_size=1).stream(arriving())):
        assert taken == list(range(count + 1))


def test_an_image_is_decoded_once_for_all_its_views(tmp_path: Path, embedder: CellMeans) -> None:
    reads: list[str] = []
    images = [
        replace(image, read=lambda image=image: reads.append(image.name) or image.read())
        for image in sources(textures(3))
    ]
    augmented = View(augmentation=Augmentation(AugmentSettings(brightness=0.3), 0))
    views = [PLAIN, View(90.0), augmented, View(180.0)]
    stream = open_stream(embedder, cache=EmbeddingCache(tmp_path), batch_size=2, preset="industrial_fast")
    found = list(stream.stream_views(images, views, precision="float32"))
    assert sorted(reads) == ["0.png", "1.png", "2.png"]
    assert (stream.embedded_images, stream.embedded_views) == (3, 12)
    apart = open_stream(CellMeans(), batch_size=3, preset="industrial_fast")
    for number, view in enumerate(views):
        for embedded, alone in zip(found, apart.stream(images, view=view, precision="float32"), strict=True):
            assert np.array_equal(
                embedded[number].embedding.patch_embeddings, alone.embedding.patch_embeddings
            )


def test_only_the_views_that_are_missing_are_embedded(tmp_path: Path, embedder: CellMeans) -> None:
    stream = open_stream(embedder, cache=EmbeddingCache(tmp_path))
    images = sources(textures(5))
    list(stream.stream(images[1:3], view=View(90.0)))
    list(stream.stream_views(images, [PLAIN, View(90.0)]))
    assert embedder.seen == 2 + 5 + 3


def test_what_is_cached_behind_the_embedder_is_there_at_the_end(
    tmp_path: Path, embedder: CellMeans, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path)
    put = cache.put

    def slow_put(*entry: Any) -> None:
        time.sleep(0.02)
        put(*entry)

    monkeypatch.setattr(cache, "put", slow_put)
    stream = open_stream(embedder, cache=cache, readers=3)
    list(stream.stream(sources(textures(20))))
    assert len(list(tmp_path.rglob("*.npz"))) == 20


def test_a_cache_that_cannot_be_written_is_an_error(
    tmp_path: Path, embedder: CellMeans, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path)

    def full(*entry: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "put", full)
    with pytest.raises(OSError, match="No space left"):
        list(open_stream(embedder, cache=cache).stream(sources(textures(3))))


@pytest.mark.parametrize("setting", ["batch_size", "readers"])
def test_there_is_at_least_one_image_and_one_reader(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} is 0"):
        open_stream("filter_bank", **{setting: 0})


@given(
    arrays(
        np.float32,
        (5, 3),
        elements=st.floats(-(2.0**127), 2.0**127, width=32) | st.sampled_from([np.inf, -np.inf, np.nan]),
    )
)
def test_the_largest_value_is_found_in_either_precision(rows: np.ndarray) -> None:
    expected = float(np.abs(rows).max())
    assert np.array_equal(largest_value(rows), expected, equal_nan=True)
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    assert np.array_equal(largest_value(half), float(np.abs(half).max()), equal_nan=True)


def test_images_from_the_cache_do_not_gather_behind_one_that_is_not(
    tmp_path: Path, embedder: CellMeans
) -> None:
    """Their embeddings would fill the memory: so a batch is as small as the cache leaves it."""
    images = sources(textures(60))
    stream = open_stream(embedder, cache=EmbeddingCache(tmp_path), batch_size=4)
    list(stream.stream(images[1:]))
    taken = []
    results = stream.stream(taken.append(image) or image for image in images)
    next(results)
    assert len(taken) <= 4 + 1 + stream.reader_threads
    assert len(list(results)) == 59
