"""Streams over embeddings that machines share: what one embedded the others fetch, and no number moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream
from uad_orchestrator.detectors.embedding.views import PLAIN, View
from uad_orchestrator.images import ImageError, ImageSource
from uad_orchestrator.storage.artifacts.locations import LocalLocation
from uad_orchestrator.storage.embedding_cache import EmbeddingCache
from uad_orchestrator.storage.shared_embeddings import SHARED, SharedEmbeddings

Cache = Callable[[str], Any]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """The cache of a machine of that name, over one network drive."""
    drive = LocalLocation(tmp_path / "drive")
    return lambda name: SharedEmbeddings(EmbeddingCache(tmp_path / name), drive, "parts/bolt")


def sources(count: int) -> list[ImageSource]:
    images = textures(count, size=(72, 80))
    return [ImageSource.from_array(image, name=f"{i:03}.png") for i, image in enumerate(images)]


def stream(cache: Any, embedder: CellMeans, **settings: Any) -> EmbeddingStream:
    return EmbeddingStream(lambda: embedder, lambda: {"embedder": embedder.recipe()}, cache=cache, **settings)


@pytest.mark.parametrize(
    "settings",
    [{}, {"batch_size": 1}, {"readers": 3}, {"tiling": {"tile_size": 32, "stride": 24}}],
    ids=["whole", "one by one", "threads", "tiles"],
)
def test_another_machine_embeds_nothing_and_gets_the_same_scores(cache: Cache, settings: dict) -> None:
    images = sources(7)

    def scores(embedder: CellMeans, kept: Any) -> list[float]:
        detector = create_detector(
            "vision_patchcore", embedder=embedder, cache=kept, coreset={"ratio": 0.5}, **settings
        )
        state = detector.fit_state(images[:4])
        return [response.score for response in detector.respond(state, images)]

    first, second, alone = CellMeans(), CellMeans(), CellMeans()
    shared, fetched = cache("first"), cache("second")
    expected = scores(alone, None)
    assert scores(first, shared) == scores(second, fetched) == expected
    assert (first.seen > 0, second.seen) == (True, 0)
    assert (shared.fetched, fetched.fetched) == (0, first.seen)


def test_views_are_fetched_ahead_of_the_readers(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    images, views = sources(5), [PLAIN, View(angle=90.0)]
    first, second = CellMeans(), CellMeans()
    expected = list(stream(cache("first"), first, readers=2).stream_views(images, views))
    other = stream(cache("second"), second, readers=2)
    monkeypatch.setattr(SharedEmbeddings, "get", lambda self, *key: self.cache.get(*key))
    found = list(other.stream_views(images, views))
    assert second.seen == 0 and other.cached_views == 10
    for ours, theirs in zip(found, expected, strict=True):
        for one, same in zip(ours, theirs, strict=True):
            assert np.array_equal(one.embedding.patch_embeddings, same.embedding.patch_embeddings)
            assert one.seconds == same.seconds
    assert other.cached_seconds == pytest.approx(sum(view.seconds for views in expected for view in views))


def test_rows_that_are_too_coarse_are_computed_and_replaced(cache: Cache) -> None:
    images, machines = sources(3), [CellMeans() for _ in range(4)]
    for name, embedder, precision in zip(
        "abcd", machines, ["float16", "float32", "float32", "float16"], strict=True
    ):
        found = list(stream(cache(name), embedder).stream(images, precision=precision))  # type: ignore[arg-type]
        fresh = list(stream(None, CellMeans()).stream(images, precision=precision))  # type: ignore[arg-type]
        for one, same in zip(found, fresh, strict=True):
            assert np.array_equal(one.embedding.patch_embeddings, same.embedding.patch_embeddings)
    assert [embedder.seen for embedder in machines] == [3, 3, 0, 0]


def test_what_was_embedded_before_an_image_that_cannot_be_read_is_shared(
    cache: Cache, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    images = [*sources(3), ImageSource.from_path(tmp_path / "broken.png", digest="ab" * 32)]
    kept = cache("first")
    with pytest.raises(ImageError):
        list(stream(kept, CellMeans(), readers=2).stream(images))
    assert len(kept.location.files(SHARED)) == 3
