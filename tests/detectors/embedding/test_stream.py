"""The embedding stream: each image once, in order, the same numbers from cache and embedder."""

from pathlib import Path

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.embedding.stream import complete
from uad_orchestrator.detectors.embedding.views import View
from uad_orchestrator.embedders.protocol import PatchEmbedding, Region
from uad_orchestrator.images.source import ImageSource
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


def test_caching_lasts_only_as_long_as_it_is_asked_for(embedder: CellMeans) -> None:
    stream = open_stream(embedder)
    with stream.caching():
        assert stream.cache is not None
        folder = stream.cache.root
        list(stream.stream(sources(textures(2))))
        list(stream.stream(sources(textures(2))))
    assert embedder.seen == 2
    assert stream.cache is None
    assert not folder.exists()


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
